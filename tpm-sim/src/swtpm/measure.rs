//! Measures into a running TPM, as firmware, boot loader and kernel would.

use std::str::FromStr as _;

use tss_esapi::handles::PcrHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, DigestValues};
use tss_esapi::{Context, TctiNameConf};

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

    fn algorithm(self) -> HashingAlgorithm {
        match self {
            Self::Sha1 => HashingAlgorithm::Sha1,
            Self::Sha256 => HashingAlgorithm::Sha256,
            Self::Sha384 => HashingAlgorithm::Sha384,
            Self::Sha512 => HashingAlgorithm::Sha512,
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
    /// [`Error::Pcr`] or [`Error::Digest`] before anything is extended, [`Error::Extend`] on the way.
    pub fn replay(&self, events: &[Event]) -> Result<()> {
        let extends = events
            .iter()
            .map(|(pcr, digests)| Ok((handle(*pcr)?, values(digests)?)))
            .collect::<Result<Vec<_>>>()?;
        self.extend_all(extends).map_err(Error::Extend)
    }

    fn extend_all(&self, extends: Vec<(PcrHandle, DigestValues)>) -> tss_esapi::Result<()> {
        let mut context = Context::new(TctiNameConf::from_str(&self.tcti())?)?;
        context.set_sessions((Some(AuthSession::Password), None, None));
        for (pcr, digests) in extends {
            context.pcr_extend(pcr, digests)?;
        }
        Ok(())
    }
}

fn handle(pcr: u8) -> Result<PcrHandle> {
    match pcr {
        0..=23 => PcrHandle::try_from(u32::from(pcr)).map_err(|_| Error::Pcr(pcr)),
        _ => Err(Error::Pcr(pcr)),
    }
}

fn values(digests: &[(Bank, Vec<u8>)]) -> Result<DigestValues> {
    let mut values = DigestValues::new();
    for (bank, digest) in digests {
        if digest.len() != bank.size() {
            return Err(Error::Digest {
                bank: *bank,
                expected: bank.size(),
                given: digest.len(),
            });
        }
        let digest = Digest::try_from(digest.as_slice()).map_err(Error::Extend)?;
        values.set(bank.algorithm(), digest);
    }
    Ok(values)
}
