//! What the server says it spent: `GET /metrics`, Prometheus text, where it has such a route.

use super::operator::Operator;

/// Counter of the seconds of CPU that the server's process took, in user and kernel mode.
const CPU: &str = "process_cpu_seconds_total";
/// Gauge of its resident memory, bytes.
const RESIDENT: &str = "process_resident_memory_bytes";

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
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

fn parse(text: &str) -> Option<Reading> {
    Some(Reading {
        cpu_seconds: value(text, CPU)?,
        // Written as a float by some; no memory comes near 2^53 bytes.
        resident_bytes: value(text, RESIDENT)? as u64,
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
        };
        assert_eq!(reading, Some(expected));
        assert_eq!(parse("process_cpu_seconds_total 1\n"), None);
        assert_eq!(parse(""), None);
    }
}
