//! Plans: what manifests would do to the fleet, and the breaker that keeps one manifest from draining it.

use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::server;
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
    let other = server.file("other.yaml", &sample().replace("[DE]", "[DE, US]"));
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
        assert!(
            said.contains("unknown field `country`"),
            "{command}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_not_left_without_hosts_unless_that_is_said() {
    let maker = Maker::new();
    let (world, _hosts) = two_hosts(&Database::under_test(), &maker).await;
    let server = &world.server;
    // No tier changes, and nowhere may its pods run any more.
    let elsewhere = sample().replace("[DE]", "[FR]");
    let planned = plan(&world, &elsewhere);
    assert_eq!(
        (&planned["falling"], &planned["drains"]),
        (&0.into(), &true.into())
    );
    assert_eq!(
        planned["starving"][0],
        json!({ "workload": "payments", "allowing": 1, "falling": 1 })
    );
    let file = server.file("elsewhere.yaml", &elsewhere);
    let apply = ["policy", "apply", &file];
    assert_eq!(server.refusal(&apply), "policy-would-drain");
    // A new one that some host meets comes as it is meant; one that none meets does not.
    let orders = |country: &str| {
        let parts = sample();
        let parts: Vec<&str> = parts.split("---\n").collect();
        let region = parts[1]
            .replace("germany", "other")
            .replace("[DE]", country);
        let workload = parts[2].replace("payments", "orders");
        let workload = workload.replace("germany", "other");
        format!("{}---\n{region}---\n{workload}", sample())
    };
    let met = plan(&world, &orders("[US]"));
    assert_eq!(met["drains"], false, "{met}");
    let unmet = plan(&world, &orders("[FR]"));
    assert_eq!(unmet["starving"][0]["workload"], "orders", "{unmet}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_that_went_stale_in_an_outage_do_not_open_the_breaker() {
    let maker = Maker::new();
    let (world, _hosts) = two_hosts(&Database::under_test(), &maker).await;
    let stale =
        "UPDATE hosts SET verdict = replace(verdict, '\"expires_at\":', '\"expires_at\":-')";
    world.server.execute(stale).await;
    let wrong = plan(&world, &wrong_boot());
    assert_eq!(wrong["changes"][0]["fresh"], false);
    assert_eq!(
        (&wrong["falling"], &wrong["affirming"], &wrong["drains"]),
        (&2.into(), &2.into(), &true.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freshness_that_the_rounds_of_hosts_do_not_keep_counts_as_a_fall() {
    let (world, host, _maker) = healthy_host().await;
    host.attest(&world.server).unwrap();
    let entries = world.server.audit_entries();
    let last = entries
        .iter()
        .filter_map(|entry| entry["challenged_at"].as_i64())
        .next_back()
        .unwrap();
    // As if its rounds came 100 seconds apart.
    let later = format!(
        "UPDATE hosts SET verdict = replace(verdict, '\"challenged_at\":{last}', '\"challenged_at\":{}')",
        last + 100
    );
    world.server.execute(&later).await;
    let short = |seconds: &str| sample().replace("freshnessSeconds: 300", seconds);
    let planned = plan(&world, &short("freshnessSeconds: 10"));
    assert_eq!(
        (&planned["falling"], &planned["drains"]),
        (&1.into(), &true.into())
    );
    assert_eq!(planned["lapsing"], json!(["de-1"]));
    let kept = plan(&world, &short("freshnessSeconds: 200"));
    assert_eq!(kept["drains"], false, "{kept}");
    // Of the workload alone.
    let planned = plan(
        &world,
        &sample().replace(
            "    tier: affirming",
            "    tier: affirming\n    freshnessSeconds: 10",
        ),
    );
    assert_eq!(planned["starving"][0]["workload"], "payments", "{planned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_plan_while_two_are_under_way_is_told_to_come_again() {
    let world = World::start(&Database::under_test(), &Maker::new());
    let operator = world.server.operator();
    let http = server::client(&operator);
    // Long enough that all ask before the first one is done.
    let region = |n| {
        format!(
            "---\napiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {{name: r-{n}}}\nspec: {{version: 1, countries: [DE]}}\n"
        )
    };
    let manifests = sample() + &(0..1000).map(region).collect::<String>();
    let asked: Vec<_> = (0..6)
        .map(|_| {
            http.post(format!("{}/v1/policies/plan", world.server.url))
                .bearer_auth(operator["token"].as_str().unwrap())
                .json(&json!({ "manifests": manifests }))
        })
        .map(|request| tokio::spawn(request.send()))
        .collect();
    let (mut planned, mut busy) = (0, 0);
    for asked in asked {
        let answer = asked.await.unwrap().unwrap();
        let later = answer.headers().get("retry-after").cloned();
        match answer.status().as_u16() {
            200 => planned += 1,
            503 => {
                assert_eq!(later.unwrap(), "10");
                let problem: Value = answer.json().await.unwrap();
                assert_eq!(problem["type"], "touchstone:busy");
                busy += 1;
            }
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
    }
    assert!(planned >= 2 && busy >= 1, "{planned} planned, {busy} busy");
    assert_eq!(plan(&world, &sample())["hosts"], 0);
}
