//! Data keys: the key of a secret goes to the host that proves itself with the same request, and opens in its TPM and its
//! boot alone. What is refused is written down with its reason.

use serde_json::{Value, json};
use touchstone_agent::client::Problem;
use touchstone_evidence::data_key::DataKey;
use touchstone_evidence::wire::DataKeyMade;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{World, healthy_host};

use crate::layer_keys::{annotation, publisher, wrap};

fn create(world: &World, more: &[&str]) {
    let create = ["key", "create", "disks", "--policy", "payments"];
    world.server.command(&[&create[..], more].concat());
}

async fn made(liar: &Liar) -> DataKeyMade {
    liar.make_data_key("disks").await.1.unwrap()
}

fn code<T>(asked: Result<T, Problem>) -> String {
    asked.map_or_else(|problem| problem.code, |_| "none".to_owned())
}

async fn asked(liar: &Liar, wrapped: &[u8]) -> String {
    code(liar.ask_data_key(wrapped).await.1)
}

fn entries(world: &World, kind: &str) -> Vec<Value> {
    let entries = world.server.audit_entries().into_iter();
    entries.filter(|entry| entry["kind"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_opens_in_the_hosts_tpm_and_boot_alone_when_made_and_when_asked_for_again() {
    let (world, host, maker) = healthy_host().await;
    create(&world, &[]);
    let liar = Liar::take(&host, &world.server).await;
    let (wish, first) = liar.make_data_key("disks").await;
    let first = first.unwrap();
    let key = liar.open_data_key(&wish.evidence, &first.release).await;
    let key = key.unwrap();
    let (request, again) = liar.ask_data_key(&first.wrapped).await;
    let again = again.unwrap();
    let opened = liar.open_data_key(&request.evidence, &again).await;
    assert_eq!(opened.unwrap(), key);
    let (wish, second) = liar.make_data_key("disks").await;
    let second = second.unwrap().release;
    let second = liar.open_data_key(&wish.evidence, &second).await;
    assert_ne!(second.unwrap(), key, "each is new");

    let [first_entry, again_entry, last] = &entries(&world, "data-key-released")[..] else {
        panic!("three leases");
    };
    let lease: Value = serde_json::from_slice(&again.lease).unwrap();
    let id = DataKey::read(&key).unwrap().id().to_string();
    let verdict = world.server.get("/v1/hosts/de-1").await;
    for entry in [first_entry, again_entry] {
        for (field, said) in [
            ("host", json!("de-1")),
            ("key", json!("disks")),
            ("version", json!(1)),
            ("policy", json!("payments")),
            ("data_key", json!(id)),
            ("reset_count", lease["reset_count"].clone()),
        ] {
            assert_eq!(entry[field], said, "{field}");
        }
    }
    assert_eq!(
        (&first_entry["made"], &again_entry["made"]),
        (&json!(true), &json!(false))
    );
    for field in ["expires_at", "clock_end"] {
        assert_eq!(again_entry[field], lease[field], "{field}");
    }
    assert_eq!(last["result_entry"], verdict["entry"]);

    // To another TPM, and after a reboot of its own.
    let other = Host::boot(&maker.authority, "de-2", Profile::Healthy);
    world.join(&other, Some("DE")).await;
    let other = Liar::take(&other, &world.server).await;
    assert!(
        other
            .open_data_key(&request.evidence, &again)
            .await
            .is_err()
    );
    assert!(liar.open_data_key(&request.evidence, &again).await.is_ok());
    host.reboot();
    assert!(liar.open_data_key(&request.evidence, &again).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_healthy_host_in_the_region_gets_a_data_key_and_the_others_are_told_why() {
    let (world, host, maker) = healthy_host().await;
    create(&world, &[]);
    let liar = Liar::take(&host, &world.server).await;
    let made = made(&liar).await;
    let joined = async |name: &str, profile, country| {
        let host = Host::boot(&maker.authority, name, profile);
        world.join(&host, country).await;
        let liar = Liar::take(&host, &world.server).await;
        (host, liar)
    };
    let told = async |liar: &Liar, code: &str, words: &str| {
        let new = liar.make_data_key("disks").await.1.unwrap_err();
        let held = liar.ask_data_key(&made.wrapped).await.1.unwrap_err();
        for problem in [new, held] {
            assert_eq!(problem.code, code, "{}", problem.detail);
            assert!(problem.detail.contains(words), "{}", problem.detail);
        }
    };
    let (_abroad, liar) = joined("us-1", Profile::Healthy, Some("US")).await;
    told(&liar, "region-mismatch", "outside the region `germany`").await;
    let (_altered, liar) = joined("de-2", Profile::Altered, Some("DE")).await;
    told(&liar, "tier-insufficient", "kernel command line changed").await;
    let (_nowhere, liar) = joined("x-1", Profile::Healthy, None).await;
    told(&liar, "tier-insufficient", "no location tag").await;
    let refused: Vec<_> = entries(&world, "data-key-refused")
        .iter()
        .map(|entry| {
            (
                entry["host"].clone(),
                entry["version"].clone(),
                entry["data_key"].is_null(),
            )
        })
        .collect();
    let expected = ["us-1", "de-2", "x-1"].iter().flat_map(|host| {
        [
            (json!(host), Value::Null, true),
            (json!(host), json!(1), false),
        ]
    });
    assert_eq!(refused, expected.collect::<Vec<_>>());

    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(asked(&liar, &made.wrapped).await, "none");
    let request = liar.data_key_request(&made.wrapped).await.unwrap();
    let retire = ["host", "retire", "de-1", "--reason", "old"];
    world.server.command(&retire);
    let late = liar.ask_data_key_by(&request).await;
    assert_eq!(code(late), "host-retired");
    assert_eq!(entries(&world, "data-key-released").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_without_a_release_key_of_its_own_gets_no_data_key() {
    let (world, host, _maker) = healthy_host().await;
    create(&world, &[]);
    let liar = Liar::take(&host, &world.server).await;
    let (wish, first) = liar.make_data_key("disks").await;
    let made = first.unwrap();
    let again = liar.make_data_key_by(&wish).await;
    assert_eq!(code(again), "release-key-absent");
    let mut request = liar.data_key_request(&made.wrapped).await.unwrap();
    request.evidence = liar.evidence(&liar.challenge().await).await;
    let plain = liar.ask_data_key_by(&request).await;
    assert_eq!(code(plain), "release-key-absent");
    let mut request = liar.data_key_request(&made.wrapped).await.unwrap();
    let quote = request.evidence.quote.clone();
    request.evidence.release_key.as_mut().unwrap().certification = quote;
    let quote = liar.ask_data_key_by(&request).await;
    assert_eq!(code(quote), "release-key-not-certified");
    assert_eq!(entries(&world, "data-key-released").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_that_was_changed_or_swapped_opens_nothing_nor_does_a_layers_annotation() {
    let (world, host, _maker) = healthy_host().await;
    create(&world, &[]);
    let second = ["key", "create", "second", "--policy", "payments"];
    world.server.command(&second);
    let liar = Liar::take(&host, &world.server).await;
    let honest = made(&liar).await.wrapped;
    let other = made(&liar).await.wrapped;
    world.server.command(&["key", "rotate", "disks"]);
    let other: Value = serde_json::from_slice(&other).unwrap();
    let with = |field: &str, value: Value| {
        let mut changed: Value = serde_json::from_slice(&honest).unwrap();
        assert_ne!(changed[field], value);
        changed[field] = value;
        serde_json::to_vec(&changed).unwrap()
    };
    let publisher = publisher(&world.server, "ci");
    let layer = annotation(&wrap(&world.server, &publisher, "disks").await.unwrap());
    // A layer's annotation in the form of a data key, under the version that wrapped it.
    let mut dressed: Value = serde_json::from_slice(&layer).unwrap();
    dressed["data_key"] = other["data_key"].clone();
    dressed["ciphertext"] = other["ciphertext"].clone();
    dressed.as_object_mut().unwrap().remove("layer");
    for (wrapped, expected) in [
        (with("key", json!("second")), "data-key-not-opened"),
        (with("key", json!("nobodys")), "layer-key-unknown"),
        (with("key_version", json!(2)), "data-key-not-opened"),
        (with("key_version", json!(9)), "layer-key-version-unknown"),
        (with("policy", json!("lax")), "data-key-not-opened"),
        (
            with("data_key", other["data_key"].clone()),
            "data-key-not-opened",
        ),
        (
            with("ciphertext", other["ciphertext"].clone()),
            "data-key-not-opened",
        ),
        (with("version", json!(2)), "data-key-version"),
        (honest[1..].to_vec(), "data-key-malformed"),
        (layer, "data-key-malformed"),
        (serde_json::to_vec(&dressed).unwrap(), "data-key-not-opened"),
    ] {
        let shown = String::from_utf8_lossy(&wrapped).into_owned();
        assert_eq!(asked(&liar, &wrapped).await, expected, "{shown}");
    }
    // The other way round.
    let wish = liar.wish(&honest).await;
    let released = liar.ask_release(&wish).await;
    assert_eq!(code(released), "annotation-malformed");
    let mut dressed: Value = serde_json::from_slice(&honest).unwrap();
    dressed["layer"] = json!(crate::layer_keys::LAYER);
    dressed.as_object_mut().unwrap().remove("data_key");
    let wish = liar.wish(&serde_json::to_vec(&dressed).unwrap()).await;
    let released = liar.ask_release(&wish).await;
    assert_eq!(code(released), "annotation-not-opened");
    assert_eq!(asked(&liar, &honest).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_key_decides_what_is_made_and_opened() {
    let (world, host, _maker) = healthy_host().await;
    create(&world, &[]);
    let liar = Liar::take(&host, &world.server).await;
    let old = made(&liar).await.wrapped;
    let key = |act: &[&str]| world.server.command(&[&["key"], act].concat());
    let both = async |expected: &str| {
        assert_eq!(code(liar.make_data_key("disks").await.1), expected);
        assert_eq!(asked(&liar, &old).await, expected);
    };
    key(&["rotate", "disks"]);
    both("none").await;
    let new: Value = serde_json::from_slice(&made(&liar).await.wrapped).unwrap();
    assert_eq!(new["key_version"], 2);
    key(&["disable", "disks"]);
    both("layer-key-disabled").await;
    key(&["enable", "disks"]);
    both("none").await;
    key(&["destroy", "disks", "--yes"]);
    both("layer-key-destroyed").await;
    let images = [
        "key",
        "create",
        "images",
        "--policy",
        "payments",
        "--registered",
    ];
    world.server.command(&images);
    let refused = liar.make_data_key("images").await.1;
    assert_eq!(code(refused), "layer-key-images-alone");
    let unknown = liar.make_data_key("nobodys").await.1;
    assert_eq!(code(unknown), "layer-key-unknown");
}
