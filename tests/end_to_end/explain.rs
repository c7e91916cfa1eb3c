//! `touchstone host explain`: why a host stands where it stands, and what to do next.

use serde_json::Value;
use touchstone_tests::programs;
use touchstone_tests::world::{World, healthy_host, sample_policy};

fn explained(world: &World, host: &str) -> Value {
    world.server.command(&["host", "explain", host])
}

/// What a person reads.
fn prose(world: &World, host: &str) -> String {
    let output = programs::command(&programs::path("touchstone"))
        .args(["host", "explain", host])
        .env(
            "TOUCHSTONE_OPERATOR",
            world.server.folder().join("operator.json"),
        )
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_explained_with_what_to_do_next_and_what_changed() {
    let (world, host, _maker) = healthy_host().await;
    let sound = explained(&world, "de-1");
    assert_eq!(sound["tier"], "affirming");
    assert_eq!(sound["findings"], Value::Array(vec![]));
    assert_eq!(sound["before"], Value::Null);
    let place = &sound["place"];
    assert_eq!(
        (&place["serial"], &place["proven"]),
        (&1.into(), &true.into())
    );
    let said = prose(&world, "de-1");
    for part in [
        "de-1 is affirming.",
        "nodes: node-de-1",
        "met      a boot that is known to be good, by reference values `debian-12-shim-grub`",
        "by the host's current location tag",
        "grade L1, proven in its last round: tag 1 of authority",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(!said.contains("Why:") && !said.contains("Before"), "{said}");

    let sample = std::fs::read_to_string(sample_policy()).unwrap();
    world.apply(&sample.replace("8: [\"6342", "8: [\"0042"));
    let said = prose(&world, "de-1");
    assert!(said.contains("reached under earlier manifests"), "{said}");
    host.attest(&world.server).unwrap();
    // The same again is no other verdict.
    host.attest(&world.server).unwrap();
    let bad = explained(&world, "de-1");
    let before = &bad["before"];
    assert_eq!(
        (&before["tier"], &before["policies_changed"]),
        (&"affirming".into(), &true.into())
    );
    assert_eq!(before["new_codes"], Value::from(vec!["pcr-value-unknown"]));
    assert_eq!(before["gone_codes"], Value::Array(vec![]));
    let said = prose(&world, "de-1");
    for part in [
        "de-1 is contraindicated.",
        "NOT MET  a boot that is known to be good",
        "(pcr-value-unknown)",
        "expected: 0042",
        "observed: 6342",
        "next: Look at the `boot-event-changed` findings",
        "Before that it was affirming",
        "New since then: pcr-value-unknown",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }

    world.tag(&host, "US");
    let voided = explained(&world, "de-1");
    assert_eq!(voided["findings"][0]["code"], "place-not-proven-yet");
    assert_eq!(
        (&voided["place"]["serial"], &voided["place"]["proven"]),
        (&2.into(), &false.into())
    );
    assert_eq!(voided["voided"], true);
    let said = prose(&world, "de-1");
    for part in [
        "de-1 has no verdict: that of ",
        "was taken away since. Its next round brings another.",
        "unknown  a boot that is known to be good",
        "until the next round",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(!said.contains("NOT MET"), "{said}");
    let unknown = ["host", "explain", "de-2"];
    assert_eq!(world.server.refusal(&unknown), "host-unknown");
}
