//! What the attestor last said of each host, and whether that is what is due.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::muster::Fielded;

/// Before the attestor has judged a host.
const NOT_YET: &str = "not yet judged";

/// All hosts, in their order.
pub(super) struct Standing {
    pub(super) hosts: Vec<Stand>,
}

/// One host.
#[derive(Debug, Serialize)]
pub(super) struct Stand {
    pub(super) host: String,
    /// It booted what policy does not know.
    pub(super) broken: bool,
    /// `None`: no verdict yet.
    pub(super) tier: Option<String>,
    /// Whether the verdict has not expired.
    pub(super) fresh: bool,
    /// Why its tier is not better: codes of the findings that follow from no other.
    pub(super) findings: Vec<String>,
}

/// All of it at the end.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    /// Each host has a verdict.
    pub(super) all_judged: bool,
    /// Each is of the tier that is due.
    pub(super) as_expected: bool,
    tiers: BTreeMap<&'a str, usize>,
    hosts: &'a [Stand],
    seconds: f64,
}

#[derive(Deserialize)]
struct Listed {
    hosts: Vec<Shown>,
}

/// What is read of a `HostView`.
#[derive(Deserialize)]
struct Shown {
    host: String,
    tier: String,
    fresh: bool,
    /// Null until the first verdict.
    entry: Option<String>,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    code: String,
    #[serde(default)]
    consequence_of: Option<String>,
}

impl Standing {
    /// Nothing is known of any.
    pub(super) fn begin(hosts: &[Fielded]) -> Self {
        let stand = |host: &Fielded| Stand::new(&host.name, host.broken);
        Self {
            hosts: hosts.iter().map(stand).collect(),
        }
    }

    /// Takes over what `host list` says of them. An attestor may have others.
    pub(super) fn learn(&mut self, listed: Value) -> anyhow::Result<()> {
        let listed: Listed = serde_json::from_value(listed)
            .context("the attestor lists hosts in an unknown form")?;
        let mut shown: BTreeMap<String, Shown> = listed
            .hosts
            .into_iter()
            .map(|shown| (shown.host.clone(), shown))
            .collect();
        for stand in &mut self.hosts {
            if let Some(shown) = shown.remove(&stand.host) {
                stand.learn(shown);
            }
        }
        Ok(())
    }

    /// How many hosts there are of each tier.
    pub(super) fn tiers(&self) -> BTreeMap<&str, usize> {
        let mut tiers = BTreeMap::new();
        for stand in &self.hosts {
            *tiers.entry(stand.tier()).or_default() += 1;
        }
        tiers
    }

    pub(super) fn report(&self, took: Duration) -> Report<'_> {
        Report {
            all_judged: self.hosts.iter().all(|stand| stand.tier.is_some()),
            as_expected: self.hosts.iter().all(Stand::is_due),
            tiers: self.tiers(),
            hosts: &self.hosts,
            seconds: took.as_secs_f64(),
        }
    }
}

impl Stand {
    fn new(host: &str, broken: bool) -> Self {
        Self {
            host: host.to_owned(),
            broken,
            tier: None,
            fresh: false,
            findings: Vec::new(),
        }
    }

    fn learn(&mut self, shown: Shown) {
        self.tier = shown.entry.map(|_| shown.tier);
        self.fresh = shown.fresh;
        let causes = shown.findings.into_iter();
        let mut causes: Vec<String> = causes
            .filter(|finding| finding.consequence_of.is_none())
            .map(|finding| finding.code)
            .collect();
        causes.dedup();
        self.findings = causes;
    }

    /// As it is shown.
    pub(super) fn tier(&self) -> &str {
        self.tier.as_deref().unwrap_or(NOT_YET)
    }

    fn is_due(&self) -> bool {
        let due = match self.broken {
            true => "contraindicated",
            false => "affirming",
        };
        self.tier() == due
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(host: &str, tier: &str, entry: Option<&str>, findings: &Value) -> Value {
        json!({ "host": host, "tier": tier, "fresh": true, "entry": entry, "findings": findings, "nodes": [] })
    }

    #[test]
    fn a_host_counts_once_it_is_judged_and_only_causes_are_told() {
        let mut standing = Standing {
            hosts: vec![Stand::new("one", true), Stand::new("two", false)],
        };
        let findings = json!([
            { "code": "kernel-command-line-changed", "subject": "" },
            { "code": "pcr-value-unknown", "consequence_of": "kernel-command-line-changed" },
        ]);
        let first = json!({ "hosts": [
            shown("stranger", "affirming", Some("ab"), &json!([])),
            shown("one", "contraindicated", Some("cd"), &findings),
            shown("two", "none", None, &json!([])),
        ]});
        standing.learn(first).unwrap();
        assert_eq!(standing.hosts[0].findings, ["kernel-command-line-changed"]);
        assert_eq!(
            standing.tiers(),
            BTreeMap::from([("contraindicated", 1), (NOT_YET, 1)])
        );
        assert!(!standing.report(Duration::ZERO).all_judged);
        let second = json!({ "hosts": [shown("two", "affirming", Some("ef"), &json!([]))] });
        standing.learn(second).unwrap();
        let report = standing.report(Duration::ZERO);
        assert!(report.all_judged && report.as_expected);
        // A broken host that passes is not as expected.
        standing.hosts[0].tier = Some("affirming".to_owned());
        assert!(!standing.report(Duration::ZERO).as_expected);
    }
}
