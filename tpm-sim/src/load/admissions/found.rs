//! What came of the bindings, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use touchstone_tpm_sim::review::Decision;

use super::extender::Filtering;
use crate::latency::{Latencies, Latency};
use crate::metrics::Spent;
use crate::report::micros_each;

/// Messages of refusals that are kept: they name hosts, so that no two need be the same.
const EXAMPLES: usize = 3;
/// What a binding may take at the 99th percentile, milliseconds, besides twice what the disk takes.
const BOUND: f64 = 1.0;

/// What came of one binding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Admitted, and written into the audit log.
    Admitted,
    /// Refused, with this message.
    Refused(String),
    /// Admitted without an entry: no policy was for the pod.
    Unwritten,
    /// No answer, for this reason.
    Lost(String),
}

impl Outcome {
    pub(crate) fn of(decision: &Decision) -> Self {
        match (decision.allowed, decision.entry()) {
            (true, Some(_)) => Self::Admitted,
            (true, None) => Self::Unwritten,
            (false, _) => Self::Refused(decision.message().unwrap_or_default().to_owned()),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    latencies: Latencies,
    due: u64,
    admitted: u64,
    refused: u64,
    unwritten: u64,
    examples: Vec<String>,
    lost: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one, with the time from when it was due to its answer.
    pub(crate) fn add(&mut self, outcome: Outcome, latency: Duration) {
        self.due += 1;
        if !matches!(outcome, Outcome::Lost(_)) {
            self.latencies.add(latency);
        }
        match outcome {
            Outcome::Admitted => self.admitted += 1,
            Outcome::Unwritten => self.unwritten += 1,
            Outcome::Lost(why) => *self.lost.entry(why).or_default() += 1,
            Outcome::Refused(message) => {
                self.refused += 1;
                if self.examples.len() < EXAMPLES && !self.examples.contains(&message) {
                    self.examples.push(message);
                }
            }
        }
    }
}

/// Bindings that were only tried: what everything costs but the entry, at the same rate. What is not known is null.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Trials {
    pub(crate) due: u64,
    /// Those that would have been admitted, and wrote nothing.
    pub(crate) allowed: u64,
    pub(crate) latency_milliseconds: Option<Latency>,
    pub(crate) server_cpu_micros_each: Option<f64>,
}

impl Trials {
    pub(crate) fn new(mut tally: Tally, spent: Spent) -> Self {
        let answered = tally.latencies.count() as u64;
        Self {
            due: tally.due,
            allowed: tally.unwritten,
            latency_milliseconds: tally.latencies.percentiles(),
            server_cpu_micros_each: spent.cpu.and_then(|cpu| micros_each(cpu, answered)),
        }
    }
}

/// The phase. What is not known is null.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// Bindings a second that were due.
    pub(crate) rate: f64,
    /// Pods, and what it took to make them known.
    pub(crate) pods: u64,
    pub(crate) creations_per_second: f64,
    pub(crate) server_cpu_micros_each_creation: Option<f64>,
    /// Bindings that were due: `admitted`, `refused`, `unwritten` and `lost` together.
    pub(crate) due: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    /// The first different messages.
    pub(crate) refusals: Vec<String>,
    /// Admitted without an entry in the audit log, as no policy was for the pod.
    pub(crate) unwritten: u64,
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) seconds: f64,
    pub(crate) bindings_per_second: f64,
    pub(crate) latency_milliseconds: Option<Latency>,
    pub(crate) server_cpu_micros_each: Option<f64>,
    /// Decisions that one write to the disk made durable together, on average.
    pub(crate) commit_group_size: Option<f64>,
    /// Of small appends to a file, while the bindings were under way.
    pub(crate) fdatasync_milliseconds: Option<Latency>,
    /// 1 ms and twice the p99 of fdatasync.
    pub(crate) latency_bound_milliseconds: Option<f64>,
    pub(crate) trials: Trials,
    /// The same at a webhook that only parses them: TLS, HTTP and JSON alone.
    pub(crate) parsing: Option<Trials>,
    /// What that cost, divided by what a binding with its entry cost.
    pub(crate) parsing_share: Option<f64>,
    pub(crate) filtering: Option<Filtering>,
}

