//! PCR banks as a log names them, and digests of any of them.

use std::fmt;

use aws_lc_rs::digest::{
    Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest,
};

use crate::digest::Sha256Digest;

/// Longest digest that a TPM knows: SHA-512, SHA3-512.
const DIGEST_MAX: usize = 64;

/// A hash algorithm with a PCR bank (`TPM_ALG_ID`, TPM 2.0 Part 2 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bank {
    /// SHA-1; read for old logs, never enough for a verdict.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// Another algorithm, by its number: its digests are kept and not replayed.
    Other(u16),
}

impl Bank {
    /// The bank of a `TPM_ALG_ID`.
    #[must_use]
    pub fn of(algorithm: u16) -> Self {
        match algorithm {
            0x0004 => Self::Sha1,
            0x000b => Self::Sha256,
            0x000c => Self::Sha384,
            0x000d => Self::Sha512,
            other => Self::Other(other),
        }
    }

    /// Its `TPM_ALG_ID`.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
            Self::Other(other) => other,
        }
    }

    /// Bytes of a digest; `None` for an algorithm that is not in the TCG registry of 2024.
    #[must_use]
    pub fn digest_size(self) -> Option<usize> {
        match self {
            Self::Sha1 => Some(20),
            // SM3-256 and SHA3-256 besides.
            Self::Sha256 | Self::Other(0x0012 | 0x0027) => Some(32),
            Self::Sha384 | Self::Other(0x0028) => Some(48),
            Self::Sha512 | Self::Other(0x0029) => Some(64),
            Self::Other(_) => None,
        }
    }

    /// The digest of `bytes`; `None` for [`Bank::Other`].
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Option<BankDigest> {
        BankDigest::new(self, digest(self.algorithm()?, bytes).as_ref())
    }

    /// What a PCR of this bank holds after a start at `locality`: zeros, and for PCR 0 the locality
    /// in the last byte (PFP §3.3.4.1).
    pub(crate) fn start(self, locality: u8) -> Option<BankDigest> {
        let mut bytes = [0; DIGEST_MAX];
        let bytes = bytes.get_mut(..self.digest_size()?)?;
        *bytes.last_mut()? = locality;
        BankDigest::new(self, bytes)
    }

    fn algorithm(self) -> Option<&'static Algorithm> {
        match self {
            Self::Sha1 => Some(&SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256 => Some(&SHA256),
            Self::Sha384 => Some(&SHA384),
            Self::Sha512 => Some(&SHA512),
            Self::Other(_) => None,
        }
    }
}

/// As tpm2-tools name it: `sha256`; a number for an unknown one.
impl fmt::Display for Bank {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha1 => out.write_str("sha1"),
            Self::Sha256 => out.write_str("sha256"),
            Self::Sha384 => out.write_str("sha384"),
            Self::Sha512 => out.write_str("sha512"),
            Self::Other(algorithm) => write!(out, "{algorithm:#06x}"),
        }
    }
}

/// A digest of one bank. Shown as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BankDigest {
    bank: Bank,
    length: usize,
    /// Zeros after `length`.
    bytes: [u8; DIGEST_MAX],
}

impl BankDigest {
    pub(crate) fn new(bank: Bank, digest: &[u8]) -> Option<Self> {
        let mut bytes = [0; DIGEST_MAX];
        bytes.get_mut(..digest.len())?.copy_from_slice(digest);
        Some(Self {
            bank,
            length: digest.len(),
            bytes,
        })
    }

    /// Its bank.
    #[must_use]
    pub fn bank(&self) -> Bank {
        self.bank
    }

    /// Its bytes: as many as the bank's digests have.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The same as a SHA-256 digest; `None` if it is of another bank.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256Digest> {
        (self.bank == Bank::Sha256)
            .then(|| Sha256Digest::try_from(self.as_bytes()).ok())
            .flatten()
    }

    /// What `TPM2_PCR_Extend` makes of this PCR value and `measured` (TPM 2.0 Part 1 §17.2).
    pub(super) fn extend(&self, measured: &Self) -> Option<Self> {
        let mut hash = Context::new(self.bank.algorithm()?);
        hash.update(self.as_bytes());
        hash.update(measured.as_bytes());
        Self::new(self.bank, hash.finish().as_ref())
    }
}

impl fmt::Display for BankDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for BankDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{self}", self.bank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_replayed_bank_extends_as_a_tpm_does() {
        // The separator 00000000 in an untouched PCR, as TPMs of the corpus report it.
        for (bank, begins) in [
            (Bank::Sha1, "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236"),
            (Bank::Sha256, "3d458cfe55cc03ea1f443f1562beec8df51c75e1"),
            (Bank::Sha384, "518923b0f955d08da077c96aaba522b9decede61"),
        ] {
            let separator = bank.hash(&[0; 4]).unwrap();
            let value = bank.start(0).unwrap().extend(&separator).unwrap();
            assert!(value.to_string().starts_with(begins), "{bank} {value}");
            assert_eq!(Some(value.as_bytes().len()), bank.digest_size());
        }
        assert_eq!(Bank::Sha512.start(3).unwrap().as_bytes()[63], 3);
        assert_eq!(Bank::of(0x12).hash(b""), None);
        assert_eq!(Bank::of(0x12).to_string(), "0x0012");
    }
}
