//! What other manifests would do to the fleet, on each host's own kept evidence. Nothing is changed by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_policies::manifest::PolicySet;
use touchstone_policies::plan::{Comparison, compare, drains};
use touchstone_policies::prose;

use crate::appraisal::{NotReplayed, Verdict, replay};
use crate::attestor::Attestor;
use crate::clock;
use crate::store::{KeptRound, StoreError};

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
    /// Hosts that are affirming now.
    affirming: usize,
    /// Those of them that would not be any more, or of which nobody can say.
    falling: usize,
    /// Whether that is more than one change may do unasked.
    pub(crate) drains: bool,
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
    /// How many of how many affirming hosts would fall.
    pub(crate) fn fall(&self) -> (usize, usize) {
        (self.falling, self.affirming)
    }

    fn judged(
        &mut self,
        kept: &KeptRound,
        affirming: bool,
        fresh: bool,
        nodes: Vec<String>,
        compared: Comparison,
    ) {
        let host = &kept.host;
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
        let falls = affirming && from == TrustTier::Affirming;
        self.falling = self.falling.saturating_add(usize::from(falls));
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

/// Judges every enrolled host under `new` and under what is in force, one after the other.
pub(crate) async fn plan(attestor: &Attestor, new: &Arc<PolicySet>) -> Result<Plan, StoreError> {
    let old = attestor.index.policies();
    let now = clock::now();
    let mut plan = Plan {
        in_force: (old.digest != PolicySet::empty().digest).then_some(old.digest),
        digest: Some(new.digest),
        ..Plan::default()
    };
    let mut after = String::new();
    loop {
        let page = attestor.store.read().await?.kept_rounds(&after).await?;
        let Some(last) = page.last() else { break };
        last.host.as_str().clone_into(&mut after);
        for kept in page {
            add(attestor, &mut plan, &kept, (&old, new), now).await?;
        }
    }
    plan.drains = drains(plan.affirming, plan.falling);
    Ok(plan)
}

async fn add(
    attestor: &Attestor,
    plan: &mut Plan,
    kept: &KeptRound,
    (old, new): (&Arc<PolicySet>, &Arc<PolicySet>),
    now: i64,
) -> Result<(), StoreError> {
    let verdict = Verdict::read(kept.verdict.as_deref())?;
    let fresh = verdict
        .as_ref()
        .is_some_and(|verdict| now < verdict.expires_at);
    let affirming = fresh && verdict.is_some_and(|verdict| verdict.tier == TrustTier::Affirming);
    plan.hosts = plan.hosts.saturating_add(1);
    plan.affirming = plan.affirming.saturating_add(usize::from(affirming));
    let claims = match replay(attestor, kept, now).await {
        Ok(replayed) => replayed.claims,
        Err(NotReplayed::Store(error)) => return Err(error),
        Err(why) => {
            // Nobody can say that it would stay.
            plan.falling = plan.falling.saturating_add(usize::from(affirming));
            plan.not_judged.push(NotJudged {
                host: kept.host.clone(),
                why: why.to_string(),
            });
            return Ok(());
        }
    };
    let (old, new) = (Arc::clone(old), Arc::clone(new));
    // Long boot logs take their time.
    let compared = tokio::task::spawn_blocking(move || compare(&old, &new, &claims, now)).await;
    let compared = compared.map_err(|_| StoreError::Unavailable)?;
    let nodes = attestor.index.nodes_of(&kept.host);
    plan.judged(kept, affirming, fresh, nodes, compared);
    Ok(())
}
