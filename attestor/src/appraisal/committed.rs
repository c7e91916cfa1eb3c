//! A round that became durable, for whoever acts by that very round: what a later one says, or what the index holds by
//! then, does not count.

use std::sync::Arc;

use touchstone_evidence::claims::Proof;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::release_key::VerifiedReleaseKey;
use touchstone_policies::admit::HostStanding;
use touchstone_policies::manifest::PolicySet;

use super::Decided;
use super::verdict::Reached;
use super::verify::Verified;

/// A round that carries a release key, before its commit: it proves nothing yet.
pub(super) struct Pending(CommittedRound);

/// A committed round that carries a release key: its verdict, by the policies that were in force when it was committed,
/// and the key with the quote (boot, PCRs, clock) that it was certified beside.
pub(crate) struct CommittedRound {
    release_key: Proof<VerifiedReleaseKey>,
    standing: HostStanding,
    standing_digest: Sha256Digest,
    entry: Sha256Digest,
    policies: Arc<PolicySet>,
    tells_of_revoked: bool,
}

impl Pending {
    /// `None`: the round carries no release key.
    pub(super) fn of(
        verified: &Verified,
        reached: &Reached,
        policies: &Arc<PolicySet>,
        tells_of_revoked: bool,
    ) -> Option<Self> {
        let release_key = verified.claims.release_key()?.clone();
        Some(Self(CommittedRound {
            release_key,
            standing: reached.verdict.standing(&verified.host),
            standing_digest: reached.standing,
            entry: reached.verdict.entry,
            policies: Arc::clone(policies),
            tells_of_revoked,
        }))
    }

    /// The round, if it is the one that was committed. One that was answered before moved nothing.
    pub(super) fn committed(self, decided: &Decided) -> Option<CommittedRound> {
        match decided {
            Decided::Moved { .. } => Some(self.0),
            Decided::Again(_) => None,
        }
    }
}

impl CommittedRound {
    /// The release key that the round carried.
    pub(crate) fn release_key(&self) -> &Proof<VerifiedReleaseKey> {
        &self.release_key
    }

    /// What the round established: tier, place, and until when.
    pub(crate) fn standing(&self) -> &HostStanding {
        &self.standing
    }

    /// By this the database tells whether the host still stands so.
    pub(crate) fn standing_digest(&self) -> Sha256Digest {
        self.standing_digest
    }

    /// Leaf hash of its entry.
    pub(crate) fn entry(&self) -> Sha256Digest {
        self.entry
    }

    /// What it was judged by: in force when it was committed.
    pub(crate) fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Whether its answer, which is not sent with a release, tells of revoked leases.
    pub(crate) fn tells_of_revoked(&self) -> bool {
        self.tells_of_revoked
    }
}
