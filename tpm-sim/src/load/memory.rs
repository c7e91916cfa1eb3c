//! What an idle host costs the server in memory: hosts enrol, attest once, and are gone.
//!
//! They come in batches, so that neither side holds more connections at its end than at its beginning.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use indicatif::ProgressBar;
use serde::Serialize;
use touchstone_tpm_sim::software::Maker;

use super::arguments::Memory;
use super::crew::{AT_ONCE, Traits};
use super::enrol::{self, Makings};
use super::host::random;
use super::load::Load;
use super::pool::Pool;
use super::subject::{Subject, allow_connections};
use super::{drive, metrics, preparation, progress};

/// Hosts that are there at a time, each with its connection from its enrolment to its round.
const BATCH: usize = 500;
/// For how long the server is left alone before its memory is read: connections are gone by then, and what was
/// freed is with the allocator or the system.
const SETTLE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    pub(crate) hosts: usize,
    /// After how many memory was read first.
    pub(crate) first: usize,
    pub(crate) first_resident_bytes: u64,
    pub(crate) resident_bytes: u64,
    /// The difference of both, divided by the hosts that came between.
    pub(crate) bytes_each: f64,
    /// For how long the server was left alone before each reading.
    pub(crate) settled_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) hosts_per_second: f64,
}

/// Does it. An error is also that a round was not affirming: such a host may cost less.
pub(crate) async fn run(memory: &Memory) -> anyhow::Result<Report> {
    let (hosts, first) = (memory.target.hosts(), memory.first as usize);
    ensure!(
        first < hosts,
        "--first {first} leaves none of {hosts} hosts to be told apart; raise --hosts, or lower --first"
    );
    allow_connections(BATCH)?;
    let subject = Subject::meet(memory.target.wanted(false)?).await?;
    // Before the work, not after it.
    reading(&subject).await?;
    let run = hex::encode(random::<4>()?);
    let maker = Maker::create(&format!("touchstone load {run}"))?;
    preparation::import_root(&subject.operator, maker.pem()).await?;
    let joining = preparation::join_token(&subject.operator).await?;
    let makings = Makings {
        run: &run,
        recording: &subject.recording,
        maker: &maker,
        tls: &subject.tls,
        traits: Traits::default(),
    };
    let crowd = Crowd {
        subject: &subject,
        makings,
        secret: &joining.token.secret,
        began: Instant::now(),
    };
    let bar = progress::bar("hosts", hosts as u64);
    crowd.grow(0..first, &bar).await?;
    let first_resident_bytes = crowd.settled().await?;
    crowd.grow(first..hosts, &bar).await?;
    let took = crowd.began.elapsed() - SETTLE;
    let resident_bytes = crowd.settled().await?;
    bar.finish_and_clear();
    preparation::revoke(&subject.operator, &joining).await?;
    Ok(Report {
        server: subject.endpoint.url().to_owned(),
        hosts,
        first,
        first_resident_bytes,
        resident_bytes,
        bytes_each: bytes_each(first_resident_bytes, resident_bytes, hosts - first),
        settled_seconds: SETTLE.as_secs_f64(),
        seconds: took.as_secs_f64(),
        hosts_per_second: hosts as f64 / took.as_secs_f64(),
    })
}

struct Crowd<'a> {
    subject: &'a Subject,
    makings: Makings<'a>,
    secret: &'a str,
    began: Instant,
}

impl Crowd<'_> {
    async fn grow(&self, numbers: Range<usize>, bar: &ProgressBar) -> anyhow::Result<()> {
        for from in numbers.clone().step_by(BATCH) {
            let to = numbers.end.min(from + BATCH);
            self.batch(from..to, bar).await?;
        }
        Ok(())
    }

    /// From nothing to one affirming round each.
    async fn batch(&self, numbers: Range<usize>, bar: &ProgressBar) -> anyhow::Result<()> {
        let silent = ProgressBar::hidden();
        let count = numbers.len() as u64;
        let hosts = self.makings.hosts(numbers, &silent)?;
        preparation::import_machines(&self.subject.operator, &hosts).await?;
        let pool = Arc::new(Pool::new(Arc::clone(&self.subject.endpoint), BATCH));
        let enrolled = enrol::enrol(hosts, Arc::clone(&pool), self.secret, AT_ONCE, &silent);
        let load = Arc::new(Load::new(pool, enrolled.await?, self.began, false));
        let tally = drive::each_once(&load, AT_ONCE, bar).await.tally;
        let affirming = tally.affirming();
        ensure!(
            affirming == count,
            "only {affirming} of {count} rounds were affirming: {:?} {:?} {:?} {:?}; see docs/load.md for the policy \
             that the hosts need",
            tally.tiers,
            tally.findings,
            tally.refusals,
            tally.lost
        );
        Ok(())
    }

    /// The server's memory once it has been left alone.
    async fn settled(&self) -> anyhow::Result<u64> {
        tokio::time::sleep(SETTLE).await;
        reading(self.subject).await
    }
}

async fn reading(subject: &Subject) -> anyhow::Result<u64> {
    let reading = metrics::read(&subject.operator).await;
    let reading = reading.map_err(|why| {
        anyhow!(
            "the server's memory is not known: {why}; load one that serves metrics to its operator"
        )
    })?;
    Ok(reading.resident_bytes)
}

/// Memory may also have become less.
fn bytes_each(first: u64, last: u64, hosts: usize) -> f64 {
    (last as f64 - first as f64) / hosts as f64
}

/// For people.
pub(crate) fn text(report: &Report) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "{} hosts with one round each in {:.0} s ({:.0}/s)\n\
         server memory: {:.1} MiB after {} hosts, {:.1} MiB after {}, each read after {} s of rest\n\
         an idle host: {:.0} bytes",
        report.hosts,
        report.seconds,
        report.hosts_per_second,
        mebibytes(report.first_resident_bytes),
        report.first,
        mebibytes(report.resident_bytes),
        report.hosts,
        report.settled_seconds,
        report.bytes_each,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_costs_what_the_later_ones_added() {
        assert_eq!(bytes_each(1 << 20, 3 << 20, 2048), 1024.0);
        assert_eq!(bytes_each(2000, 1000, 10), -100.0);
    }
}
