//! A rollout: every host pulls an image of several encrypted layers at once, and asks for the key of each.
//!
//! Before it the hosts do as many ordinary rounds in the same way, a challenge and its answer each: what a release costs
//! beyond its appraisal is the difference.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use touchstone_evidence::encoded::Bytes as Encoded;
use touchstone_evidence::wire::{Release, ReleaseRequest, RoundAnswer};

use super::arguments::Releases;
use super::crew::{self, Traits};
use super::host::{Host, random};
use super::latency::{Latencies, Latency};
use super::metrics;
use super::pool::{Lease, Pool};
use super::report::micros_each;
use super::subject::{Subject, allow_connections};
use super::wire::Answer;
use super::{progress, recording, yardstick};

/// Most connections: more hosts than that take turns.
const CONNECTIONS: usize = 1000;

/// What a run found. What is not known is null.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    pub(crate) hosts: usize,
    pub(crate) layers: usize,
    /// Ordinary rounds, each with a challenge asked for.
    pub(crate) rounds: Phase,
    pub(crate) releases: Phase,
    /// Of one release, beyond the appraisal of its round.
    pub(crate) server_cpu_micros_beyond_appraisal: Option<f64>,
    /// CPU of this machine for one verification of a P-256 signature, when the run had ended.
    pub(crate) p256_verification_micros: f64,
}

/// What every host did once for each layer.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) due: u64,
    pub(crate) done: u64,
    /// Why others were not, with how many.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) seconds: f64,
    /// From the asking for a challenge to the answer.
    pub(crate) latency_milliseconds: Option<Latency>,
    pub(crate) server_cpu_micros_each: Option<f64>,
}

impl Report {
    /// Whether nothing failed.
    pub(crate) fn is_whole(&self) -> bool {
        [&self.rounds, &self.releases]
            .iter()
            .all(|phase| phase.due > 0 && phase.done == phase.due)
    }
}

/// A layer as it stands in the image, and what opens it.
struct Layer {
    annotation: Vec<u8>,
    options: Vec<u8>,
}

struct Rollout {
    pool: Arc<Pool>,
    layers: Vec<Layer>,
    began: Instant,
}

/// Does all of it.
pub(crate) async fn run(releases: &Releases) -> anyhow::Result<Report> {
    let hosts = releases.target.hosts();
    allow_connections(CONNECTIONS.min(hosts))?;
    let subject = Subject::meet(releases.target.wanted(false)?).await?;
    let pool = Pool::new(Arc::clone(&subject.endpoint), CONNECTIONS.min(hosts));
    let pool = Arc::new(pool);
    let (crew, _) = crew::muster(&subject, hosts, Traits::default(), &pool).await?;
    let rollout = Arc::new(Rollout {
        pool,
        layers: encrypt(&subject, releases.layers).await?,
        began: Instant::now(),
    });
    let (crew, _) = all(&rollout, &subject, crew, Act::First).await?;
    let (crew, rounds) = all(&rollout, &subject, crew, Act::Round).await?;
    let (_, released) = all(&rollout, &subject, crew, Act::Release).await?;
    let beyond = released
        .server_cpu_micros_each
        .zip(rounds.server_cpu_micros_each);
    Ok(Report {
        server: subject.endpoint.url().to_owned(),
        hosts,
        layers: rollout.layers.len(),
        rounds,
        releases: released,
        server_cpu_micros_beyond_appraisal: beyond.map(|(release, round)| release - round),
        p256_verification_micros: yardstick::p256_verification_micros()?,
    })
}

/// A key, and the layers of an image whose keys are wrapped under it.
async fn encrypt(subject: &Subject, layers: u32) -> anyhow::Result<Vec<Layer>> {
    let key = format!("load-{}", hex::encode(random::<4>()?));
    let body = json!({ "name": key, "policy": recording::WORKLOAD });
    subject.operator.post("/v1/layer-keys", &body).await?;
    let mut wrapped = Vec::new();
    for _ in 0..layers {
        let digest = format!("sha256:{}", hex::encode(random::<32>()?));
        let symmetric = Encoded::<64>(random::<32>()?.to_vec());
        let options = json!({ "symkey": symmetric, "digest": digest, "cipheroptions": {} });
        let options = serde_json::to_vec(&options)?;
        let body = json!({ "options": Encoded::<8192>(options.clone()) });
        let path = format!("/v1/layer-keys/{key}/wrap");
        let answer = subject.operator.post(&path, &body).await?;
        let annotation: Encoded<16384> = serde_json::from_value(answer["annotation"].clone())
            .context("the attestor's answer to a wrapping holds no annotation")?;
        wrapped.push(Layer {
            annotation: annotation.0,
            options,
        });
    }
    Ok(wrapped)
}

/// What a host does for each layer.
#[derive(Clone, Copy)]
enum Act {
    /// Once: the round that brings the boot log.
    First,
    Round,
    Release,
}

