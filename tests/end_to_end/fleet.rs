//! A fleet of simulated hosts: with its agents it attests until it is told to end, and says what came of it.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::server::Server;

/// Longest that three hosts may take to be judged.
const JUDGED_MAX: Duration = Duration::from_secs(60);

fn fleet(arguments: &[&str]) -> Command {
    let mut command = programs::command(&programs::path("tpm-sim"));
    command.arg("fleet").args(arguments);
    command
}

/// As Ctrl-C does; what it printed at the end.
fn interrupt(fleet: Child) -> Output {
    let pid = i32::try_from(fleet.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.unwrap(), Signal::INT).unwrap();
    fleet.wait_with_output().unwrap()
}

/// Until the attestor has judged so many hosts.
async fn judged(server: &Server, count: usize) {
    let waited = tokio::time::timeout(JUDGED_MAX, async {
        loop {
            let hosts = server.get("/v1/hosts").await;
            let hosts = hosts["hosts"].as_array().unwrap();
            let judged = hosts.iter().filter(|host| host["entry"].is_string());
            if judged.count() == count {
                return;
            }
        }
    });
    waited.await.expect("the fleet is not judged");
}

#[tokio::test]
async fn a_fleet_shows_whom_it_broke_and_ends_in_order() {
    let server = Server::start(&Database::Sqlite);
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/samples");
    server.command(&[
        "policy",
        "apply",
        &format!("{samples}/known-good-boot/policy.yaml"),
    ]);
    let operator = server.folder().join("operator.json");
    let fleet = fleet(&["--hosts", "3", "--break", "1", "--interval", "1", "--json"])
        .arg("--operator")
        .arg(operator)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    judged(&server, 3).await;
    // They attest on: nobody asks them to.
    let rounds = || {
        let entries = server.audit_entries();
        let appraisals = entries
            .iter()
            .filter(|entry| entry["kind"] == "host-appraised");
        appraisals.count()
    };
    let (before, begun) = (rounds(), Instant::now());
    while rounds() < before + 3 {
        assert!(begun.elapsed() < JUDGED_MAX, "the fleet attests no more");
    }

    let output = interrupt(fleet);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(output.status.code(), Some(0), "{report:#} {said}");
    assert_eq!(
        (
            &report["tiers"]["affirming"],
            &report["tiers"]["contraindicated"]
        ),
        (&2.into(), &1.into()),
        "{report:#}"
    );
    let broken = &report["hosts"][0];
    assert_eq!(broken["broken"], true);
    assert_eq!(broken["findings"][0], "kernel-command-line-changed");
    // Where there is no terminal, a line says so once.
    let line = format!(
        "{} (altered) is contraindicated: kernel-command-line-changed\n",
        broken["host"].as_str().unwrap()
    );
    assert_eq!(said.matches(&line).count(), 1, "{said}");
    assert!(!said.contains("agent"), "an agent ended badly: {said}");
}

#[test]
fn a_fleet_needs_an_attestor_with_a_policy() {
    let server = Server::start(&Database::Sqlite);
    let operator = server.folder().join("operator.json");
    let output = fleet(&["--hosts", "1"])
        .arg("--operator")
        .arg(operator)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("touchstone policy apply"), "{said}");
    assert_eq!(
        server.command(&["inventory", "list"])["inventory"],
        Value::Array(vec![])
    );
}
