//! What came of the rounds of a phase, counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::latency::{Latencies, Latency};

/// The tier of a host that may be used.
pub(crate) const AFFIRMING: &str = "affirming";

/// What came of one round.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Appraised.
    Answered { tier: String, findings: Vec<String> },
    /// Refused with this code.
    Refused(String),
    /// No answer, for this reason.
    Lost(String),
    /// The run ended before its turn came: others before it had taken too long.
    NotBegun,
}

/// One round.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    /// From when it was due until its answer was there.
    pub(crate) latency: Duration,
    /// Bytes of evidence and of the answer, without HTTP and TLS.
    pub(crate) sent: usize,
    pub(crate) answered: usize,
    /// Whether a challenge had to be asked for.
    pub(crate) asked: bool,
    /// When to come again, where it was refused with such words.
    pub(crate) retry_after: Option<Duration>,
}

impl Round {
    /// One whose turn did not come.
    pub(crate) fn not_begun(due: Instant, now: Instant) -> Self {
        Self {
            outcome: Outcome::NotBegun,
            latency: now.saturating_duration_since(due),
            sent: 0,
            answered: 0,
            asked: false,
            retry_after: None,
        }
    }
}

/// All rounds of a phase.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of every round that was due and not lost.
    latencies: Latencies,
    due: u64,
    pub(crate) tiers: BTreeMap<String, u64>,
    pub(crate) findings: BTreeMap<String, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) not_begun: u64,
    pub(crate) challenges_asked: u64,
    sent: usize,
    answered: usize,
}

impl Tally {
    /// Counts one round.
    pub(crate) fn add(&mut self, round: Round) {
        self.due += 1;
        // A connection that is refused at once is not a quick answer.
        if !matches!(round.outcome, Outcome::Lost(_)) {
            self.latencies.add(round.latency);
        }
        self.challenges_asked += u64::from(round.asked);
        match round.outcome {
            Outcome::Answered { tier, findings } => {
                self.sent += round.sent;
                self.answered += round.answered;
                *self.tiers.entry(tier).or_default() += 1;
                for code in findings {
                    *self.findings.entry(code).or_default() += 1;
                }
            }
            Outcome::Refused(code) => *self.refusals.entry(code).or_default() += 1,
            Outcome::Lost(why) => *self.lost.entry(why).or_default() += 1,
            Outcome::NotBegun => self.not_begun += 1,
        }
    }

    /// Rounds that were due.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Rounds that were appraised.
    pub(crate) fn rounds(&self) -> u64 {
        self.tiers.values().sum()
    }

    /// Rounds of hosts that may be used.
    pub(crate) fn affirming(&self) -> u64 {
        self.tiers.get(AFFIRMING).copied().unwrap_or_default()
    }

    /// Latencies of all that were answered, and of those never begun, which took at least as long; `None` where
    /// there were none.
    pub(crate) fn latency(&mut self) -> Option<Latency> {
        self.latencies.percentiles()
    }

    /// Bytes of a round's evidence and of its answer, on average over the rounds that were appraised.
    pub(crate) fn bytes(&self) -> Option<(u64, u64)> {
        let rounds = self.rounds();
        let mean = |bytes: usize| (bytes as u64).checked_div(rounds);
        Some((mean(self.sent)?, mean(self.answered)?))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    fn round(outcome: Outcome, milliseconds: u64) -> Round {
        Round {
            outcome,
            latency: Duration::from_millis(milliseconds),
            sent: 10,
            answered: 4,
            asked: false,
            retry_after: None,
        }
    }

    fn affirming() -> Outcome {
        Outcome::Answered {
            tier: AFFIRMING.to_owned(),
            findings: vec![],
        }
    }

    #[test]
    fn bytes_are_those_of_a_round() {
        let mut tally = Tally::default();
        assert_eq!(tally.bytes(), None);
        for _ in 0..3 {
            tally.add(round(affirming(), 1));
        }
        assert_eq!(tally.bytes(), Some((10, 4)));
    }

    #[test]
    fn what_is_due_is_counted_once_whatever_came_of_it() {
        let mut tally = Tally::default();
        tally.add(round(affirming(), 1));
        tally.add(round(Outcome::Refused("quote-not-newer".to_owned()), 1));
        tally.add(round(Outcome::Lost("silence".to_owned()), 1));
        let now = Instant::now();
        tally.add(Round::not_begun(now, now + Duration::from_secs(9)));
        assert_eq!((tally.due(), tally.rounds(), tally.not_begun), (4, 1, 1));
        assert_eq!(tally.refusals["quote-not-newer"], 1);
        assert_eq!(tally.lost["silence"], 1);
        assert_eq!(tally.latencies.count(), 3);
        assert_eq!(tally.latency().unwrap().max, 9000.0);
    }
}