/// All hosts at once, each layer after layer.
async fn all(
    rollout: &Arc<Rollout>,
    subject: &Subject,
    crew: Vec<Host>,
    act: Act,
) -> anyhow::Result<(Vec<Host>, Phase)> {
    let times = match act {
        Act::First => 1,
        Act::Round | Act::Release => rollout.layers.len(),
    };
    let due = (crew.len() * times) as u64;
    let words = match act {
        Act::First => "first rounds",
        Act::Round => "rounds",
        Act::Release => "releases",
    };
    let bar = progress::bar(words, due);
    let before = metrics::read(&subject.operator).await;
    let began = Instant::now();
    let mut under_way = JoinSet::new();
    for (number, mut host) in crew.into_iter().enumerate() {
        let (rollout, bar) = (Arc::clone(rollout), bar.clone());
        under_way.spawn(async move {
            let mut outcomes = Vec::with_capacity(times);
            for layer in rollout.layers.iter().take(times) {
                let asked = Instant::now();
                let outcome = rollout.one(&mut host, number, layer, act).await;
                outcomes.push((
                    outcome.map_err(|error| format!("{error:#}")),
                    asked.elapsed(),
                ));
                bar.inc(1);
            }
            (number, host, outcomes)
        });
    }
    let (mut crew, mut failures, mut latencies) =
        (BTreeMap::new(), BTreeMap::new(), Latencies::default());
    while let Some(ended) = under_way.join_next().await {
        let (number, host, outcomes) = ended?;
        crew.insert(number, host);
        for (outcome, latency) in outcomes {
            match outcome {
                Ok(()) => latencies.add(latency),
                Err(why) => *failures.entry(why).or_default() += 1,
            }
        }
    }
    let took = began.elapsed();
    bar.finish_and_clear();
    let spent = metrics::between(&before, &metrics::read(&subject.operator).await);
    let done = latencies.count() as u64;
    let phase = Phase {
        due,
        done,
        failures,
        seconds: took.as_secs_f64(),
        latency_milliseconds: latencies.percentiles(),
        server_cpu_micros_each: spent.cpu.and_then(|cpu: Duration| micros_each(cpu, done)),
    };
    Ok((crew.into_values().collect(), phase))
}

impl Rollout {
    async fn one(
        &self,
        host: &mut Host,
        number: usize,
        layer: &Layer,
        act: Act,
    ) -> anyhow::Result<()> {
        let mut lease = self.pool.lease(number).await?;
        let challenge = post(&mut lease, host, "/v1/challenges", Bytes::new()).await?;
        host.challenge = Some(serde_json::from_slice(&challenge.body)?);
        if !matches!(act, Act::Release) {
            let evidence = host.evidence(self.began.elapsed())?;
            let answer = post(&mut lease, host, "/v1/evidence", evidence.into()).await?;
            let answer: RoundAnswer = serde_json::from_slice(&answer.body)?;
            ensure!(answer.findings.is_empty(), "a round was {}", answer.tier);
            return Ok(());
        }
        let wish: ReleaseRequest = host.wish(self.began.elapsed(), &layer.annotation)?;
        let body = serde_json::to_vec(&wish)?;
        let answer = post(&mut lease, host, "/v1/releases", body.into()).await?;
        let release: Release = serde_json::from_slice(&answer.body)?;
        let opened = host.open(&wish, &release)?;
        ensure!(
            opened[..] == layer.options[..],
            "another layer was released"
        );
        Ok(())
    }
}

async fn post(
    lease: &mut Lease<'_>,
    host: &Host,
    path: &str,
    body: Bytes,
) -> anyhow::Result<Answer> {
    let answer = lease.post(&host.tls, path, None, body).await?;
    ensure!(answer.is_success(), "refused: {}", answer.problem().code());
    Ok(answer)
}

/// The report for a person.
pub(crate) fn text(report: &Report) -> String {
    let known =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    let phase = |what: &str, phase: &Phase| {
        let latency = phase.latency_milliseconds.map_or_else(
            || "-".to_owned(),
            |all| {
                format!(
                    "p50 {:.1}, p99 {:.1}, max {:.1} ms",
                    all.p50, all.p99, all.max
                )
            },
        );
        let failures: Vec<String> = phase
            .failures
            .iter()
            .map(|(why, count)| format!("\n  {count} failed: {why}"))
            .collect();
        format!(
            "{} of {} {what} in {:.1} s; server CPU {} µs each; {latency}{}",
            phase.done,
            phase.due,
            phase.seconds,
            known(phase.server_cpu_micros_each),
            failures.concat(),
        )
    };
    format!(
        "{} hosts pull an image of {} layers from {}\n{}\n{}\n\
         a release beyond its appraisal: server CPU {} µs; a P-256 verification takes {:.0} µs here",
        report.hosts,
        report.layers,
        report.server,
        phase("rounds", &report.rounds),
        phase("releases", &report.releases),
        known(report.server_cpu_micros_beyond_appraisal),
        report.p256_verification_micros,
    )
}
