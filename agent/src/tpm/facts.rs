//! What the TPM says of itself (TPM 2.0 Part 2 §6.13), and whether a key loads. It changes nothing.

use tss_esapi::constants::PropertyTag;

use super::error::during;
use super::visit::Visit;
use super::{AkBlob, Result};

/// `inLockout` of `TPMA_PERMANENT` (Part 2 §8.6).
const IN_LOCKOUT: u32 = 1 << 9;

/// Who made it, and how it stands with guesses of authorization values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The maker's letters in the TCG registry, such as `IFX`.
    pub maker: String,
    /// As every quote carries it.
    pub firmware: u64,
    /// Whether what counts against guessing is refused (0x921).
    pub in_lockout: bool,
    /// Wrong guesses that are remembered.
    pub guesses: u32,
    /// Wrong guesses that lead to lockout.
    pub guesses_max: u32,
    /// Seconds after which one is forgotten.
    pub recovery_seconds: u32,
}

impl Visit<'_> {
    pub(super) fn facts(&mut self) -> Result<Facts> {
        let maker = self.property(PropertyTag::Manufacturer)?.to_be_bytes();
        let high = self.property(PropertyTag::FirmwareVersion1)?;
        let low = self.property(PropertyTag::FirmwareVersion2)?;
        Ok(Facts {
            maker: letters(&maker),
            firmware: u64::from(high) << 32 | u64::from(low),
            in_lockout: self.property(PropertyTag::Permanent)? & IN_LOCKOUT != 0,
            guesses: self.property(PropertyTag::LockoutCounter)?,
            guesses_max: self.property(PropertyTag::MaxAuthFail)?,
            recovery_seconds: self.property(PropertyTag::LockoutInterval)?,
        })
    }

    /// A property that the TPM does not have is 0.
    fn property(&mut self, tag: PropertyTag) -> Result<u32> {
        self.context
            .get_tpm_property(tag)
            .map(Option::unwrap_or_default)
            .map_err(during("TPM2_GetCapability"))
    }

    /// Loads the AK and lets it go.
    pub(super) fn loads(&mut self, ak: &AkBlob) -> Result<()> {
        let handle = self.ak(ak)?;
        self.flush(handle.into())
    }
}

fn letters(maker: &[u8; 4]) -> String {
    let printable = |byte: &u8| byte.is_ascii_graphic();
    maker
        .iter()
        .filter(|byte| printable(byte))
        .map(|byte| char::from(*byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maker_is_its_letters() {
        assert_eq!(letters(b"IFX\0"), "IFX");
        assert_eq!(letters(b"AMD "), "AMD");
    }
}
