//! Plans: what manifests would do to the fleet, and the breaker that keeps one manifest from draining it.

use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World, healthy_host, runtime_policy, sample_policy};

fn sample() -> String {
    std::fs::read_to_string(sample_policy()).unwrap()
}

/// The sample with another value of PCR 8: no host's boot is known to be good any more.
fn wrong_boot() -> String {
    sample().replace("8: [\"6342", "8: [\"0042")
}

fn plan(world: &World, manifests: &str) -> Value {
    let file = world.server.file("plan.yaml", manifests);
    world.server.command(&["policy", "plan", &file])
}

fn exit_code(world: &World, manifests: &str) -> Option<i32> {
    let file = world.server.file("plan.yaml", manifests);
    let planned = world
        .server
        .run(&["policy", "plan", "--detailed-exitcode", &file]);
    planned.status.code()
}

/// A host in Germany, whose last round brought no boot log, and one in the US, whose last round did.
async fn two_hosts(database: &Database, maker: &Maker) -> (World, [Host; 2]) {
    let world = World::start(database, maker);
    let hosts = ["de-1", "us-1"].map(|name| Host::boot(&maker.authority, name, Profile::Healthy));
    for (host, country) in hosts.iter().zip(["DE", "US"]) {
        assert_eq!(world.join(host, Some(country)).await["tier"], "affirming");
    }
    for _ in 0..2 {
        hosts[0].attest(&world.server).unwrap();
    }
    (world, hosts)
}

async fn judges_kept_evidence(database: &Database) {
    let maker = Maker::new();
    let (world, hosts) = two_hosts(database, &maker).await;
    let entries = world.server.audit_entries().len();
    let same = plan(&world, &sample());
    assert_eq!(
        (&same["hosts"], &same["same"]),
        (&2.into(), &2.into()),
        "{same}"
    );
    assert_eq!(same["not_judged"], Value::Array(vec![]));
    assert_eq!(exit_code(&world, &sample()), Some(0));

    // Where pods may run changes, and no tier.
    let american = plan(&world, &sample().replace("[DE]", "[US]"));
    assert_eq!(american["same"], 2);
    let payments = &american["workloads"]["payments"];
    assert_eq!(
        (&payments["allowed"][0], &payments["refused"][0]),
        (&"us-1".into(), &"de-1".into())
    );
    assert_eq!(
        exit_code(&world, &sample().replace("[DE]", "[US]")),
        Some(2)
    );

    let wrong = plan(&world, &wrong_boot());
    assert_eq!(
        (&wrong["falling"], &wrong["affirming"]),
        (&2.into(), &2.into())
    );
    assert_eq!(wrong["drains"], true);
    for (change, host) in wrong["changes"].as_array().unwrap().iter().zip(&hosts) {
        assert_eq!(change["host"], host.name);
        assert_eq!(
            (&change["from"], &change["to"]),
            (&"affirming".into(), &"contraindicated".into())
        );
        assert_eq!(change["findings"][0]["code"], "pcr-value-unknown");
    }
    // The runtime list goes on from where the round before had left it.
    let runtime = plan(&world, &runtime_policy("tolerated"));
    for change in runtime["changes"].as_array().unwrap() {
        assert_eq!(change["to"], "none", "{change}");
        assert_eq!(change["findings"][0]["code"], "runtime-not-judged");
    }
    // Nothing happened by that.
    assert_eq!(world.server.audit_entries().len(), entries);
    assert_eq!(
        world.server.command(&["policy", "history"])["policies"][0]["version"],
        1
    );

    // It comes as it was planned.
    world.apply(&wrong_boot());
    for host in &hosts {
        assert_eq!(
            host.attest(&world.server).unwrap()["tier"],
            "contraindicated"
        );
    }
    let back = plan(&world, &sample());
    assert_eq!(
        (&back["changes"][1]["to"], &back["drains"]),
        (&"affirming".into(), &false.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_judges_the_fleets_kept_evidence_and_changes_nothing() {
    judges_kept_evidence(&Database::under_test()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_manifest_does_not_drain_the_fleet_unless_that_is_said() {
    let maker = Maker::new();
    let (world, _hosts) = two_hosts(&Database::under_test(), &maker).await;
    let server = &world.server;
    let file = server.file("wrong.yaml", &wrong_boot());
    assert_eq!(
        server.refusal(&["policy", "apply", &file]),
        "policy-would-drain"
    );
    assert_eq!(server.command(&["policy", "show"])["manifests"], sample());
    // One of two is more than a third; none is not.
    let half = sample().replace("hosts: [\"*\"]", "hosts: [\"de-*\"]");
    let half = server.file("half.yaml", &half);
    assert_eq!(
        server.refusal(&["policy", "apply", &half]),
        "policy-would-drain"
    );
    let other = server.file("other.yaml", &sample().replace("[DE]", "[US]"));
    server.command(&["policy", "apply", &other]);
    server.command(&["policy", "apply", &file, "--drain"]);
    let entries = server.audit_entries();
    let applied: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["kind"] == "policy-applied")
        .collect();
    assert_eq!(applied[1]["drain"], Value::Null);
    assert_eq!(applied[2]["drain"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_verdict_was_taken_away_is_not_judged_until_its_next_round() {
    let (world, host, _maker) = healthy_host().await;
    world.tag(&host, "US");
    let voided = plan(&world, &sample());
    let why = voided["not_judged"][0]["why"].as_str().unwrap();
    assert!(why.contains("place-not-proven-yet"), "{why}");
    assert_eq!(
        (&voided["affirming"], &voided["drains"]),
        (&0.into(), &false.into())
    );
    host.attest(&world.server).unwrap();
    assert_eq!(plan(&world, &sample())["same"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_file_the_line_and_the_column() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    let good = server.file("good.yaml", &sample());
    let region = "apiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {name: r}\nspec: {version: 1, country: DE}\n";
    let bad = server.file("bad.yaml", region);
    for command in ["check", "plan", "apply"] {
        let output = server.run(&["policy", command, &good, &bad]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(&format!("{bad}:4:")), "{command}: {said}");
    }
}
