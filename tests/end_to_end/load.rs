//! The load generator: its hosts pass for hosts, and its numbers add up.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::server::Server;

/// `tpm-sim-load` against `server`.
fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = programs::command(&programs::path("tpm-sim-load"));
    command
        .args(arguments)
        .env("TOUCHSTONE_OPERATOR", server.folder().join("operator.json"));
    command
}

fn run(server: &Server, arguments: &[&str]) -> Output {
    command(server, arguments).output().unwrap()
}

/// Runs rounds.
fn load(server: &Server, arguments: &[&str]) -> Output {
    run(server, &[arguments, &["--json"]].concat())
}

/// What it found, and its exit code.
fn report(server: &Server, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = load(server, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout);
    (
        report.unwrap_or_else(|_| panic!("{said}")),
        output.status.code(),
    )
}

/// The same of `rate` bindings a second for `seconds`, onto `hosts` that attest once.
fn bindings(
    server: &Server,
    hosts: &str,
    rate: &str,
    seconds: &str,
    more: &[&str],
) -> (Value, Option<i32>) {
    let hosts = ["--hosts", hosts, "--duration", "0"];
    let bindings = ["--admissions", rate, "--admissions-for", seconds];
    report(server, &[&hosts[..], &bindings, more].concat())
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().unwrap().values();
    counts.map(|count| count.as_u64().unwrap()).sum()
}

/// Every round that was due came to one end, and was answered as affirming.
fn assert_affirming(phase: &Value, due: u64) {
    assert_eq!(phase["due"], due, "{phase:#}");
    assert_eq!(phase["tiers"]["affirming"], due, "{phase:#}");
    let ends = sum(&phase["tiers"]) + sum(&phase["refusals"]) + sum(&phase["lost"]);
    assert_eq!(ends + phase["not_begun"].as_u64().unwrap(), due);
    assert_eq!(sum(&phase["findings"]), 0, "{phase:#}");
    let latency = &phase["latency_milliseconds"];
    let latency = ["p50", "p90", "p99", "max"].map(|name| latency[name].as_f64().unwrap());
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
}

