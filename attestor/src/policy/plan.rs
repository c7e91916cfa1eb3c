//! What other manifests would do to the fleet, on each host's own kept evidence. Nothing is changed by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_policies::manifest::PolicySet;
use touchstone_policies::plan::{Comparison, compare};
use touchstone_policies::prose;

use super::ApplyError;
use super::breaker::{Breaker, Held, Starving};
use crate::appraisal::{NotReplayed, Verdict, replay};
use crate::attestor::Attestor;
use crate::clock;
use crate::store::{KeptRound, StoreError};

/// Plans that are under way at most.
pub(crate) const AT_ONCE: usize = 2;

/// What a change would do.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Plan {
    /// Of the manifests in force.
    pub(crate) in_force: Option<Sha256Digest>,
    /// Of those that were asked about.
    pub(crate) digest: Option<Sha256Digest>,
    /// Hosts that are enrolled.
    hosts: usize,
    /// Those whose tier would stay.
    same: usize,
    /// Hosts that were affirming at their last round.
    affirming: usize,
    /// Those of them that would not be any more, or of which nobody can say.
    falling: usize,
    /// Whether that, or what `starving` says, is more than one change may do unasked.
    drains: bool,
    starving: Vec<Starving>,
    /// Hosts whose rounds do not come often enough for the new freshness, and do for the one in force.
    lapsing: Vec<HostId>,
    /// Hosts whose tier would be another.
    changes: Vec<Change>,
    not_judged: Vec<NotJudged>,
    /// By name of the `WorkloadPolicy`; those that would change for no host are left out.
    workloads: BTreeMap<String, WorkloadChange>,
}

#[derive(Debug, Serialize)]
struct Change {
    host: HostId,
    nodes: Vec<String>,
    from: TrustTier,
    to: TrustTier,
    /// Whether its verdict is in force now.
    fresh: bool,
    summary: String,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct NotJudged {
    host: HostId,
    why: String,
}

#[derive(Debug, Default, Serialize)]
struct WorkloadChange {
    /// Hosts on which its pods could run and cannot yet.
    allowed: Vec<HostId>,
    /// Hosts on which they can and could not any more.
    refused: Vec<HostId>,
}

impl Plan {
    /// Refuses what is more than one change may do unasked. `if_meant`: what to do then.
    pub(super) fn check(&self, if_meant: &'static str) -> Result<(), ApplyError> {
        if let Some(starving) = self.starving.first() {
            return Err(ApplyError::WouldStarve {
                workload: starving.workload.clone(),
                falling: starving.falling,
                allowing: starving.allowing,
                if_meant,
            });
        }
        match self.drains {
            true => Err(ApplyError::WouldDrain {
                falling: self.falling,
                affirming: self.affirming,
                if_meant,
            }),
            false => Ok(()),
        }
    }

    fn count(&mut self, breaker: &Breaker) {
        let fall = breaker.fall();
        self.affirming = fall.of;
        self.falling = fall.falling;
        self.starving = breaker.starving();
        self.drains = fall.drains() || !self.starving.is_empty();
    }

