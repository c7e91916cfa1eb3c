//! Latencies of many events, by percentiles.

use std::time::Duration;

use serde::Serialize;

/// Latencies, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// As they come.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    /// One more.
    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.push(micros);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Their percentiles, by nearest rank; `None` where there are none.
    pub(crate) fn percentiles(&mut self) -> Option<Latency> {
        self.0.sort_unstable();
        let sorted = &self.0;
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map(|micros| *micros as f64 / 1000.0)
        };
        Some(Latency {
            p50: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            max: at(100)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_events_that_took_so_long() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), None);
        for milliseconds in (1..=200).rev() {
            latencies.add(Duration::from_millis(milliseconds));
        }
        let expected = Latency {
            p50: 100.0,
            p90: 180.0,
            p99: 198.0,
            max: 200.0,
        };
        assert_eq!(latencies.percentiles(), Some(expected));
    }
}