impl Found {
    /// `creations`: how many, how long they took, and what the server spent.
    pub(crate) fn new(
        rate: f64,
        (pods, creation, creation_cpu): (u64, Duration, Option<Duration>),
        (mut tally, took): (Tally, Duration),
        spent: Spent,
        trials: Trials,
        fdatasync: Option<Latency>,
    ) -> Self {
        let answered = tally.latencies.count() as u64;
        Self {
            rate,
            pods,
            creations_per_second: pods as f64 / creation.as_secs_f64(),
            server_cpu_micros_each_creation: creation_cpu.and_then(|cpu| micros_each(cpu, pods)),
            due: tally.due,
            admitted: tally.admitted,
            refused: tally.refused,
            refusals: tally.examples,
            unwritten: tally.unwritten,
            lost: tally.lost,
            seconds: took.as_secs_f64(),
            bindings_per_second: answered as f64 / took.as_secs_f64(),
            latency_milliseconds: tally.latencies.percentiles(),
            server_cpu_micros_each: spent.cpu.and_then(|cpu| micros_each(cpu, answered)),
            commit_group_size: spent.group_size,
            fdatasync_milliseconds: fdatasync,
            latency_bound_milliseconds: fdatasync.map(|disk| BOUND + 2.0 * disk.p99),
            trials,
            parsing: None,
            parsing_share: None,
            filtering: None,
        }
    }

    /// With what came afterwards.
    pub(crate) fn followed_by(mut self, parsing: Option<Trials>, filtering: Filtering) -> Self {
        let parsed = parsing
            .as_ref()
            .and_then(|parsing| parsing.server_cpu_micros_each);
        self.parsing_share = parsed
            .zip(self.server_cpu_micros_each)
            .map(|(parsed, bound)| parsed / bound);
        self.parsing = parsing;
        self.filtering = Some(filtering);
        self
    }

    /// Whether each was admitted, and written down; and each trial, without; and each that was only parsed, answered.
    pub(crate) fn all_admitted(&self) -> bool {
        let tried = |trials: &Trials| trials.allowed == trials.due;
        self.due > 0
            && self.admitted == self.due
            && tried(&self.trials)
            && self.parsing.as_ref().is_none_or(tried)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    fn spent(cpu: Duration) -> Spent {
        Spent {
            cpu: Some(cpu),
            group_size: None,
        }
    }

    fn found(outcomes: Vec<Outcome>) -> Found {
        let mut tally = Tally::default();
        for outcome in outcomes {
            tally.add(outcome, Duration::from_millis(2));
        }
        let second = Duration::from_secs(1);
        let (creation, bindings) = ((1, second, None), (tally, second));
        Found::new(
            1.0,
            creation,
            bindings,
            spent(second),
            Trials::default(),
            None,
        )
    }

    #[test]
    fn a_trial_that_is_refused_or_written_down_will_not_do() {
        for (outcome, well) in [
            (Outcome::Unwritten, true),
            (Outcome::Admitted, false),
            (Outcome::Refused("no".to_owned()), false),
        ] {
            let mut tally = Tally::default();
            tally.add(outcome, Duration::from_millis(2));
            let mut all = found(vec![Outcome::Admitted]);
            all.trials = Trials::new(tally, spent(Duration::from_secs(1)));
            assert_eq!(all.trials.server_cpu_micros_each, Some(1e6));
            assert_eq!(all.all_admitted(), well);
        }
    }

    #[test]
    fn only_what_was_admitted_and_written_will_do() {
        let admitted = found(vec![Outcome::Admitted]);
        assert!(admitted.all_admitted());
        assert_eq!(admitted.server_cpu_micros_each, Some(1e6));
        for bad in [
            Outcome::Refused("no".to_owned()),
            Outcome::Unwritten,
            Outcome::Lost("silence".to_owned()),
        ] {
            let shown = format!("{bad:?}");
            let found = found(vec![Outcome::Admitted, bad]);
            assert!(!found.all_admitted(), "{shown}");
            let ends = found.admitted + found.refused + found.unwritten;
            assert_eq!(ends + found.lost.values().sum::<u64>(), found.due);
        }
        assert!(!found(vec![]).all_admitted());
    }

    #[test]
    fn the_bound_is_a_millisecond_and_twice_what_the_disk_takes() {
        let disk = Latency {
            p50: 1.0,
            p90: 2.0,
            p99: 4.0,
            max: 9.0,
        };
        let second = Duration::from_secs(1);
        let found = Found::new(
            1.0,
            (1, second, None),
            (Tally::default(), second),
            Spent::default(),
            Trials::default(),
            Some(disk),
        );
        assert_eq!(found.latency_bound_milliseconds.unwrap(), 9.0);
    }
}
