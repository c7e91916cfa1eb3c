//! A run from its beginning to its report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use touchstone_tpm_sim::profile::Profile;
use touchstone_tpm_sim::software::Maker;

use super::arguments::Arguments;
use super::drive::{self, Driven};
use super::host::{Host, random};
use super::load::Load;
use super::metrics::{self, Reading};
use super::operator::{Credential, Operator};
use super::pool::Pool;
use super::report::{Enrolments, Phase, Report};
use super::wire::{Endpoint, Tls};
use super::{enrol, preparation, progress};

/// What the hosts boot.
const PROFILE: &str = "shim_sb";
/// Most enrolments and first rounds at a time. More would only wait for each other, and time out in the end.
const AT_ONCE: usize = 32;
/// File descriptors besides the hosts' connections.
const OTHER_FILES: u64 = 64;

/// Does all of it.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    allow_connections(arguments.connections())?;
    let credential = Credential::read(arguments.operator()?)?;
    let endpoint = credential.endpoint(arguments.server.as_deref())?;
    let tls =
        Tls::pinned(&credential.ca).context("the CA in the operator's credential is broken")?;
    let operator = Operator::connect(&credential, &endpoint, &tls).await?;
    let profile = Profile::named(PROFILE).context("the recorded boot is gone")?;
    let policy = preparation::ensure_policy(&operator, profile, arguments.policy, arguments.tags);
    let policy_applied = policy.await?;

    let began = Instant::now();
    let hosts = make_hosts(arguments, profile, &operator, &tls).await?;
    let pool = Arc::new(Pool::new(Arc::clone(&endpoint), arguments.connections()));
    let (hosts, enrolments) = enrol_hosts(hosts, &pool, &operator).await?;
    let load = Arc::new(Load::new(pool, hosts, began, arguments.reboot));
    measure(
        arguments,
        &operator,
        &endpoint,
        &load,
        policy_applied,
        enrolments,
    )
    .await
}

async fn make_hosts(
    arguments: &Arguments,
    profile: &Profile,
    operator: &Operator,
    tls: &Tls,
) -> anyhow::Result<Vec<Host>> {
    let run = hex::encode(random::<4>()?);
    let maker = Maker::create(&format!("touchstone load {run}"))?;
    preparation::import_root(operator, maker.pem()).await?;
    let count = arguments.hosts() as u64;
    let bar = progress::bar("making hosts", count);
    let hosts = enrol::make(arguments, &run, profile, &maker, tls, &bar)?;
    bar.finish_and_clear();
    preparation::import_machines(operator, &hosts).await?;
    if arguments.tags {
        let bar = progress::bar("issuing location tags", count);
        preparation::issue_tags(operator, &hosts, &bar).await?;
        bar.finish_and_clear();
    }
    Ok(hosts)
}

async fn enrol_hosts(
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
    let cpu = cpu_between(&before, &after);
    let enrolments = Enrolments::new(hosts.len() as u64, took, cpu);
    Ok((hosts, enrolments))
}

async fn measure(
    arguments: &Arguments,
    operator: &Operator,
    endpoint: &Endpoint,
    load: &Arc<Load>,
    policy_applied: bool,
    enrolments: Enrolments,
) -> anyhow::Result<Report> {
    let at_start = metrics::read(operator).await;
    let opened_at_start = load.pool.opened();
    let bar = progress::bar("first rounds", load.hosts() as u64);
    let first = drive::each_once(load, AT_ONCE.min(arguments.connections()), &bar).await;
    bar.finish_and_clear();
    let between = metrics::read(operator).await;
    let opened_between = load.pool.opened();
    let cpu = cpu_between(&at_start, &between);
    let first = Phase::new(first, opened_between - opened_at_start, cpu);

    let (steady, end) = match arguments.duration().is_zero() {
        true => (None, between),
        false => {
            let driven = steady(arguments, load).await;
            let end = metrics::read(operator).await;
            let cpu = cpu_between(&between, &end);
            let opened = load.pool.opened() - opened_between;
            (Some(Phase::new(driven, opened, cpu)), end)
        }
    };
    Ok(Report::new(
        arguments,
        endpoint.url(),
        policy_applied,
        enrolments,
        (first, steady),
        end,
    ))
}

async fn steady(arguments: &Arguments, load: &Arc<Load>) -> Driven {
    let (rate, duration) = (arguments.rate, arguments.duration());
    if rate == 0.0 {
        let bar = progress::bar("rounds", 0);
        let at_once = arguments.connections();
        let driven = drive::as_fast_as_answered(load, at_once, duration, &bar).await;
        bar.finish_and_clear();
        return driven;
    }
    let bar = progress::bar("rounds", (rate * duration.as_secs_f64()) as u64);
    let driven = drive::at_rate(load, rate, duration, &bar).await;
    bar.finish_and_clear();
    driven
}

fn cpu_between(
    before: &Result<Reading, String>,
    after: &Result<Reading, String>,
) -> Option<Duration> {
    let (before, after) = (before.as_ref().ok()?, after.as_ref().ok()?);
    // A server that was started anew in between counts from the beginning.
    Duration::try_from_secs_f64(after.cpu_seconds - before.cpu_seconds).ok()
}

/// Raises the limit of open files as far as this user may.
fn allow_connections(connections: usize) -> anyhow::Result<()> {
    let wanted = connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "{connections} connections need {wanted} open files, and {} are allowed; raise that with `ulimit -Hn`, or give \
         a smaller --connections",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}