    fn add(&mut self, host: &HostId, nodes: Vec<String>, judged: Judged) {
        self.hosts = self.hosts.saturating_add(1);
        let (compared, fresh) = match judged {
            Judged::Compared { compared, fresh } => (*compared, fresh),
            Judged::Not(why) => {
                self.not_judged.push(NotJudged {
                    host: host.clone(),
                    why: why.to_string(),
                });
                return;
            }
        };
        if compared.lapses {
            self.lapsing.push(host.clone());
        }
        for name in compared.allowed {
            self.workloads
                .entry(name)
                .or_default()
                .allowed
                .push(host.clone());
        }
        for name in compared.refused {
            self.workloads
                .entry(name)
                .or_default()
                .refused
                .push(host.clone());
        }
        let (from, to) = (compared.before.tier, compared.after.tier);
        if from == to {
            self.same = self.same.saturating_add(1);
            return;
        }
        self.changes.push(Change {
            host: host.clone(),
            nodes,
            from,
            to,
            fresh,
            summary: prose::summary(&compared.after.findings),
            findings: compared.after.findings,
        });
    }
}

/// What `manifests` would do.
pub(crate) async fn plan(attestor: &Attestor, manifests: String) -> Result<Plan, ApplyError> {
    // It judges the whole fleet: whoever finds so many under way comes again.
    let _turn = attestor.plans.try_acquire().map_err(|_| ApplyError::Busy)?;
    let in_force = attestor.index.policies();
    let new = Arc::new(super::parse_new(manifests, in_force).await??);
    Ok(judge(attestor, &new).await?)
}

/// What `new` would do, in its turn: who applies manifests is not sent away.
pub(super) async fn plan_set(
    attestor: &Attestor,
    new: &Arc<PolicySet>,
) -> Result<Plan, ApplyError> {
    let turn = attestor.plans.acquire().await;
    let _turn = turn.map_err(|_| ApplyError::Busy)?;
    Ok(judge(attestor, new).await?)
}

/// Judges every enrolled host under `new` and under what is in force, one after the other.
async fn judge(attestor: &Attestor, new: &Arc<PolicySet>) -> Result<Plan, StoreError> {
    let old = attestor.index.policies();
    let now = clock::now();
    let mut plan = Plan {
        in_force: (old.digest != PolicySet::empty().digest).then_some(old.digest),
        digest: Some(new.digest),
        ..Plan::default()
    };
    let mut breaker = Breaker::new(&old, new);
    let mut nodes = attestor.index.nodes_by_host();
    let mut after = String::new();
    loop {
        let page = attestor.store.read().await?.kept_rounds(&after).await?;
        let Some(last) = page.last() else { break };
        last.host.as_str().clone_into(&mut after);
        for kept in page {
            let nodes = nodes.remove(&kept.host).unwrap_or_default();
            let judged = add(attestor, &mut breaker, &kept, (&old, new), now).await?;
            plan.add(&kept.host, nodes, judged);
        }
    }
    plan.count(&breaker);
    Ok(plan)
}

/// What comes of one host.
enum Judged {
    Compared {
        compared: Box<Comparison>,
        fresh: bool,
    },
    Not(NotReplayed),
}

async fn add(
    attestor: &Attestor,
    breaker: &mut Breaker,
    kept: &KeptRound,
    (old, new): (&Arc<PolicySet>, &Arc<PolicySet>),
    now: i64,
) -> Result<Judged, StoreError> {
    let verdict = Verdict::read(kept.verdict.as_deref())?;
    let held = Held {
        affirming: verdict
            .as_ref()
            .is_some_and(|verdict| verdict.tier == TrustTier::Affirming),
        fresh: verdict
            .as_ref()
            .is_some_and(|verdict| now < verdict.expires_at),
    };
    let replayed = match replay(attestor, kept, verdict.as_ref(), now).await {
        Ok(replayed) => replayed,
        Err(NotReplayed::Store(error)) => return Err(error),
        Err(why) => {
            breaker.host(held, true);
            return Ok(Judged::Not(why));
        }
    };
    let (old, new) = (Arc::clone(old), Arc::clone(new));
    let (claims, before) = (replayed.claims, replayed.challenged_before);
    let interval = verdict.zip(before);
    let interval = interval.map(|(last, before)| last.challenged_at.saturating_sub(before));
    // Long boot logs take their time.
    let compared =
        tokio::task::spawn_blocking(move || compare(&old, &new, &claims, now, interval)).await;
    let compared = compared.map_err(|_| StoreError::Unavailable)?;
    breaker.host(held, compared.falls());
    breaker.workloads(held, &compared);
    Ok(Judged::Compared {
        compared: Box::new(compared),
        fresh: held.fresh,
    })
}
