//! Why a host stands where it stands: everything that a person asks next, from one moment of the database.

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::{TrustTier, TrustVector};
use touchstone_policies::advice::advice;
use touchstone_policies::explain::demands;
use touchstone_policies::prose;

use crate::appraisal::{RoundEntry, Verdict};
use crate::attestor::Attestor;
use crate::clock;
use crate::location::{self, History, Move};
use crate::store::{StoreError, Tx};

/// Moves that are told.
const MOVES_TOLD: usize = 3;

/// A host, explained.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    host: HostId,
    nodes: Vec<String>,
    tier: TrustTier,
    /// Whether the verdict is in force now.
    fresh: bool,
    /// Whether it was taken away since it was reached: nothing is known until the next round.
    voided: bool,
    issued_at: Option<i64>,
    expires_at: Option<i64>,
    policy: Option<PolicyPart>,
    findings: Vec<Explained>,
    place: Option<PlacePart>,
    /// The last changes of the place that it proved, the oldest first.
    moves: Vec<Move>,
    /// `None`: the verdict was never another one, or the host has not attested twice.
    before: Option<Before>,
}

#[derive(Debug, Serialize)]
struct PolicyPart {
    name: String,
    /// Whether the verdict was reached under the manifests that are in force now.
    in_force: bool,
    demands: Vec<DemandPart>,
}

#[derive(Debug, Serialize)]
struct DemandPart {
    what: String,
    entry: &'static str,
    tier: TrustTier,
    proof: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    finding: Finding,
    sentence: String,
    advice: Option<&'static str>,
}

/// Where it stands, and who says so.
#[derive(Debug, Serialize)]
struct PlacePart {
    place: Place,
    grade: &'static str,
    serial: u64,
    authority: Sha256Digest,
    valid_until: i64,
    /// Whether its last round proved it.
    proven: bool,
}

/// The verdict before this one.
#[derive(Debug, Serialize)]
struct Before {
    tier: TrustTier,
    place: Option<Place>,
    policy: String,
    /// When it was reached last, seconds since 1970.
    reached_at: i64,
    /// Index of its entry.
    index: u64,
    /// What there was against it.
    codes: Vec<String>,
    /// What is said now and was not then.
    new_codes: Vec<String>,
    /// What was said then and is not now.
    gone_codes: Vec<String>,
    policies_changed: bool,
}

/// Explains `host`; `None`: no host of this name is enrolled.
pub(crate) async fn explain(
    attestor: &Attestor,
    host: &HostId,
) -> Result<Option<Explanation>, StoreError> {
    let mut tx = attestor.store.read().await?;
    let Some(kept) = tx.kept_round(host).await? else {
        return Ok(None);
    };
    let verdict = Verdict::read(kept.verdict.as_deref())?;
    let history = location::history(&mut tx, host).await?;
    let before = match &verdict {
        Some(verdict) => before(&mut tx, kept.before_change, verdict).await?,
        None => None,
    };
    let held = verdict.as_ref();
    Ok(Some(Explanation {
        host: host.clone(),
        nodes: attestor.index.nodes_of(host),
        tier: held.map_or(TrustTier::None, |verdict| verdict.tier),
        fresh: held.is_some_and(|verdict| clock::now() < verdict.expires_at),
        voided: kept.voided,
        issued_at: held.map(|verdict| verdict.issued_at),
        expires_at: held.map(|verdict| verdict.expires_at),
        policy: policy(attestor, host, held),
        findings: held.map(findings).unwrap_or_default(),
        place: place(&history, held),
        moves: last_of(&history.moves),
        before,
    }))
}

fn policy(attestor: &Attestor, host: &HostId, verdict: Option<&Verdict>) -> Option<PolicyPart> {
    let policies = attestor.index.policies();
    let (name, demands) = demands(&policies, host)?;
    let vector = verdict.map_or(TrustVector::NONE, |verdict| verdict.vector);
    let tier_of = |entry| {
        vector
            .entries()
            .find(|(name, _)| *name == entry)
            .map_or(TrustTier::None, |(_, tier)| tier)
    };
    let demands = demands.into_iter().map(|demand| {
        let tier = tier_of(demand.entry);
        DemandPart {
            what: demand.what,
            entry: demand.entry,
            tier,
            proof: (tier == TrustTier::Affirming).then_some(demand.proof),
        }
    });
    Some(PolicyPart {
        name: name.to_owned(),
        in_force: verdict.is_some_and(|verdict| verdict.policy_digest == policies.digest),
        demands: demands.collect(),
    })
}

fn findings(verdict: &Verdict) -> Vec<Explained> {
    let explained = |finding: &Finding| Explained {
        sentence: prose::sentence(finding),
        advice: advice(&finding.code),
        finding: finding.clone(),
    };
    verdict.findings.iter().map(explained).collect()
}

/// What the host's current tag says.
fn place(history: &History, verdict: Option<&Verdict>) -> Option<PlacePart> {
    let tag = history.tags.iter().rfind(|tag| tag.ended_by.is_none())?;
    let proven = verdict.and_then(|verdict| verdict.place.as_ref());
    Some(PlacePart {
        proven: proven == Some(&tag.place),
        place: tag.place.clone(),
        grade: "L1",
        serial: tag.serial,
        authority: tag.authority,
        valid_until: tag.valid_until,
    })
}

fn last_of(moves: &[Move]) -> Vec<Move> {
    let first = moves.len().saturating_sub(MOVES_TOLD);
    moves.iter().skip(first).cloned().collect()
}

async fn before(
    tx: &mut Tx,
    index: Option<u64>,
    verdict: &Verdict,
) -> Result<Option<Before>, StoreError> {
    let Some(index) = index else { return Ok(None) };
    let missing = StoreError::Malformed("audit log: entries are missing");
    let entry = RoundEntry::parse(&tx.entry(index).await?.ok_or(missing)?)?;
    let (now, then) = (codes(&verdict.findings), codes(&entry.findings));
    let without = |these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|code| !those.contains(code))
            .cloned()
            .collect()
    };
    Ok(Some(Before {
        tier: entry.tier,
        place: entry.place,
        policies_changed: entry.policy_digest != verdict.policy_digest,
        policy: entry.policy,
        reached_at: entry.time,
        index,
        new_codes: without(&now, &then),
        gone_codes: without(&then, &now),
        codes: then,
    }))
}

/// Each code once, in the order of the findings.
fn codes(findings: &[Finding]) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    for finding in findings {
        if !codes.contains(&finding.code) {
            codes.push(finding.code.clone());
        }
    }
    codes
}
