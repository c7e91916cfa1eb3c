//! What the rest of the attestor is told when the identity of a host ended.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_policies::admit::HostStanding;

use crate::attestor::Attestor;
use crate::store::End;

/// Seconds for which the index says why there is no verdict; a new one replaces it.
const TOLD_SECONDS: i64 = 365 * 24 * 3600;

/// A committed end of an identity: published right after the commit.
pub(super) struct Ending {
    host: HostId,
    end: End,
    order: u64,
    entry: Sha256Digest,
}

impl Ending {
    /// `order` and `entry` are index and leaf hash of the audit entry.
    pub(super) fn new(host: HostId, end: End, order: u64, entry: Sha256Digest) -> Self {
        Self {
            host,
            end,
            order,
            entry,
        }
    }

    /// Takes the host's verdict and its nodes out of the index, at once.
    pub(super) fn publish(self, attestor: &Attestor, now: i64) {
        let standing = HostStanding {
            findings: vec![Finding::new(self.end.code()).about(&self.host)],
            host: self.host.clone(),
            tier: TrustTier::None,
            place: None,
            challenged_at: now,
            expires_at: now.saturating_add(TOLD_SECONDS),
        };
        attestor.index.drop_nodes_of(self.order, &self.host);
        attestor
            .index
            .put_host(self.order, standing, self.entry, now);
        tracing::warn!(host.id = %self.host, finding.code = self.end.code(), "ended an identity");
    }
}
