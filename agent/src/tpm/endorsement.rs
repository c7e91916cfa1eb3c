//! The endorsement key that this host enrols with: the first whose certificate is in the TPM and is for
//! the key that the TPM derives, and the CA certificates stored beside it.

use touchstone_evidence::endorsement::{PLATFORM_CERTIFICATE_MAX, is_for_key};
use touchstone_evidence::tpm::public::Public as Parsed;
use touchstone_evidence::wire::INTERMEDIATES_MAX;
use tss_esapi::constants::CapabilityType;
use tss_esapi::structures::CapabilityData;
use tss_esapi::traits::Marshall as _;

use super::error::during;
use super::template::EkTemplate;
use super::visit::Visit;
use super::{EkReference, Endorsement, Error, Result};

/// Where certificates between the EK's and a root are kept (EK Credential Profile 2.5, §2.2.1.5): their
/// concatenation in the order of the indices.
const CHAIN_INDICES: std::ops::RangeInclusive<u32> = 0x01c0_0100..=0x01c0_01ff;
/// Most bytes that are read of it, and of one certificate: what an enrolment request takes.
const CHAIN_MAX: usize = 32 << 10;
const CHAIN_CERTIFICATE_MAX: usize = 4096;
/// Where the platform certificate is kept (TCG Registry of Reserved TPM 2.0 Handles: platform certificates
/// begin here).
const PLATFORM_INDEX: u32 = 0x01c0_8000;

impl Visit<'_> {
    /// The EK to enrol with. The key is derived anew, never taken from a saved context.
    pub(super) fn endorsement(&mut self) -> Result<Endorsement> {
        let mut mismatch = None;
        for template in EkTemplate::ALL {
            let index = template.certificate_index();
            let Some(certificate) = self.certificate(index)? else {
                continue;
            };
            let (public, name) = self.derived(template)?;
            let parsed = Parsed::parse(&public).map_err(Error::OddEndorsementKey)?;
            if !is_for_key(&certificate, &parsed.subject_public_key_info()) {
                tracing::warn!(
                    nv.index = format_args!("{index:#010x}"),
                    "this endorsement certificate is for another key than the TPM's: trying the next"
                );
                mismatch.get_or_insert(Error::OtherEndorsementKey { index });
                continue;
            }
            let ek = EkReference {
                template,
                name: name.into(),
            };
            self.saved.chosen = Some(ek.clone());
            return Ok(Endorsement {
                certificate,
                public,
                intermediates: self.chain(),
                platform_certificate: self.platform_certificate(),
                ek,
            });
        }
        let indices =
            EkTemplate::ALL.map(|template| format!("{:#010x}", template.certificate_index()));
        Err(mismatch.unwrap_or_else(|| Error::NoEndorsement {
            indices: indices.join(", "),
        }))
    }

    /// The EK that [`Visit::endorsement`] found, or now finds.
    pub(super) fn chosen_ek(&mut self) -> Result<EkReference> {
        match self.saved.chosen.clone() {
            Some(ek) => Ok(ek),
            None => Ok(self.endorsement()?.ek),
        }
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

    /// `TPMT_PUBLIC` and Name of the EK, which does not stay loaded.
    fn derived(&mut self, template: EkTemplate) -> Result<(Vec<u8>, Vec<u8>)> {
        let ek = self.derive_ek(template)?;
        let (public, name, _) = self
            .context
            .execute_without_session(|context| context.read_public(ek))
            .map_err(during("TPM2_ReadPublic"))?;
        self.flush(ek.into())?;
        let public = public.marshall().map_err(during("TPM2_ReadPublic"))?;
        Ok((public, name.value().to_vec()))
    }

    /// The certificates that the TPM holds beside that of the EK. They only help: what cannot be read is
    /// left out, and the attestor may know them all.
    fn chain(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        for index in self.chain_indices().unwrap_or_default() {
            let part = self
                .nv_find(index)
                .and_then(|area| area.map(|area| self.nv_read(&area)).transpose());
            match part {
                Ok(Some(part)) if bytes.len() + part.len() <= CHAIN_MAX => bytes.extend(part),
                Ok(None) => {}
                Ok(Some(_)) => break,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        nv.index = format_args!("{index:#010x}"),
                        error,
                        "a CA certificate in the TPM cannot be read"
                    );
                    break;
                }
            }
        }
        split_chain(&bytes)
    }

    /// What the TPM holds of its machine's maker. It only helps, like the chain: the attestor reads it, if it
    /// has to.
    fn platform_certificate(&mut self) -> Option<Vec<u8>> {
        match self.certificate(PLATFORM_INDEX) {
            Ok(found) => found.filter(|der| der.len() <= PLATFORM_CERTIFICATE_MAX),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the platform certificate in the TPM cannot be read");
                None
            }
        }
    }

    fn chain_indices(&mut self) -> Result<Vec<u32>> {
        let (first, last) = (*CHAIN_INDICES.start(), *CHAIN_INDICES.end());
        let (handles, _) = self
            .context
            .execute_without_session(|context| {
                context.get_capability(CapabilityType::Handles, first, last - first + 1)
            })
            .map_err(during("TPM2_GetCapability"))?;
        let CapabilityData::Handles(handles) = handles else {
            return Ok(Vec::new());
        };
        let handles = handles.iter().map(|handle| u32::from(*handle));
        Ok(handles
            .filter(|handle| CHAIN_INDICES.contains(handle))
            .collect())
    }
}

/// Takes concatenated certificates apart; ends at the first bytes that are none, such as padding.
fn split_chain(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut certificates = Vec::new();
    while certificates.len() < INTERMEDIATES_MAX
        && let Some(length) = der_length(bytes)
        && let Some((certificate, rest)) = bytes.split_at_checked(length)
    {
        if length <= CHAIN_CERTIFICATE_MAX {
            certificates.push(certificate.to_vec());
        }
        bytes = rest;
    }
    certificates
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
    use super::{CHAIN_CERTIFICATE_MAX, INTERMEDIATES_MAX, der_length, split_chain};

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

    #[test]
    fn a_chain_is_taken_apart_and_bounded() {
        let (one, other) = ([0x30, 1, 7], [0x30, 2, 8, 9]);
        let chain = [&one[..], &other, &[0xff; 9]].concat();
        assert_eq!(split_chain(&chain), [one.to_vec(), other.to_vec()]);
        assert_eq!(split_chain(&chain[..5]), [one.to_vec()], "cut short");
        assert!(split_chain(&[]).is_empty());
        assert_eq!(split_chain(&one.repeat(99)).len(), INTERMEDIATES_MAX);
        let mut long = vec![0x30, 0x82, 0x20, 0x00];
        long.resize(4 + 0x2000, 0);
        assert!(long.len() > CHAIN_CERTIFICATE_MAX);
        long.extend(one);
        assert_eq!(
            split_chain(&long),
            [one.to_vec()],
            "one that is no certificate's size"
        );
    }
}
