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
        Sha256Digest::of(&encoded)
    }
}

fn append(encoded: &mut Vec<u8>, field: Option<&[u8]>) {
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
    use super::*;

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
