//! From an appraisal to what is kept and signed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::{
    AttestationResult, Detail, Submodule, TrustTier, TrustVector, VerifierId,
};
use touchstone_policies::admit::HostStanding;
use touchstone_policies::appraise::Appraisal;

use super::verify::Verified;
use super::{RoundError, entry};
use crate::attestor::Attestor;
use crate::audit::{Entry, Event};
use crate::random;
use crate::store::{HostRecord, QuoteClock, StoreError};

/// A host's last verdict as it is kept with the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) tier: TrustTier,
    pub(crate) vector: TrustVector,
    pub(crate) findings: Vec<Finding>,
    pub(crate) place: Option<Place>,
    pub(crate) policy: String,
    pub(crate) policy_digest: Sha256Digest,
    /// `None`: it was reached before this was kept.
    #[serde(default)]
    pub(crate) boot: Option<VerdictBoot>,
    pub(crate) challenged_at: i64,
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    /// Leaf hash of the audit entry.
    pub(crate) entry: Sha256Digest,
}

/// The boot of a host whose evidence led to a verdict, as its TPM counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VerdictBoot {
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
}

impl VerdictBoot {
    fn of(clock: &QuoteClock) -> Self {
        let counter = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            reset_count: counter(clock.reset_count),
            restart_count: counter(clock.restart_count),
        }
    }
}

impl Verdict {
    /// The last verdict of an enrolled host; `None` before its first round.
    pub(crate) fn of(record: &HostRecord) -> Result<Option<Self>, StoreError> {
        Self::read(record.verdict.as_deref())
    }

    /// Out of what is kept.
    pub(crate) fn read(kept: Option<&str>) -> Result<Option<Self>, StoreError> {
        let verdict = kept.map(serde_json::from_str).transpose();
        verdict.map_err(|_| StoreError::Malformed("verdict"))
    }

    /// The verdict without what it said: nothing is known until the next round.
    pub(crate) fn voided(self, why: Finding) -> Self {
        Self {
            tier: TrustTier::None,
            vector: TrustVector::NONE,
            findings: vec![why],
            place: None,
            ..self
        }
    }

    /// Whether it says that the TPM may be another one, or run another firmware.
    pub(crate) fn says_another_tpm(&self) -> bool {
        let codes = ["tpm-cloned", "firmware-version-changed"];
        self.findings
            .iter()
            .any(|finding| codes.contains(&finding.code.as_str()))
    }

    /// One digest over what a person would call the verdict: a round that reaches the same again changes nothing.
    fn digest_of_standing(&self) -> Result<Sha256Digest, StoreError> {
        let codes: Vec<&str> = self
            .findings
            .iter()
            .map(|finding| finding.code.as_str())
            .collect();
        let parts = (self.tier, self.vector, codes, &self.place, &self.policy);
        let bytes = serde_json::to_vec(&parts).map_err(|_| StoreError::Malformed("verdict"))?;
        Ok(Sha256Digest::of(&bytes))
    }

    /// As it is kept.
    pub(crate) fn to_json(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|_| StoreError::Malformed("verdict"))
    }

    /// What admission looks at.
    pub(crate) fn standing(&self, host: &HostId) -> HostStanding {
        HostStanding {
            host: host.clone(),
            tier: self.tier,
            place: self.place.clone(),
            findings: self.findings.clone(),
            challenged_at: self.challenged_at,
            expires_at: self.expires_at,
        }
    }
}

/// A verdict with its entry and its signed result, ready to be committed together.
pub(super) struct Reached {
    pub(super) verdict: Verdict,
    /// The verdict as it is kept: written here, since commits wait for each other.
    pub(super) kept: String,
    pub(super) standing: Sha256Digest,
    pub(super) result: String,
    pub(super) entry: Entry,
    pub(super) evidence: Sha256Digest,
}

/// Turns an appraisal into a verdict: expiry, audit entry, signed result, in this order, since the
/// result names the entry.
pub(super) fn reach(
    attestor: &Attestor,
    policy_digest: &Sha256Digest,
    verified: &Verified,
    appraisal: Appraisal,
    evidence: Sha256Digest,
) -> Result<Reached, RoundError> {
    let id = hex::encode(random::bytes::<16>()?);
    let by_age = verified
        .challenged_at
        .saturating_add(appraisal.freshness_seconds);
    let expires_at = appraisal
        .valid_until
        .map_or(by_age, |boundary| boundary.min(by_age));
    let event = Event::HostAppraised(Box::new(crate::audit::Appraised {
        host: verified.host.clone(),
        tier: appraisal.tier,
        vector: appraisal.vector,
        findings: appraisal.findings.clone(),
        place: appraisal.place.clone(),
        policy: appraisal.policy.clone(),
        policy_digest: *policy_digest,
        evidence,
        boot_log: verified.boot_log_digest,
        runtime: verified.runtime,
        result: id.clone(),
        challenged_at: verified.challenged_at,
        expires_at,
        firmware_version: verified.clock.firmware_version,
        reset_count: verified.clock.reset_count,
        restart_count: verified.clock.restart_count,
        clock: verified.clock.clock,
    }));
    let entry = entry(event, verified.now)?;
    let verdict = Verdict {
        boot: Some(VerdictBoot::of(&verified.clock)),
        tier: appraisal.tier,
        vector: appraisal.vector,
        findings: appraisal.findings,
        place: appraisal.place,
        policy: appraisal.policy,
        policy_digest: *policy_digest,
        challenged_at: verified.challenged_at,
        issued_at: verified.now,
        expires_at,
        entry: entry.leaf(),
    };
    let result = signed_result(attestor, &verdict, verified, id, evidence)?;
    Ok(Reached {
        kept: verdict.to_json()?,
        standing: verdict.digest_of_standing()?,
        verdict,
        result,
        entry,
        evidence,
    })
}

fn signed_result(
    attestor: &Attestor,
    verdict: &Verdict,
    verified: &Verified,
    id: String,
    evidence: Sha256Digest,
) -> Result<String, RoundError> {
    let boot = VerdictBoot::of(&verified.clock);
    let submodule = Submodule {
        tier: verdict.tier,
        vector: verdict
            .vector
            .entries()
            .map(|(name, tier)| (name.to_owned(), tier.number()))
            .collect(),
        policy: format!("{}@{}", verdict.policy, verdict.policy_digest),
        detail: Detail {
            place: verdict.place.clone(),
            findings: verdict.findings.clone(),
            entry: verdict.entry,
            evidence,
            reset_count: boot.reset_count,
            restart_count: boot.restart_count,
        },
    };
    let result = AttestationResult {
        id,
        eat_profile: AttestationResult::PROFILE.to_owned(),
        verifier: VerifierId {
            build: concat!("touchstone ", env!("CARGO_PKG_VERSION")).to_owned(),
            developer: attestor.log_key.name().to_owned(),
        },
        issued_at: verdict.issued_at,
        expires_at: verdict.expires_at,
        submods: BTreeMap::from([(verified.host.clone(), submodule)]),
    };
    Ok(attestor.keys.result.sign(&result)?)
}
