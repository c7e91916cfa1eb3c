//! Reference values out of a host's own boot: pending, and in force once an officer says so.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::server::Server;
use touchstone_tests::world::{healthy_host, sample_policy};

const NAME: &str = "debian-12-shim-grub";

#[tokio::test(flavor = "multi_thread")]
async fn captured_values_count_once_an_officer_activates_them() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    // Known-good values that are not this machine's.
    let sample = std::fs::read_to_string(sample_policy()).unwrap();
    world.apply(&sample.replace("8: [\"6342", "8: [\"0042"));
    assert_eq!(host.attest(server).unwrap()["tier"], "contraindicated");

    let pending = server.command(&["reference", "capture", "de-1", "--name", NAME, "--anyway"]);
    let manifest = pending["manifest"].as_str().unwrap();
    for part in [
        "lifeCycle: Pending",
        "captured from host de-1",
        "8: [\"6342",
        "donet",
    ] {
        assert!(manifest.contains(part), "`{part}` is not in:\n{manifest}");
    }
    let evidence = pending["evidence"].as_str().unwrap();
    assert!(manifest.contains(evidence), "{manifest}");
    let listed = server.command(&["reference", "list"]);
    assert_eq!(listed["references"][0]["name"], NAME);
    // Nothing counts yet, and as they are they count in no policy either.
    assert_eq!(host.attest(server).unwrap()["tier"], "contraindicated");
    let kept = sample.split("---\n# Made with").next().unwrap();
    let file = server.file("pending.yaml", &format!("{kept}---\n{manifest}"));
    let planned = server.command(&["policy", "plan", &file]);
    let codes = &planned["changes"][0]["findings"][0]["code"];
    assert_eq!(
        (&planned["changes"][0]["to"], codes),
        (&"none".into(), &"reference-values-absent".into())
    );

    let active = server.command(&["reference", "activate", NAME]);
    assert_eq!(active["version"], 3);
    assert_eq!(host.attest(server).unwrap()["tier"], "affirming");
    let shown = server.command(&["policy", "show"]);
    let shown = shown["manifests"].as_str().unwrap();
    assert!(
        shown.contains("captured from host de-1") && !shown.contains("0042"),
        "{shown}"
    );
    assert_eq!(
        server.command(&["reference", "list"])["references"],
        Value::Array(vec![])
    );
    let entries = server.audit_entries();
    let captured = entries
        .iter()
        .find(|entry| entry["kind"] == "reference-captured")
        .unwrap();
    assert_eq!(captured["evidence"], evidence);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_proven_or_would_drain_the_fleet_does_not_become_known_good() {
    let (world, host, maker) = healthy_host().await;
    let server = &world.server;
    assert_eq!(
        server.refusal(&["reference", "capture", "de-9"]),
        "host-unknown"
    );
    assert_eq!(
        server.refusal(&["reference", "capture", "de-1", "--name", "No Name"]),
        "reference-name"
    );
    assert_eq!(
        server.refusal(&["reference", "activate", "nothing"]),
        "reference-unknown"
    );
    // Its verdict was taken away: what it said last is no ground.
    world.tag(&host, "US");
    assert_eq!(
        server.refusal(&["reference", "capture", "de-1"]),
        "reference-evidence-absent"
    );
    host.attest(server).unwrap();

    // The values of a machine that boots something else would take the good one away.
    let evil = Host::boot(&maker.authority, "de-2", Profile::Altered);
    assert_eq!(
        world.join(&evil, Some("DE")).await["tier"],
        "contraindicated"
    );
    let capture = ["reference", "capture", "de-2", "--name", NAME];
    assert_eq!(server.refusal(&capture), "reference-host-contraindicated");
    let said = String::from_utf8(server.run(&capture).stderr).unwrap();
    assert!(said.contains("kernel-command-line-changed"), "{said}");
    server.command(&[&capture[..], &["--anyway"]].concat());
    let entries = server.audit_entries();
    let captured = entries.iter().rfind(|entry| entry["anyway"].is_boolean());
    assert_eq!(captured.unwrap()["anyway"], true);
    let activate = ["reference", "activate", NAME];
    assert_eq!(server.refusal(&activate), "policy-would-drain");
    assert_eq!(server.command(&["policy", "show"])["version"], 1);
    server.command(&["reference", "activate", NAME, "--drain"]);
    assert_eq!(host.attest(server).unwrap()["tier"], "contraindicated");
    assert_eq!(evil.attest(server).unwrap()["tier"], "affirming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_unmapped_takes_no_pod() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    assert!(server.place("u1", "node-de-1").await.0);
    assert_eq!(
        server.command(&["node", "unmap", "node-de-1"])["host"],
        "de-1"
    );
    let (admitted, why) = server.place("u2", "node-de-1").await;
    assert!(!admitted && why.contains("mapped to no host"), "{why}");
    assert_eq!(
        server.command(&["node", "list"])["nodes"],
        Value::Array(vec![])
    );
    assert_eq!(
        server.refusal(&["node", "unmap", "node-de-1"]),
        "node-not-mapped"
    );
    server.command(&["node", "map", "node-de-1", "de-1"]);
    assert!(server.place("u3", "node-de-1").await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_moves_to_another_host_only_if_it_is_meant_to() {
    let (world, _host, maker) = healthy_host().await;
    let server = &world.server;
    let other = Host::boot(&maker.authority, "de-2", Profile::Healthy);
    world.admit(&other, None).await;
    let map = ["node", "map", "node-de-1", "de-2"];
    assert_eq!(server.refusal(&map), "node-mapped-elsewhere");
    let said = String::from_utf8(server.run(&map).stderr).unwrap();
    assert!(
        said.contains("host `de-1`; if it stands on `de-2`"),
        "{said}"
    );
    assert!(server.place("u1", "node-de-1").await.0);
    let moved = [&map[..], &["--replace"]].concat();
    assert_eq!(server.command(&moved)["before"], "de-1");
    assert!(!server.place("u2", "node-de-1").await.0);
    // Again is no move.
    assert_eq!(server.command(&map)["before"], Value::Null);
    let entries = server.audit_entries();
    let moved = entries.iter().rfind(|entry| entry["before"] == "de-1");
    assert_eq!(moved.unwrap()["kind"], "node-mapped");
}

#[tokio::test(flavor = "multi_thread")]
async fn man_pages_and_the_schema_need_no_attestor() {
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let program = touchstone_tests::programs::path(program);
        let output = touchstone_tests::programs::command(&program)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for program in ["touchstone", "touchstone-agent", "tpm-sim"] {
        let said = run(program, &["man", folder.path().to_str().unwrap()]);
        assert!(said.contains(&format!("{program}.1\n")), "{said}");
    }
    for page in [
        "touchstone.1",
        "touchstone-agent.1",
        "touchstone-agent-enrol.1",
        "tpm-sim-fleet.1",
        "touchstone-policy-plan.1",
        "touchstone-location-authority-revoke.1",
    ] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(
            text.contains(".TH") && text.contains("SYNOPSIS"),
            "{page}: {text}"
        );
    }
    let schema: Value = serde_json::from_str(&run("touchstone", &["policy", "schema"])).unwrap();
    assert!(schema["$defs"]["HostPolicy"].is_object());
}

/// Activates pending values over HTTP; whether they came into force.
async fn activates(server: &Server, name: &str, drain: bool) -> bool {
    let token = server.operator()["token"].as_str().unwrap().to_owned();
    let body = json!({ "name": name, "drain": drain });
    let path = "/v1/references/activate";
    let (status, body) = server
        .send(Method::POST, path, Some(&token), Some(&body))
        .await;
    if status != StatusCode::OK {
        assert_eq!(body["type"], "touchstone:policy-overtaken", "{body}");
    }
    status == StatusCode::OK
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_activated_at_once_are_in_force_or_still_pending() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    for drain in [true, false] {
        let names = ["a", "b", "c"].map(|name| format!("{name}-{drain}"));
        for name in &names {
            server.command(&["reference", "capture", "de-1", "--name", name]);
        }
        let [a, b, c] = &names;
        let (a, b, c) = tokio::join!(
            activates(server, a, drain),
            activates(server, b, drain),
            activates(server, c, drain),
        );
        let shown = server.command(&["policy", "show"]);
        let shown = shown["manifests"].as_str().unwrap();
        let pending = server.command(&["reference", "list"])["references"].to_string();
        for (name, answered) in names.iter().zip([a, b, c]) {
            let name = format!("\"{name}\"");
            assert_eq!(shown.contains(&name), answered, "{name} in {shown}");
            assert_eq!(pending.contains(&name), !answered, "{name} in {pending}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_values_than_those_that_were_looked_at_are_not_activated() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    let capture = ["reference", "capture", "de-1", "--name", NAME];
    let seen = server.command(&capture)["manifest_digest"]
        .as_str()
        .unwrap()
        .to_owned();
    host.attest(server).unwrap();
    let now = server.command(&capture)["manifest_digest"].clone();
    assert_ne!(now, seen);
    let activate = |digest| ["reference", "activate", NAME, "--manifest", digest];
    assert_eq!(server.refusal(&activate(&seen)), "reference-changed");
    let now = now.as_str().unwrap();
    assert_eq!(server.command(&activate(now))["version"], 2);
}
