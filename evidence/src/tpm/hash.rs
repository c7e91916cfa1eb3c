//! Hash algorithms of TPM 2.0 (Part 2 §6.3), as far as anything here accepts them.

use aws_lc_rs::digest;
use aws_lc_rs::hmac;

/// A hash that may stand in a Name, a signature or a PCR bank. SHA-1 may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// `TPM_ALG_SHA256`.
    Sha256,
    /// `TPM_ALG_SHA384`.
    Sha384,
}

impl Hash {
    /// The hash with this `TPM_ALG_ID`; `None` for SHA-1 and everything else.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        match id {
            0x000b => Some(Self::Sha256),
            0x000c => Some(Self::Sha384),
            _ => None,
        }
    }

    /// Its `TPM_ALG_ID`.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }

    /// Bits of its digest.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Sha256 => 256,
            Self::Sha384 => 384,
        }
    }

    /// The digest of the parts one after the other.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = digest::Context::new(match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
        });
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }

    /// The HMAC over the parts one after the other.
    pub(crate) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}
