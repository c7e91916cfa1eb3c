//! Whether a quote goes on where this attestation key's last one ended: one TPM, one clock, one firmware.
//!
//! Not established here: that there is no copy of the TPM. A copy that stays silent shows nowhere; one
//! that speaks shows when it answers a challenge and is behind what the key had said before the challenge
//! was made, which a single TPM cannot be, or when the clock runs unlike time. Copies that speak in turn,
//! their clocks less apart than the time between their rounds, can pass for one; whoever has the owner's
//! authorization of a copy can set its clock forward for that (TPM2_ClockSet, Part 3 §29.2).

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::quote::VerifiedQuote;
use crate::tpm::attest::ClockInfo;

/// Parts of a hundred by which a TPM's clock may run off. TPM 2.0 Part 1 §36.3: within 15 % of real time.
const DRIFT_PERCENT: u64 = 15;
/// Milliseconds beyond that: some TPMs move their clock in steps, and the attestor reads whole seconds.
const SLACK: u64 = 5000;

/// Counters and clock of an AK at a quote, in the order that decides which of two is later.
///
/// In a single TPM they only rise: resetCount is written at each TPM Reset, also after a power cut, and
/// the clock falls only with a new resetCount (Part 1 §36.2). TPM2_Clear sets them back and loses the AK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reading {
    /// TPM Resets.
    pub reset_count: u32,
    /// TPM Restarts and Resumes since the last Reset.
    pub restart_count: u32,
    /// Milliseconds.
    pub clock: u64,
}

impl Reading {
    /// Whether no TPM Reset, Restart or Resume lies between the two.
    #[must_use]
    pub fn same_boot(&self, other: &Self) -> bool {
        (self.reset_count, self.restart_count) == (other.reset_count, other.restart_count)
    }
}

impl From<ClockInfo> for Reading {
    fn from(info: ClockInfo) -> Self {
        Self {
            reset_count: info.reset_count,
            restart_count: info.restart_count,
            clock: info.clock,
        }
    }
}

/// Seconds since 1970 between which a quote was made: the challenge was made, the answer was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When its challenge was made.
    pub challenged_at: i64,
    /// When the evidence was there.
    pub received_at: i64,
}

/// What the attestor remembers of this AK.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// The firmware version that is accepted; `None` before the first round.
    pub firmware_version: Option<u64>,
    /// The last accepted quote, and when it was made.
    pub last: Option<(Reading, Option<Window>)>,
    /// What the AK had said when the challenge was made: the answer cannot be behind it.
    pub floor: Option<Reading>,
    /// Whether a copy of the TPM spoke since the AK was enrolled: a reboot makes no two TPMs one.
    pub copied: bool,
}

/// A quote that goes on where the last one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuity {
    reading: Reading,
}

/// Why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContinuityError {
    /// The answer to a challenge is behind what the AK said before the challenge was made.
    #[error("the quote is older than one that this key made before the challenge")]
    Behind {
        /// What it said before.
        floor: Reading,
        /// What it says now.
        seen: Reading,
    },
    /// A copy spoke before.
    #[error("two TPMs answered with this key")]
    Copied,
    /// Another version than the accepted one.
    #[error("the firmware version is {seen:#x} and {accepted:#x} is accepted")]
    Firmware {
        /// As accepted.
        accepted: u64,
        /// As quoted.
        seen: u64,
    },
    /// The clock advanced unlike time.
    #[error("the clock advanced by {advanced} ms in {least} to {most} ms")]
    Drift {
        /// Since the last accepted quote.
        advanced: u64,
        /// The least that it may have, tolerance included.
        least: u64,
        /// The most.
        most: u64,
    },
}

