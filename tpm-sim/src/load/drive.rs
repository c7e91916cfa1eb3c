//! When rounds are due, and who does them: as fast as they are answered, or at a rate that waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::load::Load;
use super::pace;
use super::tally::{Round, Tally};

/// How long rounds that were due in time are waited for.
const GRACE: Duration = Duration::from_secs(30);

/// The rounds of a phase, and how long it took to the last answer.
pub(crate) struct Driven {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
}

/// One round of each host, `at_once` of them at a time.
pub(crate) async fn each_once(load: &Arc<Load>, at_once: usize, bar: &ProgressBar) -> Driven {
    let began = Instant::now();
    let (results, rounds) = unbounded_channel();
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..at_once {
        let (load, next, results) = (Arc::clone(load), Arc::clone(&next), results.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= load.hosts() {
                    return;
                }
                let _collected = results.send(load.round(number, Instant::now()).await);
            }
        });
    }
    drop(results);
    collect(rounds, began, bar).await
}

/// Rounds for `duration`, `at_once` hosts at a time, each with its next round as soon as its turn comes.
pub(crate) async fn as_fast_as_answered(
    load: &Arc<Load>,
    at_once: usize,
    duration: Duration,
    bar: &ProgressBar,
) -> Driven {
    let began = Instant::now();
    let (results, rounds) = unbounded_channel();
    let turns = Arc::new(AtomicUsize::new(0));
    for _ in 0..at_once {
        let (load, turns, results) = (Arc::clone(load), Arc::clone(&turns), results.clone());
        tokio::spawn(async move {
            while began.elapsed() < duration {
                let number = turns.fetch_add(1, Ordering::Relaxed) % load.hosts();
                let _collected = results.send(load.round(number, Instant::now()).await);
            }
        });
    }
    drop(results);
    collect(rounds, began, bar).await
}

/// Rounds that are due at `rate` a second for `duration`, host after host. Each is due at its own moment, whatever
/// became of those before; a host that is late has several waiting.
pub(crate) async fn at_rate(
    load: &Arc<Load>,
    rate: f64,
    duration: Duration,
    bar: &ProgressBar,
) -> Driven {
    let began = Instant::now();
    let (results, rounds) = unbounded_channel();
    let (pacer, runtime) = (Arc::clone(load), Handle::current());
    pace::start(began, rate, duration, move |turn, due| {
        let number = turn % pacer.hosts();
        if pacer.enqueue(number, due) {
            runtime.spawn(attend(Arc::clone(&pacer), number, results.clone()));
        }
    });
    let over = tokio::spawn({
        let load = Arc::clone(load);
        async move {
            tokio::time::sleep(duration + GRACE).await;
            load.end();
        }
    });
    let driven = collect(rounds, began, bar).await;
    over.abort();
    driven
}

/// Works off what is due of a host.
async fn attend(load: Arc<Load>, number: usize, results: UnboundedSender<Round>) {
    while let Some(due) = load.dequeue(number) {
        let _collected = results.send(load.round(number, due).await);
    }
}

async fn collect(
    mut rounds: UnboundedReceiver<Round>,
    began: Instant,
    bar: &ProgressBar,
) -> Driven {
    let mut tally = Tally::default();
    while let Some(round) = rounds.recv().await {
        tally.add(round);
        bar.inc(1);
    }
    Driven {
        tally,
        took: began.elapsed(),
    }
}
