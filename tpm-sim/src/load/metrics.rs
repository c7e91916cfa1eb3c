//! What the server says it spent: `GET /metrics`, Prometheus text, where it has such a route.

use std::time::Duration;

use super::operator::Operator;

/// Counter of the seconds of CPU that the server's process took, in user and kernel mode.
pub(crate) const CPU: &str = "process_cpu_seconds_total";
/// Gauge of its resident memory, bytes.
pub(crate) const RESIDENT: &str = "process_resident_memory_bytes";

/// Histogram of the changes that one write to the disk made durable: all of them, and the writes.
const GROUPED: &str = "touchstone_commit_group_size_sum";
const GROUPS: &str = "touchstone_commit_group_size_count";

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    grouped: f64,
    groups: f64,
}

/// What the server did from one reading to the next. What is not known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spent {
    pub(crate) cpu: Option<Duration>,
    /// Changes that were written together, on average.
    pub(crate) group_size: Option<f64>,
}

/// Reads them; an error is the reason why there are none, which is no failure of the run.
pub(crate) async fn read(operator: &Operator) -> Result<Reading, String> {
    let answer = operator.text("/metrics").await;
    let answer = answer.map_err(|error| format!("{error:#}"))?;
    if !answer.is_success() {
        return Err(format!("`/metrics` answers with status {}", answer.status));
    }
    let text = String::from_utf8_lossy(&answer.body);
    parse(&text).ok_or_else(|| format!("`/metrics` has no `{CPU}` and `{RESIDENT}`"))
}

/// What the server did between two readings. Of one that was started anew in between nothing is known, since it
/// counts from the beginning.
pub(crate) fn between(before: &Result<Reading, String>, after: &Result<Reading, String>) -> Spent {
    let (Ok(before), Ok(after)) = (before, after) else {
        return Spent::default();
    };
    let cpu = Duration::try_from_secs_f64(after.cpu_seconds - before.cpu_seconds);
    let groups = after.groups - before.groups;
    let group_size = (after.grouped - before.grouped) / groups;
    Spent {
        cpu: cpu.ok(),
        group_size: (groups > 0.0).then_some(group_size),
    }
}

fn parse(text: &str) -> Option<Reading> {
    Some(Reading {
        cpu_seconds: value(text, CPU)?,
        // Written as a float by some; no memory comes near 2^53 bytes.
        resident_bytes: value(text, RESIDENT)? as u64,
        // Absent where nothing was written yet.
        grouped: value(text, GROUPED).unwrap_or_default(),
        groups: value(text, GROUPS).unwrap_or_default(),
    })
}

/// The value of a metric without labels.
fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix(' ')?;
        rest.split_ascii_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_metrics_are_found_among_others() {
        let text = "# HELP process_cpu_seconds_total CPU\n# TYPE process_cpu_seconds_total counter\n\
                    process_cpu_seconds_total_created 9\nprocess_cpu_seconds_total 12.5\n\
                    rounds{tier=\"affirming\"} 3\nprocess_resident_memory_bytes 1.048576e+06 1700000000\n";
        let reading = parse(text);
        let expected = Reading {
            cpu_seconds: 12.5,
            resident_bytes: 1 << 20,
            grouped: 0.0,
            groups: 0.0,
        };
        assert_eq!(reading, Some(expected));
        assert_eq!(parse("process_cpu_seconds_total 1\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn what_was_spent_is_the_difference_and_nothing_is_known_of_a_new_server() {
        let at = |cpu_seconds, grouped, groups| {
            Ok(Reading {
                cpu_seconds,
                resident_bytes: 0,
                grouped,
                groups,
            })
        };
        let spent = between(&at(1.0, 10.0, 5.0), &at(1.5, 40.0, 8.0));
        let expected = Spent {
            cpu: Some(Duration::from_millis(500)),
            group_size: Some(10.0),
        };
        assert_eq!(spent, expected);
        let anew = between(&at(2.0, 10.0, 5.0), &at(0.5, 1.0, 1.0));
        assert_eq!(anew, Spent::default());
        assert_eq!(
            between(&at(1.0, 0.0, 0.0), &Err(String::new())),
            Spent::default()
        );
    }
}
