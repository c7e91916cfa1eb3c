//! The hosts of a run: made, put into the inventory, and enrolled.

use std::sync::Arc;
use std::time::Instant;

use touchstone_tpm_sim::software::Maker;

use super::enrol::{self, Makings};
use super::host::{Host, random};
use super::metrics;
use super::operator::Operator;
use super::pool::Pool;
use super::report::Enrolments;
use super::subject::Subject;
use super::{preparation, progress};

/// Most enrolments and first rounds at a time. More would only wait for each other, and time out in the end.
pub(crate) const AT_ONCE: usize = 32;

/// What sets hosts apart from the simplest ones.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traits {
    /// Each carries a location tag.
    pub(crate) tags: bool,
    /// Their kernels measure.
    pub(crate) runtime_list: bool,
    /// Each has a boot log of its own.
    pub(crate) distinct_logs: bool,
}

/// Makes so many hosts and enrols them over `pool`.
pub(crate) async fn muster(
    subject: &Subject,
    count: usize,
    traits: Traits,
    pool: &Arc<Pool>,
) -> anyhow::Result<(Vec<Host>, Enrolments)> {
    let hosts = make(subject, count, traits).await?;
    enrol_all(hosts, pool, &subject.operator).await
}

async fn make(subject: &Subject, count: usize, traits: Traits) -> anyhow::Result<Vec<Host>> {
    let operator = &subject.operator;
    let run = hex::encode(random::<4>()?);
    let maker = Maker::create(&format!("touchstone load {run}"))?;
    preparation::import_root(operator, maker.pem()).await?;
    let makings = Makings {
        run: &run,
        recording: &subject.recording,
        maker: &maker,
        tls: &subject.tls,
        traits,
    };
    let bar = progress::bar("making hosts", count as u64);
    let hosts = makings.hosts(0..count, &bar)?;
    bar.finish_and_clear();
    preparation::import_machines(operator, &hosts).await?;
    if traits.tags {
        let bar = progress::bar("issuing location tags", count as u64);
        preparation::issue_tags(operator, &hosts, &bar).await?;
        bar.finish_and_clear();
    }
    Ok(hosts)
}

/// With a join token of its own, which is revoked when all are enrolled.
async fn enrol_all(
    hosts: Vec<Host>,
    pool: &Arc<Pool>,
    operator: &Operator,
) -> anyhow::Result<(Vec<Host>, Enrolments)> {
    let joining = preparation::join_token(operator).await?;
    let before = metrics::read(operator).await;
    let bar = progress::bar("enrolling", hosts.len() as u64);
    let began = Instant::now();
    let secret = &joining.token.secret;
    let hosts = enrol::enrol(hosts, Arc::clone(pool), secret, AT_ONCE, &bar).await?;
    let took = began.elapsed();
    bar.finish_and_clear();
    let after = metrics::read(operator).await;
    preparation::revoke(operator, &joining).await?;
    let cpu = metrics::between(&before, &after).cpu;
    let enrolments = Enrolments::new(hosts.len() as u64, took, cpu);
    Ok((hosts, enrolments))
}