impl ContinuityError {
    /// The error as a finding.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Behind { floor, seen } => Finding::new("tpm-cloned")
                .expected(format_args!("later than {floor}"))
                .observed(seen),
            Self::Copied => Finding::new("tpm-cloned").observed("an earlier round"),
            Self::Firmware { accepted, seen } => Finding::new("firmware-version-changed")
                .expected(format_args!("{accepted:#x}"))
                .observed(format_args!("{seen:#x}")),
            Self::Drift {
                advanced,
                least,
                most,
            } => Finding::new("tpm-clock-drift")
                .expected(format_args!("{least} to {most} ms"))
                .observed(format_args!("{advanced} ms")),
        }
    }
}

impl std::fmt::Display for Reading {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            reset_count,
            restart_count,
            clock,
        } = self;
        write!(
            out,
            "boot {reset_count}, restart {restart_count}, {clock} ms"
        )
    }
}

impl Continuity {
    /// Compares `quote`, made in `window`, with what is remembered. Whether it is *newer* than the last
    /// accepted one is for the transaction that accepts it to say.
    pub fn verify(
        quote: &VerifiedQuote,
        window: Window,
        history: &History,
    ) -> Result<Self, ContinuityError> {
        let seen = Reading::from(quote.clock());
        if let Some(floor) = history.floor.filter(|floor| seen < *floor) {
            return Err(ContinuityError::Behind { floor, seen });
        }
        if history.copied {
            return Err(ContinuityError::Copied);
        }
        let version = quote.firmware_version();
        if let Some(accepted) = history.firmware_version.filter(|known| *known != version) {
            return Err(ContinuityError::Firmware {
                accepted,
                seen: version,
            });
        }
        let last = history.last.filter(|(last, _)| last.same_boot(&seen));
        if let Some((last, Some(before))) = last {
            keeps_time(last.clock, before, seen.clock, window)?;
        }
        Ok(Self { reading: seen })
    }

    /// Counters and clock of the quote.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading
    }
}

