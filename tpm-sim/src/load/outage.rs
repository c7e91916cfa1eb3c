//! Hosts attest as agents do, through an outage of the attestor that whoever runs this brings about.

mod agent;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::arguments::Outage;
use super::crew::{self, AT_ONCE, Traits};
use super::load::Load;
use super::pool::Pool;
use super::subject::{Subject, allow_connections};
use super::tally::Tally;
use super::{drive, progress};
use agent::Attested;
use watch::{News, Watch};

/// Intervals within which all should be fresh again.
const INTERVALS: f64 = 2.0;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    pub(crate) hosts: usize,
    pub(crate) interval_seconds: u64,
    /// Rounds of the agents, before, during and after the outage.
    pub(crate) rounds: u64,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) connections_opened: u64,
    /// From the first answer that failed to come to the next that came; null: none did.
    pub(crate) seconds_until_up: Option<f64>,
    /// From there to an affirming answer of every host; null: some had none.
    pub(crate) seconds_until_all_fresh: Option<f64>,
    pub(crate) within_two_intervals: bool,
    /// Hosts without an affirming answer since.
    pub(crate) not_fresh: usize,
}

impl Report {
    /// Whether every host came back.
    pub(crate) fn all_fresh(&self) -> bool {
        self.not_fresh == 0
    }
}

/// Does it.
pub(crate) async fn run(outage: &Outage) -> anyhow::Result<Report> {
    let hosts = outage.target.hosts();
    allow_connections(hosts)?;
    let subject = Subject::meet(outage.target.wanted(false)?).await?;
    let pool = Arc::new(Pool::new(Arc::clone(&subject.endpoint), hosts));
    let began = Instant::now();
    let (crew, _) = crew::muster(&subject, hosts, Traits::default(), &pool).await?;
    let load = Arc::new(Load::new(pool, crew, began, false));
    let bar = progress::bar("first rounds", hosts as u64);
    let first = drive::each_once(&load, AT_ONCE, &bar).await.tally;
    bar.finish_and_clear();
    ensure!(
        first.affirming() == hosts as u64,
        "only {} of {hosts} hosts are affirming before the outage: {:?} {:?}; see docs/load.md for the policy that \
         they need",
        first.affirming(),
        first.findings,
        first.refusals
    );
    let interval = Duration::from_secs(outage.interval.into());
    let patience = Duration::from_secs(outage.patience.into());
    let opened = load.pool.opened();
    let (watch, tally) = attend(&load, interval, patience).await;
    ensure!(
        watch.went_down(),
        "no answer failed to come within {patience:?}; stop the attestor once this says `steady`, or raise --patience"
    );
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let all_fresh = seconds(watch.until_all_fresh());
    Ok(Report {
        server: subject.endpoint.url().to_owned(),
        hosts,
        interval_seconds: interval.as_secs(),
        rounds: tally.rounds(),
        refusals: tally.refusals,
        lost: tally.lost,
        connections_opened: load.pool.opened() - opened,
        seconds_until_up: seconds(watch.until_up()),
        seconds_until_all_fresh: all_fresh,
        within_two_intervals: all_fresh
            .is_some_and(|seconds| seconds <= INTERVALS * interval.as_secs_f64()),
        not_fresh: watch.not_fresh(),
    })
}

/// Lets all hosts live until the outage has passed, or for as long as `patience` lasts.
async fn attend(load: &Arc<Load>, interval: Duration, patience: Duration) -> (Watch, Tally) {
    let (results, rounds) = unbounded_channel();
    // They end with this.
    let mut agents = JoinSet::new();
    for number in 0..load.hosts() {
        agents.spawn(agent::live(
            Arc::clone(load),
            number,
            interval,
            results.clone(),
        ));
    }
    drop(results);
    let mut watch = Watch::over(load.hosts());
    let mut tally = Tally::default();
    let heard = timeout(patience, listen(rounds, &mut watch, &mut tally));
    // What it heard until then counts either way.
    let _in_time = heard.await;
    (watch, tally)
}

async fn listen(mut rounds: UnboundedReceiver<Attested>, watch: &mut Watch, tally: &mut Tally) {
    while let Some(attested) = rounds.recv().await {
        match watch.hear(&attested) {
            News::Nothing => {}
            News::Steady => {
                eprintln!("steady: every host attests; stop the attestor and start it again")
            }
            News::Down => eprintln!("down: no answer"),
            News::Up => eprintln!("up: a host is fresh again"),
            News::AllFresh => {
                tally.add(attested.round);
                return;
            }
        }
        tally.add(attested.round);
    }
}

/// For people.
pub(crate) fn text(report: &Report) -> String {
    let lost: u64 = report.lost.values().sum();
    let refused: u64 = report.refusals.values().sum();
    let seconds = |seconds: Option<f64>| {
        seconds.map_or_else(
            || "never".to_owned(),
            |seconds| format!("after {seconds:.1} s"),
        )
    };
    let mut lines = vec![
        format!(
            "{} hosts, a round each every {} s: {} answered, {lost} without an answer, {refused} refused; {} connections",
            report.hosts, report.interval_seconds, report.rounds, report.connections_opened,
        ),
        format!(
            "the attestor answered again: {}",
            seconds(report.seconds_until_up)
        ),
        format!(
            "every host was fresh again: {}",
            seconds(report.seconds_until_all_fresh)
        ),
    ];
    lines.extend(
        report
            .lost
            .keys()
            .take(3)
            .map(|why| format!("no answer: {why}")),
    );
    lines.push(match (report.not_fresh, report.within_two_intervals) {
        (0, true) => "all within two intervals".to_owned(),
        (0, false) => "NOT within two intervals".to_owned(),
        (left, _) => format!("NOT fresh again: {left} hosts; `touchstone host list` shows them"),
    });
    lines.join("\n")
}
