//! `tpm-sim demo --kubernetes`: with a control plane and without, and able to fail.

use std::process::Output;

use serde_json::Value;
use touchstone_tests::cluster;
use touchstone_tests::programs;
use touchstone_tpm_sim::kubernetes::VARIABLE;

use super::kept::{Kept, text};
use super::{demo, differs, shown};

fn without_a_control_plane(options: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    programs::command(&programs::path("tpm-sim"))
        .args(["demo", "--kubernetes"])
        .args(options)
        .env("TMPDIR", folder.path())
        .env_remove(VARIABLE)
        .output()
        .unwrap()
}

#[test]
fn without_a_control_plane_the_demo_asks_the_same_and_says_so_first() {
    let output = without_a_control_plane(&["--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let shown = shown(&output);
    let first = said.lines().find(|line| !line.is_empty());
    assert!(
        first.is_some_and(|line| line.starts_with("NOT LIVE: ")),
        "{said}"
    );
    assert_eq!(shown["live"], false);
    has_the_rows(&shown);
}

#[test]
fn the_demo_of_a_cluster_fails_when_two_hosts_exchange_their_boots() {
    let cells = [
        "node-de-1, tier",
        "node-de-2, tier",
        "payments/api-de-1, node",
        "payments/api-de-2, node",
        "payments/preset-de-2, node",
    ];
    differs(without_a_control_plane(&["--swap"]), &cells);
}

#[test]
fn a_control_plane_that_is_not_complete_is_an_error_not_a_demo_without() {
    let empty = tempfile::tempdir().unwrap();
    let output = programs::command(&programs::path("tpm-sim"))
        .args(["demo", "--kubernetes"])
        .env(VARIABLE, empty.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`kube-apiserver` is neither in"), "{said}");
}

#[test]
fn a_demo_of_a_cluster_that_is_kept_answers_until_it_is_stopped() {
    let kept = Kept::nothing();
    let made = kept.shell("env -u KUBEBUILDER_ASSETS make demo-kubernetes KEEP=1");
    assert!(made.status.success(), "{}", text(&made));
    let folder = kept.entry()["folder"].as_str().unwrap().to_owned();
    let operator = format!("TOUCHSTONE_OPERATOR={folder}/attestor/operator.json");
    for (node, code) in [("node-de-1", 0), ("node-us-1", 1)] {
        let asked = kept.shell(&format!("{operator} target/debug/tpm-sim review {node}"));
        assert_eq!(asked.status.code(), Some(code), "{}", text(&asked));
    }
}

#[test]
fn with_a_control_plane_the_demo_shows_where_pods_landed() {
    if cluster::assets().is_none() {
        return;
    }
    let _alone = cluster::take_turn();
    let shown = shown(&demo(&["--kubernetes", "--json"]));
    assert_eq!(shown["live"], true);
    has_the_rows(&shown);
}

fn has_the_rows(shown: &Value) {
    assert_eq!(shown["nodes"].as_array().unwrap().len(), 6);
    let pods = shown["pods"].as_array().unwrap();
    let landed = |pod: &&Value| !pod["node"].is_null();
    let names = pods.iter().filter(landed).map(|pod| &pod["pod"]);
    let names: Vec<_> = names.map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, ["payments/api-de-1", "shop/web", "kube-system/web"]);
    assert_eq!(pods.len(), 10);
}