/// Each quote was made at some moment of its window, so only more than the longest time between them, or
/// less than the shortest, is proof of another clock.
fn keeps_time(
    clock: u64,
    before: Window,
    later_clock: u64,
    window: Window,
) -> Result<(), ContinuityError> {
    // A second is read without its fraction: the earlier moment may have been later by almost one.
    let shortest = window
        .challenged_at
        .saturating_sub(before.received_at)
        .saturating_sub(1);
    let longest = window
        .received_at
        .saturating_sub(before.challenged_at)
        .saturating_add(1);
    let percent = |seconds: i64, percent: u64| {
        u64::try_from(seconds)
            .unwrap_or_default()
            .saturating_mul(10)
            .saturating_mul(percent)
    };
    let least = percent(shortest, 100u64.saturating_sub(DRIFT_PERCENT)).saturating_sub(SLACK);
    let most = percent(longest, 100u64.saturating_add(DRIFT_PERCENT)).saturating_add(SLACK);
    // A clock that fell is an older quote, which is not accepted anyway.
    let advanced = later_clock.saturating_sub(clock);
    match (least..=most).contains(&advanced) {
        true => Ok(()),
        false => Err(ContinuityError::Drift {
            advanced,
            least,
            most,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;
    use crate::pcr::{PcrSelection, PcrValues};
    use crate::quote::Authentic;
    use crate::tpm::software::{SoftwareTpm, Statement};

    /// A quote of boot 5, restart 2, with the clock at 1 000 ms and firmware 7, but for `change`.
    fn quote(change: impl Fn(&mut Statement)) -> VerifiedQuote {
        let (tpm, round) = (SoftwareTpm::new(), Sha256Digest::of(b"round"));
        let values = PcrValues([(0, Sha256Digest::ZERO)].into());
        let mut statement = tpm.quote(&round, &values);
        change(&mut statement);
        let statement = Authentic::verify(&tpm.sign(&statement), &tpm.ak, &round).unwrap();
        let selection = PcrSelection::try_from(vec![0]).unwrap();
        VerifiedQuote::verify(&statement, selection, values).unwrap()
    }

    fn reading(reset_count: u32, restart_count: u32, clock: u64) -> Reading {
        Reading {
            reset_count,
            restart_count,
            clock,
        }
    }

    fn window(challenged_at: i64, received_at: i64) -> Window {
        Window {
            challenged_at,
            received_at,
        }
    }

    fn history(last: Reading) -> History {
        History {
            firmware_version: Some(7),
            last: Some((last, Some(window(100, 110)))),
            floor: None,
            copied: false,
        }
    }

    #[test]
    fn the_answer_to_a_challenge_is_not_behind_what_was_said_before_it() {
        let seen = quote(|_| ());
        let verify = |floor| {
            let history = History {
                floor: Some(floor),
                ..history(reading(5, 2, 0))
            };
            Continuity::verify(&seen, window(110, 111), &history).map(|proof| proof.reading())
        };
        let now = reading(5, 2, 1000);
        // The same millisecond is nobody's fault.
        for before in [
            now,
            reading(5, 2, 999),
            reading(5, 1, 9000),
            reading(4, 9, 9000),
        ] {
            assert_eq!(verify(before), Ok(now));
        }
        for ahead in [reading(5, 2, 1001), reading(5, 3, 0), reading(6, 0, 0)] {
            let error = verify(ahead).unwrap_err();
            assert_eq!(
                error,
                ContinuityError::Behind {
                    floor: ahead,
                    seen: now
                }
            );
            assert_eq!(error.finding().code, "tpm-cloned");
        }
    }

    #[test]
    fn a_key_with_which_a_copy_spoke_stays_suspect_through_all_boots() {
        let copied = |last| {
            let history = History {
                copied: true,
                ..history(last)
            };
            Continuity::verify(&quote(|_| ()), window(110, 111), &history).map(drop)
        };
        for last in [reading(5, 2, 0), reading(5, 1, 0), reading(4, 2, 0)] {
            assert_eq!(copied(last), Err(ContinuityError::Copied));
        }
    }

    #[test]
    fn another_firmware_is_for_an_operator_to_accept() {
        let newer = quote(|statement| statement.firmware = 8);
        let verify = |firmware_version| {
            let history = History {
                firmware_version,
                ..history(reading(4, 0, 0))
            };
            Continuity::verify(&newer, window(110, 111), &history)
        };
        let changed = verify(Some(7)).unwrap_err().finding();
        assert_eq!(changed.code, "firmware-version-changed");
        assert_eq!(changed.expected.as_deref(), Some("0x7"));
        assert_eq!(changed.observed.as_deref(), Some("0x8"));
        assert!(verify(Some(8)).is_ok());
        assert!(verify(None).is_ok(), "the first round says which it is");
    }

    #[test]
    fn the_clock_runs_like_time() {
        // The last quote: clock 0, made between 100 and 110.
        let advance = |clock: u64, challenged_at, received_at| {
            let quote = quote(|statement| statement.clock.clock = clock);
            let history = history(reading(5, 2, 0));
            Continuity::verify(&quote, window(challenged_at, received_at), &history).map(drop)
        };
        let drift = |advanced, least, most| {
            Err(ContinuityError::Drift {
                advanced,
                least,
                most,
            })
        };
        // At least 1095 - 110 - 1 seconds later, at most 1220 - 100 + 1.
        let (least, most) = (984 * 850 - 5000, 1121 * 1150 + 5000);
        for right in [least, 1_000_000, most] {
            assert_eq!(advance(right, 1095, 1220), Ok(()), "{right}");
        }
        for wrong in [0, least - 1, most + 1, u64::MAX] {
            assert_eq!(advance(wrong, 1095, 1220), drift(wrong, least, most));
        }
        // A challenge that the last answer brought says nothing about the least.
        assert_eq!(advance(0, 110, 400), Ok(()));
        // Another boot starts another clock.
        let (other, far) = (quote(|_| ()), window(1_000_000, 1_000_001));
        for last in [reading(5, 1, 900), reading(4, 2, 900)] {
            assert!(Continuity::verify(&other, far, &history(last)).is_ok());
        }
        // Times that are no times cannot break it.
        let odd = advance(1000, i64::MIN, i64::MAX);
        assert_eq!(odd, Ok(()));
    }
}
