//! What a run found, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::admissions::Found;
use super::arguments::Rounds;
use super::drive::Driven;
use super::latency::Latency;
use super::metrics::{Reading, Spent};
use super::subject::Subject;
use super::tally::AFFIRMING;

/// The whole of it. Without metrics of the server what it spent is null.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    pub(crate) hosts: usize,
    pub(crate) connections: usize,
    /// Rounds a second that were due; 0: as many as are answered.
    pub(crate) rate: f64,
    pub(crate) duration_seconds: f64,
    pub(crate) tags: bool,
    pub(crate) reboot: bool,
    pub(crate) distinct_logs: bool,
    pub(crate) runtime_list: bool,
    pub(crate) boot_log_bytes: usize,
    /// Whether this run put the policy into force; else it found one.
    pub(crate) policy_applied: bool,
    pub(crate) enrolments: Enrolments,
    pub(crate) first: Phase,
    /// `None` where only first rounds were wanted.
    pub(crate) steady: Option<Phase>,
    /// `None` where none were wanted.
    pub(crate) admissions: Option<Found>,
    /// Resident memory of the server at the end.
    pub(crate) server_resident_bytes: Option<u64>,
    /// CPU of this machine for one verification of a P-256 signature, when the run had ended.
    pub(crate) p256_verification_micros: f64,
    /// Why nothing is known of what the server spent.
    pub(crate) metrics_absent: Option<String>,
    /// Every round that was due was answered as affirming.
    pub(crate) all_affirming: bool,
}

/// The enrolments, all of which succeeded.
#[derive(Debug, Serialize)]
pub(crate) struct Enrolments {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) server_cpu_micros_each: Option<f64>,
}

impl Enrolments {
    pub(crate) fn new(count: u64, took: Duration, cpu: Option<Duration>) -> Self {
        Self {
            count,
            seconds: took.as_secs_f64(),
            per_second: count as f64 / took.as_secs_f64(),
            server_cpu_micros_each: cpu.and_then(|cpu| micros_each(cpu, count)),
        }
    }
}

/// One phase of rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    /// Rounds that were due: `rounds`, `refusals`, `lost` and `not_begun` together.
    pub(crate) due: u64,
    /// Rounds that were appraised.
    pub(crate) rounds: u64,
    pub(crate) seconds: f64,
    pub(crate) rounds_per_second: f64,
    pub(crate) latency_milliseconds: Option<Latency>,
    pub(crate) tiers: BTreeMap<String, u64>,
    pub(crate) findings: BTreeMap<String, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) not_begun: u64,
    pub(crate) evidence_bytes_each: Option<u64>,
    pub(crate) answer_bytes_each: Option<u64>,
    pub(crate) connections_opened: u64,
    pub(crate) challenges_asked: u64,
    pub(crate) server_cpu_micros_each: Option<f64>,
    /// Changes that one write to the disk made durable together, on average.
    pub(crate) commit_group_size: Option<f64>,
}

impl Phase {
    pub(crate) fn new(driven: Driven, connections_opened: u64, spent: Spent) -> Self {
        let Driven { mut tally, took } = driven;
        let rounds = tally.rounds();
        let bytes = tally.bytes();
        Self {
            due: tally.due(),
            rounds,
            seconds: took.as_secs_f64(),
            rounds_per_second: rounds as f64 / took.as_secs_f64(),
            latency_milliseconds: tally.latency(),
            evidence_bytes_each: bytes.map(|(sent, _)| sent),
            answer_bytes_each: bytes.map(|(_, answered)| answered),
            connections_opened,
            challenges_asked: tally.challenges_asked,
            server_cpu_micros_each: spent.cpu.and_then(|cpu| micros_each(cpu, rounds)),
            commit_group_size: spent.group_size,
            tiers: tally.tiers,
            findings: tally.findings,
            refusals: tally.refusals,
            lost: tally.lost,
            not_begun: tally.not_begun,
        }
    }

