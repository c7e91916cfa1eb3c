//! What is due for each host, and each cell in which the outcome differs from it.

use serde::Serialize;
use touchstone_tpm_sim::profile::Profile;

use super::row::Row;

/// The code of the finding that names a changed command line.
const COMMAND_LINE: &str = "kernel-command-line-changed";

/// What must come out for one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) country: &'static str,
    pub(super) tier: &'static str,
    /// Admitted where a known-good boot is all that is demanded.
    pub(super) boot_admits: bool,
    /// Admitted where it must stand in Germany as well.
    pub(super) place_admits: bool,
    pub(super) why: Why,
}

/// The reason that must be given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// None: there is nothing against the host.
    Nothing,
    /// It stands outside of this region.
    Region(&'static str),
    /// Its kernel command line is that of `seen` where that of `expected` (names of profiles) is known
    /// to be good, and whatever else differs follows from that.
    CommandLine {
        expected: &'static str,
        seen: &'static str,
    },
}

impl Why {
    /// Words of a refusal that gives this reason; empty: there is nothing to refuse for.
    pub(super) fn refusal(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Region(region) => outside(region),
            Self::CommandLine { .. } => "kernel command line changed".to_owned(),
        }
    }
}

fn outside(region: &str) -> String {
    format!("outside the region `{region}`")
}

/// A cell that is not as it should be.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Mismatch {
    pub(super) host: String,
    pub(super) cell: &'static str,
    pub(super) expected: String,
    pub(super) seen: String,
}

/// Every cell of `row` that differs from what is due.
pub(super) fn mismatches(due: &Due, row: &Row) -> Vec<Mismatch> {
    let country = row.host.place.as_ref().map(|place| place.country.as_str());
    let cells = [
        (
            "place",
            due.country.to_owned(),
            country.unwrap_or("nowhere").to_owned(),
        ),
        ("tier", due.tier.to_owned(), row.host.tier.clone()),
        (
            "pod (boot demanded)",
            admission(due.boot_admits),
            admission(row.boot_only.admitted),
        ),
        (
            "pod (boot and place demanded)",
            admission(due.place_admits),
            admission(row.boot_and_place.admitted),
        ),
    ];
    let mut mismatches: Vec<Mismatch> = cells
        .into_iter()
        .filter(|(_, expected, seen)| expected != seen)
        .map(|(cell, expected, seen)| Mismatch {
            host: row.host.host.clone(),
            cell,
            expected,
            seen,
        })
        .collect();
    if let Some(expected) = missing_reason(&due.why, row) {
        mismatches.push(Mismatch {
            host: row.host.host.clone(),
            cell: "why",
            expected,
            seen: row.why(),
        });
    }
    mismatches
}

/// As the table says it.
pub(super) fn admission(admitted: bool) -> String {
    match admitted {
        true => "admitted".to_owned(),
        false => "refused".to_owned(),
    }
}

/// What reason should have been given, unless it was.
fn missing_reason(why: &Why, row: &Row) -> Option<String> {
    let message = row.boot_and_place.message.as_deref();
    let findings = &row.host.findings;
    let (given, reason) = match why {
        Why::Nothing => (
            findings.is_empty() && message.is_none(),
            "no findings".to_owned(),
        ),
        Why::Region(region) => {
            let words = outside(region);
            let said = message.is_some_and(|message| message.contains(&words));
            (findings.is_empty() && said, words)
        }
        Why::CommandLine { expected, seen } => {
            let [expected, seen] = [expected, seen]
                .map(|name| Profile::named(name).and_then(Profile::kernel_command_line));
            let lines = expected.zip(seen);
            (
                lines
                    .as_ref()
                    .is_some_and(|(expected, seen)| explained(row, expected, seen)),
                lines.map_or_else(String::new, |(expected, seen)| {
                    format!("the kernel command line as the only cause, expected `{expected}`, seen `{seen}`")
                }),
            )
        }
    };
    (!given).then_some(reason)
}

/// Whether the changed command line is the only cause, and has consequences.
fn explained(row: &Row, expected: &str, seen: &str) -> bool {
    let causes: Vec<_> = row.host.causes().collect();
    let [cause] = causes.as_slice() else {
        return false;
    };
    let consequences = row.host.consequences(COMMAND_LINE).count();
    cause.code == COMMAND_LINE
        && cause.expected.as_deref() == Some(expected)
        && cause.observed.as_deref() == Some(seen)
        && consequences > 0
        && consequences + causes.len() == row.host.findings.len()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::demo::fleet::plans;
    use crate::demo::row::HostView;
    use crate::demo::webhook::Decision;

    fn line(profile: &str) -> String {
        Profile::named(profile)
            .unwrap()
            .kernel_command_line()
            .unwrap()
    }

    fn row(tier: &str, findings: &[Value], message: Option<&str>) -> Row {
        let host = json!({
            "host": "h", "nodes": [], "tier": tier, "vector": {}, "findings": findings, "entry": null,
            "place": { "country": "DE", "site": "x" },
        });
        let decision = Decision {
            admitted: message.is_none(),
            message: message.map(str::to_owned),
            entry: None,
        };
        Row {
            host: HostView::read(host).unwrap(),
            boot_only: decision.clone(),
            boot_and_place: decision,
        }
    }

    fn command_line() -> Value {
        json!({
            "code": COMMAND_LINE, "sentence": "it changed",
            "expected": line("shim_sb"), "observed": line("shim_sb_evil"),
        })
    }

    fn event(cause: Option<&str>) -> Value {
        json!({
            "code": "boot-event-changed", "subject": "event 4 (PCR 8)", "sentence": "event 4 differs",
            "consequence_of": cause,
        })
    }

    fn cells(due: &Due, row: &Row) -> Vec<&'static str> {
        mismatches(due, row)
            .iter()
            .map(|mismatch| mismatch.cell)
            .collect()
    }

    #[test]
    fn each_cell_is_compared() {
        let [good, abroad, altered] = plans(false).map(|plan| plan.due);
        let admitted = row("affirming", &[], None);
        assert_eq!(cells(&good, &admitted), [""; 0]);
        assert_eq!(
            cells(&abroad, &admitted),
            ["place", "pod (boot and place demanded)", "why"]
        );
        assert_eq!(
            cells(&altered, &admitted),
            [
                "tier",
                "pod (boot demanded)",
                "pod (boot and place demanded)",
                "why"
            ]
        );
    }

    #[test]
    fn a_changed_command_line_must_explain_everything() {
        let [_, _, altered] = plans(false).map(|plan| plan.due);
        let tier = "contraindicated";
        let whole = [command_line(), event(Some(COMMAND_LINE))];
        let whole = row(tier, &whole, Some("no"));
        assert_eq!(cells(&altered, &whole), [""; 0]);
        assert_eq!(whole.why(), "it changed\nfollows from it: event 4 (PCR 8)");

        let mut other = command_line();
        other["observed"] = "another".into();
        for findings in [
            vec![command_line()],
            vec![command_line(), event(None)],
            vec![command_line(), event(Some("another"))],
            vec![other, event(Some(COMMAND_LINE))],
            vec![event(Some(COMMAND_LINE))],
        ] {
            assert_eq!(cells(&altered, &row(tier, &findings, Some("no"))), ["why"]);
        }
    }
}
