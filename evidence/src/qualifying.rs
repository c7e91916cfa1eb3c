//! The qualifying data of a round: what a quote is bound to besides the PCRs.
//!
//! Host and attestor each compute it from their own values; it is never sent.

use crate::digest::Sha256Digest;
use crate::host_id::HostId;

/// First bytes of the hashed structure; another version is another string.
const DOMAIN: &[u8] = b"touchstone qualifying data v1\0";

/// Everything that one round binds. `None` is encoded as absent, which differs from empty.
#[derive(Clone, Copy, Debug)]
pub struct QualifyingData<'a> {
    /// The challenge's nonce.
    pub nonce: &'a [u8; 32],
    /// Who the host was enrolled as.
    pub host: &'a HostId,
    /// The kernel's boot id, 16 bytes.
    pub boot_id: &'a [u8; 16],
    /// Digest of the location tag that the TPM carries.
    pub location_tag: Option<Sha256Digest>,
    /// Name of the key that container keys are sealed to.
    pub release_key: Option<&'a [u8]>,
    /// SHA-256 of the SubjectPublicKeyInfo of the agent's TLS key.
    pub tls_key: &'a Sha256Digest,
    /// Digest of the node's service account token.
    pub node_token: Option<Sha256Digest>,
}

impl QualifyingData<'_> {
    /// SHA-256 over the domain and the fields in order, each with a presence byte and a length of
    /// four bytes, big-endian.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut encoded = DOMAIN.to_vec();
        append(&mut encoded, Some(self.nonce));
        append(&mut encoded, Some(self.host.as_str().as_bytes()));
        append(&mut encoded, Some(self.boot_id));
        append(
            &mut encoded,
            self.location_tag.as_ref().map(|tag| &tag.0[..]),
        );
        append(&mut encoded, self.release_key);
        append(&mut encoded, Some(&self.tls_key.0));
        append(
            &mut encoded,
            self.node_token.as_ref().map(|token| &token.0[..]),
        );
        encoded
    }
}

/// Appends a field behind its presence byte and its length.
pub(crate) fn append(encoded: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(bytes) = field else {
        encoded.push(0);
        return;
    };
    encoded.push(1);
    // No field comes near 4 GiB; saturating keeps the encoding injective for all that do fit.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    encoded.extend(length.to_be_bytes());
    encoded.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    /// The fields of an encoded structure, read back.
    fn fields(encoded: &[u8]) -> Vec<Option<&[u8]>> {
        let mut rest = encoded.strip_prefix(DOMAIN).unwrap();
        let mut fields = Vec::new();
        while let Some((&present, after)) = rest.split_first() {
            if present == 0 {
                (rest, fields) = (after, [fields, vec![None]].concat());
                continue;
            }
            assert_eq!(present, 1);
            let (length, after) = after.split_first_chunk::<4>().unwrap();
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
            let (field, after) = after.split_at(length);
            fields.push(Some(field));
            rest = after;
        }
        fields
    }

    proptest! {
        #[test]
        fn what_is_encoded_can_be_read_back(
            (nonce, boot_id, tls_key) in any::<([u8; 32], [u8; 16], [u8; 32])>(),
            host in "[a-z0-9]{1,20}",
            location_tag in option::of(any::<[u8; 32]>()),
            release_key in option::of(proptest::collection::vec(any::<u8>(), 0..70)),
            node_token in option::of(any::<[u8; 32]>()),
        ) {
            let encoded = QualifyingData {
                nonce: &nonce,
                host: &host.parse().unwrap(),
                boot_id: &boot_id,
                location_tag: location_tag.map(Sha256Digest),
                release_key: release_key.as_deref(),
                tls_key: &Sha256Digest(tls_key),
                node_token: node_token.map(Sha256Digest),
            }
            .encode();
            let expected = vec![
                Some(&nonce[..]),
                Some(host.as_bytes()),
                Some(&boot_id),
                location_tag.as_ref().map(|tag| &tag[..]),
                release_key.as_deref(),
                Some(&tls_key),
                node_token.as_ref().map(|token| &token[..]),
            ];
            prop_assert_eq!(fields(&encoded), expected);
        }
    }

    #[test]
    fn every_field_changes_the_digest_and_absent_is_not_empty() {
        let host: HostId = "de-1".parse().unwrap();
        let other: HostId = "de-2".parse().unwrap();
        let key = Sha256Digest::of(b"key");
        let base = QualifyingData {
            nonce: &[1; 32],
            host: &host,
            boot_id: &[2; 16],
            location_tag: None,
            release_key: None,
            tls_key: &key,
            node_token: None,
        };
        let variants = [
            base,
            QualifyingData {
                nonce: &[9; 32],
                ..base
            },
            QualifyingData {
                host: &other,
                ..base
            },
            QualifyingData {
                boot_id: &[9; 16],
                ..base
            },
            QualifyingData {
                location_tag: Some(Sha256Digest::ZERO),
                ..base
            },
            QualifyingData {
                release_key: Some(&[]),
                ..base
            },
            QualifyingData {
                release_key: Some(&[7]),
                ..base
            },
            QualifyingData {
                tls_key: &Sha256Digest::ZERO,
                ..base
            },
            QualifyingData {
                node_token: Some(Sha256Digest::ZERO),
                ..base
            },
        ];
        let digests: std::collections::BTreeSet<_> =
            variants.iter().map(QualifyingData::digest).collect();
        assert_eq!(digests.len(), variants.len());
    }
}
