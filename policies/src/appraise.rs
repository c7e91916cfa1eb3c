//! Appraisal: from proven claims to a tier, with every reason.

mod boot;
mod hardware;
mod runtime;

use touchstone_evidence::claims::{Claims, Proof};
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::{TrustTier, TrustVector};

use crate::manifest::{HostPolicy, PolicySet};

/// What became of one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    /// The worst tier among the entries that the policy demands.
    pub tier: TrustTier,
    /// Every entry, demanded or not.
    pub vector: TrustVector,
    /// Why demanded entries are not affirming. Causes come before their consequences.
    pub findings: Vec<Finding>,
    /// The proven place.
    pub place: Option<Place>,
    /// Name of the `HostPolicy`; empty when none is for this host.
    pub policy: String,
    /// Seconds since 1970 from which the verdict no longer holds, whatever its age; the nearest
    /// boundary that was consulted. `None`: no boundary but freshness.
    pub valid_until: Option<i64>,
    /// For how long after its challenge it holds, seconds.
    pub freshness_seconds: i64,
}

/// Most findings of one verdict.
const FINDINGS_MAX: usize = 48;
/// Most text of them together, bytes: each is kept for good, and part of it is a host's own words.
const FINDINGS_TEXT_MAX: usize = 8 << 10;

/// How long a verdict holds that no policy speaks of, seconds.
const UNGOVERNED_FRESHNESS: i64 = 60;

/// An entry of the trust vector with its reasons.
struct Judged {
    tier: TrustTier,
    findings: Vec<Finding>,
}

impl Judged {
    fn affirming() -> Self {
        Self {
            tier: TrustTier::Affirming,
            findings: Vec::new(),
        }
    }

    /// A proof failed, or what was proven is forbidden.
    fn contraindicated(findings: Vec<Finding>) -> Self {
        Self {
            tier: TrustTier::Contraindicated,
            findings,
        }
    }

    /// Nothing was proven either way.
    fn unknown(findings: Vec<Finding>) -> Self {
        Self {
            tier: TrustTier::None,
            findings,
        }
    }
}

/// Judges `claims` by the one `HostPolicy` that is for this host.
///
/// What no policy demands is shown in the vector and counts for nothing; a host without a policy,
/// or with two, is None.
#[must_use]
pub fn appraise(policies: &PolicySet, claims: &Claims) -> Appraisal {
    let mut matching = policies
        .hosts
        .iter()
        .filter(|(_, policy)| is_for(policy, claims.host()));
    let (name, policy) = match (matching.next(), matching.next()) {
        (Some((name, policy)), None) => (name, policy),
        (None, _) => return ungoverned(Finding::new("host-policy-absent")),
        (Some((first, _)), Some((second, _))) => {
            return ungoverned(
                Finding::new("host-policy-ambiguous").observed(format_args!("{first}, {second}")),
            );
        }
    };
    let identity = judge_identity(claims);
    let configuration = match &policy.boot {
        Some(boot) => boot::judge(boot, policies, claims),
        None => Judged::unknown(vec![]),
    };
    let executables = runtime::judge(policy.runtime.as_ref(), claims.runtime());
    let hardware = hardware::judge(claims);
    let location = judge_location(claims);
    let vector = TrustVector {
        instance_identity: identity.tier,
        configuration: configuration.tier,
        executables: executables.tier,
        hardware: hardware.tier,
        location: location.tier,
    };
    let demanded: Vec<Judged> = [
        (true, identity),
        (policy.boot.is_some(), configuration),
        (policy.runtime.is_some(), executables),
        (policy.hardware, hardware),
        (policy.location.is_some(), location),
    ]
    .into_iter()
    .filter_map(|(demanded, judged)| demanded.then_some(judged))
    .collect();
    let place = claims.place().proven();
    Appraisal {
        tier: TrustTier::worst(demanded.iter().map(|judged| judged.tier)),
        vector,
        findings: bounded(demanded.into_iter().flat_map(|judged| judged.findings)),
        place: place.map(|place| place.place().clone()),
        policy: name.clone(),
        valid_until: place.map(|place| place.valid_until()),
        freshness_seconds: policy.freshness_seconds.seconds(),
    }
}

/// The first findings, causes among them, and how many more there are: a host must not be able to fill
/// the log with its own words.
fn bounded(findings: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let (mut kept, mut text, mut omitted) = (Vec::new(), 0_usize, 0_usize);
    for finding in findings {
        text = text.saturating_add(finding.text_bytes());
        match kept.len() < FINDINGS_MAX && text <= FINDINGS_TEXT_MAX {
            true => kept.push(finding),
            false => omitted = omitted.saturating_add(1),
        }
    }
    if omitted > 0 {
        kept.push(Finding::new("findings-omitted").observed(omitted));
    }
    kept
}

fn is_for(policy: &HostPolicy, host: &HostId) -> bool {
    policy.hosts.iter().any(|pattern| pattern.matches(host))
}

fn ungoverned(finding: Finding) -> Appraisal {
    Appraisal {
        tier: TrustTier::None,
        vector: TrustVector::NONE,
        findings: vec![finding],
        place: None,
        policy: String::new(),
        valid_until: None,
        freshness_seconds: UNGOVERNED_FRESHNESS,
    }
}

/// The round is authentic, or there would be no claims; but a quote of something else proves a host
/// that does not answer what it was asked, and one that does not go on where the last one ended proves
/// another TPM or another firmware. A clock that runs unlike time proves neither: the attestor's own clock
/// may have been set, which must not contraindicate a whole fleet.
fn judge_identity(claims: &Claims) -> Judged {
    match (claims.quote(), claims.continuity()) {
        (Proof::Refuted(findings), _) => Judged::contraindicated(findings.clone()),
        (Proof::Proven(_), Proof::Proven(_)) => Judged::affirming(),
        (Proof::Proven(_), Proof::Refuted(findings)) => {
            let drift = |finding: &Finding| finding.code == "tpm-clock-drift";
            match findings.iter().all(drift) {
                true => Judged::unknown(findings.clone()),
                false => Judged::contraindicated(findings.clone()),
            }
        }
    }
}

fn judge_location(claims: &Claims) -> Judged {
    match claims.place() {
        Proof::Proven(_) => Judged::affirming(),
        // A host without a tag has shown nothing; one with a wrong tag has shown something wrong.
        Proof::Refuted(findings)
            if findings
                .iter()
                .all(|finding| finding.code == "location-absent") =>
        {
            Judged::unknown(findings.clone())
        }
        Proof::Refuted(findings) => Judged::contraindicated(findings.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_cannot_fill_the_log_with_findings() {
        let short = || Finding::new("short");
        let kept = bounded((0..100).map(|_| short()));
        assert_eq!(kept.len(), FINDINGS_MAX + 1);
        assert_eq!(kept[FINDINGS_MAX].observed.as_deref(), Some("52"));
        assert_eq!(
            bounded((0..FINDINGS_MAX).map(|_| short())).len(),
            FINDINGS_MAX
        );
        // Four bytes a letter, as long as a field may be.
        let long = || Finding::new("long").observed("\u{1f600}".repeat(600));
        let kept = bounded([short(), long(), long(), long(), long(), short()].into_iter());
        let codes: Vec<&str> = kept.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["short", "long", "long", "long", "findings-omitted"]);
        assert_eq!(kept[4].observed.as_deref(), Some("2"));
    }
}