#[tokio::test]
async fn its_hosts_are_affirming_and_its_numbers_add_up() {
    let server = Server::start(&Database::under_test());
    let arguments = [
        "--hosts",
        "5",
        "--rate",
        "10",
        "--duration",
        "2",
        "--policy",
        "--tags",
    ];
    let (report, code) = report(&server, &arguments);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(
        (&report["all_affirming"], &report["policy_applied"]),
        (&true.into(), &true.into())
    );
    assert_eq!(report["enrolments"]["count"], 5);
    let (first, steady) = (&report["first"], &report["steady"]);
    assert_affirming(first, 5);
    assert_affirming(steady, 20);
    // Each round is due at its moment: the last one after 1.9 s.
    assert!(steady["seconds"].as_f64().unwrap() >= 1.9, "{steady:#}");
    // The boot log went once, and every host stayed on its connection.
    let bytes = |phase: &Value| phase["evidence_bytes_each"].as_u64().unwrap();
    assert!(bytes(first) > 5 * bytes(steady), "{report:#}");
    assert_eq!(steady["connections_opened"], 0);
    assert!(steady["commit_group_size"].as_f64().unwrap() >= 1.0);

    // The server has seen what the report says.
    let hosts = server.get("/v1/hosts").await;
    let hosts = hosts["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 5);
    for host in hosts {
        assert_eq!(
            (&host["tier"], &host["place"]["country"]),
            (&"affirming".into(), &"DE".into())
        );
    }
    let tokens = server.get("/v1/join-tokens").await;
    assert!(
        tokens["join_tokens"][0]["revoked_at"].is_i64(),
        "{tokens:#}"
    );
}

#[test]
fn hosts_that_reboot_bring_logs_of_their_own_over_few_connections() {
    let server = Server::start(&Database::under_test());
    let arguments = [
        "--hosts",
        "4",
        "--rate",
        "8",
        "--duration",
        "1",
        "--policy",
        "--reboot",
        "--distinct-logs",
        "--runtime-list",
        "--connections",
        "2",
    ];
    let (report, code) = report(&server, &arguments);
    assert_eq!(code, Some(0), "{report:#}");
    let (first, steady) = (&report["first"], &report["steady"]);
    assert_affirming(first, 4);
    assert_affirming(steady, 8);
    assert_eq!(first["evidence_bytes_each"], steady["evidence_bytes_each"]);
    // Four hosts in turn over two connections: none finds its own still open.
    assert_eq!(steady["connections_opened"], 8);
}

#[test]
fn a_run_that_is_not_all_affirming_fails_and_one_without_a_policy_does_not_begin() {
    let server = Server::start(&Database::under_test());
    let output = load(&server, &["--hosts", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("--policy") && output.stdout.is_empty(),
        "{said}"
    );
    assert_eq!(
        server.command(&["inventory", "list"])["inventory"],
        Value::Array(vec![])
    );

    // Hosts without tags, where policy demands a place.
    let policy = germany_only();
    server.command(&["policy", "apply", &policy]);
    let (report, code) = report(&server, &["--hosts", "2", "--rate", "0", "--duration", "1"]);
    assert_eq!(
        (code, &report["policy_applied"]),
        (Some(1), &false.into()),
        "{report:#}"
    );
    let (first, steady) = (&report["first"], &report["steady"]);
    assert_eq!(first["findings"]["location-absent"], 2, "{first:#}");
    assert!(steady["rounds"].as_u64().unwrap() > 2, "{steady:#}");
}

#[tokio::test]
async fn pods_are_bound_and_each_binding_is_written_down() {
    let server = Server::start(&Database::Sqlite);
    let folder = server.folder().to_str().unwrap().to_owned();
    let measured = ["--policy", "--fdatasync-in", &folder];
    let (report, code) = bindings(&server, "3", "20", "2", &measured);
    assert_eq!(code, Some(0), "{report:#}");
    let found = &report["admissions"];
    assert_eq!(
        (&found["due"], &found["admitted"], &found["pods"]),
        (&40.into(), &40.into(), &40.into()),
        "{found:#}"
    );
    for field in ["server_cpu_micros_each", "commit_group_size"] {
        assert!(found[field].as_f64().unwrap() > 0.0, "{field}");
    }
    let p99 = found["fdatasync_milliseconds"]["p99"].as_f64().unwrap();
    let bound = found["latency_bound_milliseconds"].as_f64().unwrap();
    assert!(p99 > 0.0 && (bound - 1.0 - 2.0 * p99).abs() < 1e-9);
    let filtering = &found["filtering"];
    assert_eq!(filtering["nodes"], 3, "{filtering:#}");
    assert!(filtering["latency_milliseconds"]["p99"].as_f64().unwrap() > 0.0);
    assert!(found["parsing"].is_null());
    let left = server.folder().join("tpm-sim-load.fdatasync");
    assert!(!left.exists());

    // The server has written as many decisions, and each of the hosts is behind a node.
    let entries = server.audit_entries();
    let admitted = entries
        .iter()
        .filter(|entry| entry["kind"] == "admission-decided")
        .count();
    assert_eq!(admitted, 40, "{:#}", entries.last().unwrap());
    let nodes = server.get("/v1/nodes").await;
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 3);
}

#[test]
fn bindings_are_measured_beside_a_webhook_that_only_parses() {
    let server = Server::start(&Database::Sqlite);
    let folder = tempfile::tempdir().unwrap();
    let credential = folder.path().join("parser.json");
    let credential = credential.to_str().unwrap();
    let mut parser = programs::command(&programs::path("tpm-sim-load"))
        .args(["parse", "--credential", credential])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = BufReader::new(parser.stdout.take().unwrap());
    output.read_line(&mut said).unwrap();
    assert!(said.starts_with("listening on https://"), "{said}");
    let beside = ["--policy", "--beside", credential];
    let (report, code) = bindings(&server, "2", "20", "1", &beside);
    parser.kill().unwrap();
    parser.wait().unwrap();
    assert_eq!(code, Some(0), "{report:#}");
    let found = &report["admissions"];
    let parsing = &found["parsing"];
    assert_eq!(
        (&parsing["due"], &parsing["allowed"]),
        (&20.into(), &20.into())
    );
    let each = |phase: &Value| phase["server_cpu_micros_each"].as_f64().unwrap();
    let share = found["parsing_share"].as_f64().unwrap();
    assert!((share - each(parsing) / each(found)).abs() < 1e-9);
}

#[test]
fn a_pod_that_no_policy_is_for_is_no_admission() {
    let server = Server::start(&Database::Sqlite);
    server.command(&["policy", "apply", &sample("known-good-boot")]);
    let (report, code) = bindings(&server, "1", "5", "1", &[]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["all_affirming"], true);
    assert_eq!(report["admissions"]["unwritten"], 5);
}

#[test]
fn hosts_boot_the_log_that_is_given() {
    let server = Server::start(&Database::Sqlite);
    let log = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tpm-sim/profiles/shim_sb_evil/bios.bin"
    );
    let arguments = [
        "--hosts",
        "2",
        "--duration",
        "0",
        "--policy",
        "--boot-log",
        log,
    ];
    let (affirming, code) = report(&server, &arguments);
    assert_eq!(code, Some(0), "{affirming:#}");
    let bytes = std::fs::metadata(log).unwrap().len();
    assert_eq!(affirming["boot_log_bytes"], bytes);
    assert_affirming(&affirming["first"], 2);
    // The policy is for that boot, and for no other.
    let (other, code) = report(&server, &["--hosts", "2", "--duration", "0"]);
    assert_eq!(code, Some(1), "{other:#}");
    assert_eq!(other["first"]["tiers"]["contraindicated"], 2);
}

