//! The load generator: its hosts pass for hosts, and its numbers add up.

use std::process::Output;

use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::server::Server;

/// Runs `tpm-sim-load` against `server`.
fn load(server: &Server, arguments: &[&str]) -> Output {
    programs::command(&programs::path("tpm-sim-load"))
        .arg("--operator")
        .arg(server.folder().join("operator.json"))
        .arg("--json")
        .args(arguments)
        .output()
        .unwrap()
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
    let server = Server::start(&Database::Sqlite);
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
    let server = Server::start(&Database::Sqlite);
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
    let server = Server::start(&Database::Sqlite);
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

fn germany_only() -> String {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/samples");
    format!("{samples}/germany-only/policy.yaml")
}
