//! Measures into a running TPM, as firmware, boot loader and kernel would.

use super::{Error, Result, RunningTpm};

/// One extend: the PCR, and a digest for each bank of the log. Banks that are off pass it by.
pub type Event = (u8, Vec<(Bank, Vec<u8>)>);

/// A PCR bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bank {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Bank {
    /// As `swtpm_setup --pcr-banks` writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// `TPM_ALG_ID` (TPM 2.0 Part 2 §6.3).
    fn algorithm(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }
}

impl RunningTpm {
    /// Extends one PCR in all banks given.
    ///
    /// # Errors
    /// As [`RunningTpm::replay`].
    pub fn extend(&self, pcr: u8, digests: &[(Bank, Vec<u8>)]) -> Result<()> {
        self.replay(&[(pcr, digests.to_vec())])
    }

    /// Extends by every event in turn, as the boot that wrote the log did. Well under 1 ms an event.
    ///
    /// # Errors
    /// [`Error::Pcr`] or [`Error::Digest`] before anything is extended, [`Error::Silent`] or [`Error::Refused`]
    /// on the way.
    pub fn replay(&self, events: &[Event]) -> Result<()> {
        let extends = events
            .iter()
            .map(|(pcr, digests)| match pcr {
                0..=23 => Ok((*pcr, values(digests)?)),
                _ => Err(Error::Pcr(*pcr)),
            })
            .collect::<Result<Vec<_>>>()?;
        self.wire.extend_all(&extends)
    }
}

/// A `TPML_DIGEST_VALUES` (Part 2 §10.9.6).
fn values(digests: &[(Bank, Vec<u8>)]) -> Result<Vec<u8>> {
    let count = u32::try_from(digests.len()).unwrap_or(u32::MAX);
    let mut values = count.to_be_bytes().to_vec();
    for (bank, digest) in digests {
        if digest.len() != bank.size() {
            return Err(Error::Digest {
                bank: *bank,
                expected: bank.size(),
                given: digest.len(),
            });
        }
        values.extend(bank.algorithm().to_be_bytes());
        values.extend(digest);
    }
    Ok(values)
}
