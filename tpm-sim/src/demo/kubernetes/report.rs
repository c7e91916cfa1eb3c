//! How it looks: a table of the nodes, one of the pods, and each cell that is not as it should be; or JSON.

use std::io::{self, Write as _};

use serde::Serialize;
use touchstone_tpm_sim::six_nodes::Six;

use super::asks::{Ask, Landing};
use crate::demo::expectation::Mismatch;
use crate::demo::progress::StageTime;
use crate::demo::report::{empty_table, print_end};
use crate::demo::row::HostView;

/// Everything that came of it.
#[derive(Serialize)]
pub(in crate::demo) struct Report {
    /// Whether a real control plane placed the pods.
    live: bool,
    /// The same in words, with its version.
    mode: String,
    pub(in crate::demo) as_expected: bool,
    mismatches: Vec<Mismatch>,
    nodes: Vec<Node>,
    pods: Vec<Row>,
    stages: Vec<StageTime>,
    seconds: f64,
}

/// A node, and what the attestor shows of the host behind it.
#[derive(Serialize)]
struct Node {
    node: String,
    about: &'static str,
    #[serde(skip)]
    due: &'static str,
    #[serde(flatten)]
    host: HostView,
}

/// A pod that was asked for.
#[derive(Serialize)]
pub(super) struct Row {
    pod: String,
    asked_for: String,
    way: &'static str,
    #[serde(flatten)]
    landing: Landing,
    #[serde(skip)]
    due: Option<&'static str>,
}

impl Row {
    pub(super) fn new(ask: &Ask, landing: Landing) -> Self {
        Self {
            pod: ask.pod(),
            asked_for: ask.six.node(),
            way: ask.way.words(),
            landing,
            due: ask.due,
        }
    }

    fn mismatch(&self) -> Option<Mismatch> {
        let (expected, good) = match self.due {
            None => (
                format!("on {}", self.asked_for),
                self.landing.node.as_deref() == Some(&*self.asked_for),
            ),
            Some(words) => {
                let said = self.landing.why.as_deref().unwrap_or_default();
                let refused = self.landing.node.is_none() && said.contains(words);
                (format!("not placed: {words}"), refused)
            }
        };
        (!good).then(|| Mismatch {
            host: self.pod.clone(),
            cell: "node",
            expected,
            seen: self.landing.in_short(),
        })
    }
}

impl Node {
    fn mismatch(&self) -> Option<Mismatch> {
        (self.host.tier != self.due).then(|| Mismatch {
            host: self.node.clone(),
            cell: "tier",
            expected: self.due.to_owned(),
            seen: self.host.tier.clone(),
        })
    }
}

impl Report {
    pub(super) fn new(
        (live, mode): (bool, String),
        pods: Vec<Row>,
        hosts: Vec<(Six, HostView)>,
        stages: Vec<StageTime>,
        seconds: f64,
    ) -> Self {
        let nodes = hosts.into_iter().map(|(six, host)| Node {
            node: six.node(),
            about: six.about,
            due: six.tier,
            host,
        });
        let nodes: Vec<Node> = nodes.collect();
        let of_nodes = nodes.iter().filter_map(Node::mismatch);
        let mismatches: Vec<_> = of_nodes
            .chain(pods.iter().filter_map(Row::mismatch))
            .collect();
        Self {
            live,
            mode,
            as_expected: mismatches.is_empty(),
            mismatches,
            nodes,
            pods,
            stages,
            seconds,
        }
    }

    /// To standard output.
    pub(in crate::demo) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self)?;
            return writeln!(out);
        }
        let mut nodes = empty_table();
        nodes.set_header(["node", "what is behind it", "place", "tier"]);
        for node in &self.nodes {
            let place = node.host.place.as_ref();
            let place = place.map_or_else(|| "-".to_owned(), ToString::to_string);
            nodes.add_row([&node.node, node.about, &place, &node.host.tier]);
        }
        let mut pods = empty_table();
        let landed = match self.live {
            true => "it is on",
            false => "it would be on",
        };
        pods.set_header(["pod", "for the node", "how", landed, "or why not"]);
        for row in &self.pods {
            let Landing { node, why } = &row.landing;
            let [node, why] = [node, why].map(|cell| cell.as_deref().unwrap_or("-"));
            pods.add_row([&row.pod, &row.asked_for, row.way, node, why]);
        }
        writeln!(out, "\n{nodes}\n\n{pods}\n\n{}", self.mode)?;
        print_end(&mut out, self.seconds, &self.stages, &self.mismatches)
    }
}

#[cfg(test)]
mod tests {
    use super::super::asks;
    use super::*;

    #[test]
    fn a_pod_must_land_where_it_is_due_and_be_refused_for_the_reason_that_is() {
        for ask in asks::all() {
            let on = Landing::on(ask.six.node());
            let other = Landing::on("node-of-nobody".to_owned());
            let because = Landing::refused(&format!("touchstone: {}", ask.due.unwrap_or_default()));
            let quota = Landing::refused("exceeded quota");
            let good = |landing: &Landing| Row::new(&ask, landing.clone()).mismatch().is_none();
            assert_eq!(good(&on), ask.due.is_none(), "{}", ask.name);
            assert_eq!(good(&because), ask.due.is_some(), "{}", ask.name);
            assert!(!good(&other) && !good(&quota), "{}", ask.name);
        }
    }
}
