//! The digest of a service account token that a host's TPM signed: which host has the token, not yet whose token it is.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire::Evidence;

use super::Decided;
use super::verify::Verified;
use crate::store::Asked;

/// Before the commit of its round: it proves nothing yet.
pub(super) struct PendingToken(SignedToken);

/// In a durable round the TPM of `host` signed, under the identity of this TLS key, for the token of this digest.
#[derive(Clone, Debug)]
pub(crate) struct SignedToken {
    host: HostId,
    tls_key: Sha256Digest,
    digest: Sha256Digest,
}

impl PendingToken {
    /// `None`: the round is for no token, or of a copy of the TPM, whose word moves nothing.
    pub(super) fn of(evidence: &Evidence, verified: &Verified, asked: &Asked) -> Option<Self> {
        let digest = evidence.node_token.filter(|_| !verified.behind)?;
        Some(Self(SignedToken {
            host: verified.host.clone(),
            tls_key: Sha256Digest(asked.tls_key),
            digest,
        }))
    }

    /// The token, if the round is the one that was committed.
    pub(super) fn committed(self, decided: &Decided) -> Option<SignedToken> {
        match decided {
            Decided::Moved { .. } => Some(self.0),
            Decided::Again(_) => None,
        }
    }
}

impl SignedToken {
    /// Whose TPM signed.
    pub(crate) fn host(&self) -> &HostId {
        &self.host
    }

    /// By which the identity is known that it signed under.
    pub(crate) fn tls_key(&self) -> &Sha256Digest {
        &self.tls_key
    }

    /// SHA-256 of the token.
    pub(crate) fn digest(&self) -> &Sha256Digest {
        &self.digest
    }
}