#[test]
fn an_idle_host_costs_what_the_later_ones_added() {
    let server = Server::start(&Database::Sqlite);
    let arguments = [
        "memory", "--hosts", "8", "--first", "3", "--policy", "--json",
    ];
    let output = run(&server, &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |field: &str| report[field].as_f64().unwrap();
    let added = number("resident_bytes") - number("first_resident_bytes");
    assert!(
        (number("bytes_each") - added / 5.0).abs() < 1e-6,
        "{report:#}"
    );
    let hosts = server.command(&["host", "list"]);
    assert_eq!(hosts["hosts"].as_array().unwrap().len(), 8);
}

#[test]
fn hosts_outlive_an_outage_and_are_all_fresh_again() {
    let mut server = Server::start(&Database::Sqlite);
    let arguments = [
        "outage",
        "--hosts",
        "6",
        "--interval",
        "2",
        "--patience",
        "60",
        "--policy",
        "--json",
    ];
    let mut load = command(&server, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(load.stderr.take().unwrap());
    for line in said.lines() {
        let line = line.unwrap();
        if line.starts_with("steady") {
            server.signal(Signal::KILL);
        }
        // Not before they have noticed.
        if line.starts_with("down") {
            server.restart_to_die(&Database::Sqlite, "never:0");
        }
    }
    let output = load.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["not_fresh"], 0);
    assert!(sum(&report["lost"]) > 0, "{report:#}");
    let (up, fresh) = (
        report["seconds_until_up"].as_f64().unwrap(),
        report["seconds_until_all_fresh"].as_f64().unwrap(),
    );
    assert!(0.0 < up && up <= fresh, "{report:#}");
}

fn germany_only() -> String {
    sample("germany-only")
}

fn sample(name: &str) -> String {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/samples");
    format!("{samples}/{name}/policy.yaml")
}