    /// Rounds that ended well.
    pub(crate) fn affirming(&self) -> u64 {
        self.tiers.get(AFFIRMING).copied().unwrap_or_default()
    }

    fn all_affirming(&self) -> bool {
        self.due > 0 && self.affirming() == self.due
    }
}

/// What was measured.
pub(crate) struct Phases {
    pub(crate) enrolments: Enrolments,
    pub(crate) first: Phase,
    pub(crate) steady: Option<Phase>,
    pub(crate) admissions: Option<Found>,
    pub(crate) p256_verification_micros: f64,
}

impl Report {
    pub(crate) fn new(
        rounds: &Rounds,
        subject: &Subject,
        phases: Phases,
        metrics: Result<Reading, String>,
    ) -> Self {
        let Phases {
            enrolments,
            first,
            steady,
            admissions,
            p256_verification_micros,
        } = phases;
        let all_affirming =
            first.all_affirming() && steady.as_ref().is_none_or(Phase::all_affirming);
        Self {
            server: subject.endpoint.url().to_owned(),
            hosts: rounds.target.hosts(),
            connections: rounds.connections(),
            rate: rounds.rate,
            duration_seconds: rounds.duration().as_secs_f64(),
            tags: rounds.tags,
            reboot: rounds.reboot,
            distinct_logs: rounds.distinct_logs,
            runtime_list: rounds.runtime_list,
            boot_log_bytes: subject.recording.boot_log.len(),
            policy_applied: subject.policy_applied,
            enrolments,
            first,
            steady,
            admissions,
            server_resident_bytes: metrics.as_ref().ok().map(|reading| reading.resident_bytes),
            p256_verification_micros,
            metrics_absent: metrics.err(),
            all_affirming,
        }
    }

    /// Whether nothing was refused, lost, late beyond the end, or of another tier, and every pod admitted.
    pub(crate) fn as_it_should_be(&self) -> bool {
        self.all_affirming && self.admissions.as_ref().is_none_or(Found::all_admitted)
    }
}

/// Microseconds of CPU for each of so many.
pub(crate) fn micros_each(cpu: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| cpu.as_secs_f64() * 1e6 / count as f64)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use std::time::Instant;

    use super::super::tally::{Outcome, Round, Tally};
    use super::*;

    fn phase(outcomes: Vec<Outcome>) -> Phase {
        let now = Instant::now();
        let mut tally = Tally::default();
        for outcome in outcomes {
            let mut round = Round::not_begun(now, now);
            round.outcome = outcome;
            tally.add(round);
        }
        let took = Duration::from_secs(2);
        let spent = Spent {
            cpu: Some(Duration::from_millis(1)),
            group_size: None,
        };
        Phase::new(Driven { tally, took }, 0, spent)
    }

    fn tier(tier: &str) -> Outcome {
        Outcome::Answered {
            tier: tier.to_owned(),
            findings: vec![],
        }
    }

    #[test]
    fn only_affirming_answers_to_all_that_was_due_will_do() {
        let good = phase(vec![tier(AFFIRMING), tier(AFFIRMING)]);
        assert!(good.all_affirming());
        assert_eq!(good.rounds_per_second, 1.0);
        assert_eq!(good.server_cpu_micros_each, Some(500.0));
        for bad in [
            tier("warning"),
            Outcome::Refused("quote-not-newer".to_owned()),
            Outcome::Lost("silence".to_owned()),
            Outcome::NotBegun,
        ] {
            let shown = format!("{bad:?}");
            assert!(
                !phase(vec![tier(AFFIRMING), bad]).all_affirming(),
                "{shown}"
            );
        }
        assert!(!phase(vec![]).all_affirming());
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        let none = phase(vec![Outcome::NotBegun]);
        assert_eq!(none.server_cpu_micros_each, None);
        let json = serde_json::to_value(&none).unwrap();
        assert!(json["evidence_bytes_each"].is_null(), "{json}");
    }
}
