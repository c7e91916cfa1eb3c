//! Where an outage stands, told by the rounds of all hosts: steady, down, up again, all fresh again.

use std::time::{Duration, Instant};

use super::agent::Attested;
use crate::tally::{AFFIRMING, Outcome};

/// What a round changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Nothing,
    /// Every host has attested at its interval.
    Steady,
    /// A round got no answer.
    Down,
    /// A round that began after that was affirming.
    Up,
    /// One of every host was.
    AllFresh,
}

/// All hosts, before and after.
pub(crate) struct Watch {
    attested: Seen,
    fresh_again: Seen,
    /// When the first answer failed to come.
    down: Option<Instant>,
    up: Option<Instant>,
    all_fresh: Option<Instant>,
}

/// Which hosts were seen.
struct Seen {
    hosts: Vec<bool>,
    left: usize,
}

impl Watch {
    pub(crate) fn over(hosts: usize) -> Self {
        let none = || Seen {
            hosts: vec![false; hosts],
            left: hosts,
        };
        Self {
            attested: none(),
            fresh_again: none(),
            down: None,
            up: None,
            all_fresh: None,
        }
    }

    /// Takes note of a round.
    pub(crate) fn hear(&mut self, attested: &Attested) -> News {
        match &attested.round.outcome {
            Outcome::Answered { tier, .. } if tier == AFFIRMING => self.affirming(attested),
            Outcome::Lost(_) if self.attested.left == 0 && self.down.is_none() => {
                self.down = Some(attested.ended);
                News::Down
            }
            _ => News::Nothing,
        }
    }

    fn affirming(&mut self, attested: &Attested) -> News {
        let Some(down) = self.down else {
            let news = self.attested.see(attested.number) && self.attested.left == 0;
            return if news { News::Steady } else { News::Nothing };
        };
        // What began before may be from before.
        if attested.began < down || !self.fresh_again.see(attested.number) {
            return News::Nothing;
        }
        let first = self.up.is_none();
        self.up.get_or_insert(attested.ended);
        if self.fresh_again.left == 0 {
            self.all_fresh = Some(attested.ended);
            return News::AllFresh;
        }
        if first { News::Up } else { News::Nothing }
    }

    /// Whether there was an outage yet.
    pub(crate) fn went_down(&self) -> bool {
        self.down.is_some()
    }

    /// From the first answer that failed to come to the first that did.
    pub(crate) fn until_up(&self) -> Option<Duration> {
        Some(self.up?.duration_since(self.down?))
    }

    /// From the first answer that failed to come to an affirming one of every host.
    pub(crate) fn until_all_fresh(&self) -> Option<Duration> {
        Some(self.all_fresh?.duration_since(self.down?))
    }

    /// Hosts without an affirming answer since.
    pub(crate) fn not_fresh(&self) -> usize {
        self.fresh_again.left
    }
}

impl Seen {
    /// True the first time.
    fn see(&mut self, number: usize) -> bool {
        let Some(seen) = self.hosts.get_mut(number) else {
            return false;
        };
        let new = !std::mem::replace(seen, true);
        self.left -= usize::from(new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Round;

    fn round(number: usize, began: Instant, outcome: Outcome) -> Attested {
        let mut round = Round::not_begun(began, began);
        round.outcome = outcome;
        Attested {
            number,
            began,
            ended: began,
            round,
        }
    }

    fn answered(tier: &str) -> Outcome {
        Outcome::Answered {
            tier: tier.to_owned(),
            findings: vec![],
        }
    }

    #[test]
    fn all_are_fresh_again_when_each_attested_after_the_loss() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lost = || Outcome::Lost("refused".to_owned());
        let affirming = || answered(AFFIRMING);
        let mut watch = Watch::over(2);
        // What is lost before all are steady is no outage.
        assert_eq!(watch.hear(&round(0, at(1), lost())), News::Nothing);
        assert_eq!(watch.hear(&round(0, at(2), affirming())), News::Nothing);
        assert_eq!(watch.hear(&round(1, at(3), affirming())), News::Steady);
        assert_eq!(watch.hear(&round(0, at(10), lost())), News::Down);
        assert_eq!(watch.hear(&round(1, at(9), affirming())), News::Nothing);
        assert_eq!(watch.hear(&round(1, at(11), lost())), News::Nothing);
        assert_eq!(
            watch.hear(&round(0, at(12), answered("warning"))),
            News::Nothing
        );
        assert_eq!(watch.hear(&round(0, at(13), affirming())), News::Up);
        assert_eq!(watch.hear(&round(0, at(14), affirming())), News::Nothing);
        assert_eq!((watch.not_fresh(), watch.until_all_fresh()), (1, None));
        assert_eq!(watch.hear(&round(1, at(15), affirming())), News::AllFresh);
        assert_eq!(watch.until_up(), Some(Duration::from_secs(3)));
        assert_eq!(watch.until_all_fresh(), Some(Duration::from_secs(5)));
    }
}
