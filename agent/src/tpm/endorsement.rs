//! The endorsement keys that we look for, and the certificate stored for each.

use tss_esapi::abstraction::AsymmetricAlgorithmSelection;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::traits::Marshall as _;

use super::error::during;
use super::visit::Visit;
use super::{Endorsement, Error, Result};

/// A default EK of the TCG EK Credential Profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndorsementKind {
    /// Low range, RSA-2048.
    Rsa2048,
}

impl EndorsementKind {
    /// In the order in which they are looked for.
    const ALL: [Self; 1] = [Self::Rsa2048];

    /// The EK that attestation keys are made under.
    pub(super) const DEFAULT: Self = Self::Rsa2048;

    /// The NV index of its certificate.
    fn certificate_index(self) -> u32 {
        match self {
            Self::Rsa2048 => 0x01c0_0002,
        }
    }

    /// Names its template.
    pub(super) fn algorithm(self) -> AsymmetricAlgorithmSelection {
        match self {
            Self::Rsa2048 => AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048),
        }
    }
}

impl Visit<'_> {
    /// The first EK that has a certificate. The key is derived anew, never taken from a saved context.
    pub(super) fn endorsement(&mut self) -> Result<Endorsement> {
        for kind in EndorsementKind::ALL {
            if let Some(certificate) = self.certificate(kind.certificate_index())? {
                return Ok(Endorsement {
                    certificate,
                    public: self.ek_public(kind)?,
                });
            }
        }
        let indices: Vec<_> = EndorsementKind::ALL
            .iter()
            .map(|kind| format!("{:#010x}", kind.certificate_index()))
            .collect();
        Err(Error::NoEndorsement {
            indices: indices.join(", "),
        })
    }

    fn certificate(&mut self, index: u32) -> Result<Option<Vec<u8>>> {
        let Some(area) = self.nv_find(index)? else {
            return Ok(None);
        };
        let mut bytes = self.nv_read(&area)?;
        let length = der_length(&bytes).ok_or(Error::NotACertificate { index })?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    fn ek_public(&mut self, kind: EndorsementKind) -> Result<Vec<u8>> {
        let ek = self.derive_ek(kind)?;
        let (public, _, _) = self
            .context
            .execute_without_session(|context| context.read_public(ek))
            .map_err(during("TPM2_ReadPublic"))?;
        public.marshall().map_err(during("TPM2_ReadPublic"))
    }
}

/// The length of the DER SEQUENCE at the start of `bytes`, its header included (X.690 §8.1.3);
/// `None` if there is none, or if `bytes` ends within it.
fn der_length(bytes: &[u8]) -> Option<usize> {
    let (header, content) = match *bytes {
        [0x30, short @ ..=0x7f, ..] => (2, usize::from(short)),
        [0x30, 0x81, a, ..] => (3, usize::from(a)),
        [0x30, 0x82, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
        _ => return None,
    };
    Some(header + content).filter(|length| *length <= bytes.len())
}

#[cfg(test)]
mod tests {
    use super::der_length;

    #[test]
    fn padding_after_the_certificate_is_not_part_of_it() {
        assert_eq!(der_length(&[0x30, 2, 1, 1, 0xff, 0xff]), Some(4));
        let mut long = vec![0x30, 0x82, 0x01, 0x00];
        long.resize(4 + 0x100 + 7, 0);
        assert_eq!(der_length(&long), Some(4 + 0x100));
        long.truncate(4 + 0xff);
        assert_eq!(der_length(&long), None, "cut short");
        assert_eq!(der_length(&[0xff; 8]), None, "an erased index");
        assert_eq!(der_length(&[0x30]), None);
    }
}
