//! Releases: the key of a layer goes to the host that proves itself with the same request, and opens in its TPM and its
//! boot alone. Every other host is refused, in words that say why.

use serde_json::{Value, json};
use touchstone_agent::client::Problem;
use touchstone_evidence::wire::{Lease, Release, ReleaseRequest};
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{World, healthy_host};

use crate::layer_keys::{LAYER, annotation, manifest, options, publisher, wrap};

/// A key of the sample's policy `payments`, and the annotation of a layer that was encrypted with it.
async fn encrypted(world: &World, more: &[&str]) -> Vec<u8> {
    let create = ["key", "create", "payments", "--policy", "payments"];
    world.server.command(&[&create[..], more].concat());
    let publisher = publisher(&world.server, "ci");
    annotation(&wrap(&world.server, &publisher, "payments").await.unwrap())
}

/// What comes of asking honestly.
async fn ask(liar: &Liar, annotation: &[u8]) -> Result<Release, Problem> {
    let wish = liar.wish(annotation).await;
    liar.ask_release(&wish).await
}

fn code(asked: Result<Release, Problem>) -> String {
    asked.map_or_else(|problem| problem.code, |_| "none".to_owned())
}

fn entries(world: &World, kind: &str) -> Vec<Value> {
    let entries = world.server.audit_entries().into_iter();
    entries.filter(|entry| entry["kind"] == kind).collect()
}

fn lease(release: &Release) -> Lease {
    serde_json::from_slice(&release.lease).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_host_opens_in_its_tpm_and_its_boot_alone_what_was_released() {
    let (world, host, maker) = healthy_host().await;
    let annotation = encrypted(&world, &[]).await;
    let liar = Liar::take(&host, &world.server).await;
    let wish = liar.wish(&annotation).await;
    let release = liar.ask_release(&wish).await.unwrap();
    assert_eq!(liar.open(&wish, &release).await.unwrap(), options());

    let lease = lease(&release);
    assert_eq!((lease.host.as_str(), lease.key_version), ("de-1", 1));
    assert_eq!(lease.layer.to_string(), LAYER);
    let [entry] = &entries(&world, "layer-key-released")[..] else {
        panic!("one lease");
    };
    for (field, said) in [
        ("host", json!("de-1")),
        ("key", json!("payments")),
        ("policy", json!("payments")),
        ("layer", json!(LAYER)),
        ("expires_at", json!(lease.expires_at)),
        ("clock_end", json!(lease.clock_end)),
        ("reset_count", json!(lease.reset_count)),
    ] {
        assert_eq!(entry[field], said, "{field}");
    }
    let verdict = world.server.get("/v1/hosts/de-1").await;
    assert_eq!(entry["result_entry"], verdict["entry"]);

    // K2, K3: to another TPM, and after a reboot of its own.
    let other = Host::boot(&maker.authority, "de-2", Profile::Healthy);
    world.join(&other, Some("DE")).await;
    let other = Liar::take(&other, &world.server).await;
    assert!(other.open(&wish, &release).await.is_err());
    assert_eq!(liar.open(&wish, &release).await.unwrap(), options());
    host.reboot();
    assert!(liar.open(&wish, &release).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_healthy_host_in_the_region_gets_a_key_and_the_others_are_told_why() {
    let (world, host, maker) = healthy_host().await;
    let annotation = encrypted(&world, &[]).await;
    let joined = async |name: &str, profile, country| {
        let host = Host::boot(&maker.authority, name, profile);
        world.join(&host, country).await;
        let liar = Liar::take(&host, &world.server).await;
        (host, liar)
    };
    let told = async |liar: &Liar, code: &str, words: &str| {
        let problem = ask(liar, &annotation).await.unwrap_err();
        assert_eq!(problem.code, code, "{}", problem.detail);
        assert!(problem.detail.contains(words), "{}", problem.detail);
    };
    let (_abroad, liar) = joined("us-1", Profile::Healthy, Some("US")).await;
    told(&liar, "region-mismatch", "outside the region `germany`").await;
    let (_altered, liar) = joined("de-2", Profile::Altered, Some("DE")).await;
    let cause = "kernel command line changed";
    told(&liar, "tier-insufficient", cause).await;
    let (_nowhere, liar) = joined("x-1", Profile::Healthy, None).await;
    told(&liar, "tier-insufficient", "no location tag").await;
    let refused: Vec<Value> = entries(&world, "layer-key-refused");
    let hosts: Vec<&str> = refused
        .iter()
        .map(|entry| entry["host"].as_str().unwrap())
        .collect();
    assert_eq!(hosts, ["us-1", "de-2", "x-1"]);
    assert!(entries(&world, "layer-key-released").is_empty());

    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(code(ask(&liar, &annotation).await), "none");
    let wish = liar.wish(&annotation).await;
    world
        .server
        .command(&["host", "retire", "de-1", "--reason", "old"]);
    assert_eq!(code(liar.ask_release(&wish).await), "host-retired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_without_a_certified_key_of_its_own_releases_nothing() {
    let (world, host, _maker) = healthy_host().await;
    let annotation = encrypted(&world, &[]).await;
    let liar = Liar::take(&host, &world.server).await;
    let lie = async |lie: fn(&mut ReleaseRequest)| {
        let mut wish = liar.wish(&annotation).await;
        lie(&mut wish);
        code(liar.ask_release(&wish).await)
    };
    let none = lie(|wish| wish.evidence.release_key = None).await;
    assert_eq!(none, "qualifying-data-mismatch");
    let quote = lie(|wish| {
        let quote = wish.evidence.quote.clone();
        wish.evidence.release_key.as_mut().unwrap().certification = quote;
    });
    assert_eq!(quote.await, "release-key-not-certified");
    // K2: the same request again, and an ordinary round.
    let wish = liar.wish(&annotation).await;
    assert_eq!(code(liar.ask_release(&wish).await), "none");
    assert_eq!(code(liar.ask_release(&wish).await), "release-key-absent");
    let mut plain = liar.wish(&annotation).await;
    plain.evidence = liar.evidence(&liar.challenge().await).await;
    assert_eq!(code(liar.ask_release(&plain).await), "release-key-absent");
    assert_eq!(entries(&world, "layer-key-released").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_that_was_changed_or_swapped_opens_nothing() {
    let (world, host, _maker) = healthy_host().await;
    let honest = encrypted(&world, &[]).await;
    let second = ["key", "create", "second", "--policy", "payments"];
    world.server.command(&second);
    world.server.command(&["key", "rotate", "payments"]);
    let liar = Liar::take(&host, &world.server).await;
    let with = |field: &str, value: Value| {
        let mut changed: Value = serde_json::from_slice(&honest).unwrap();
        assert_ne!(changed[field], value);
        changed[field] = value;
        serde_json::to_vec(&changed).unwrap()
    };
    for (annotation, expected) in [
        (with("key", json!("second")), "annotation-not-opened"),
        (with("key", json!("nobodys")), "layer-key-unknown"),
        (with("key_version", json!(2)), "annotation-not-opened"),
        (with("key_version", json!(9)), "layer-key-version-unknown"),
        (with("policy", json!("lax")), "annotation-not-opened"),
        (
            with("layer", json!(format!("sha256:{}", "0".repeat(64)))),
            "annotation-not-opened",
        ),
        (with("version", json!(2)), "annotation-version"),
        (honest[1..].to_vec(), "annotation-malformed"),
    ] {
        let shown = String::from_utf8_lossy(&annotation).into_owned();
        assert_eq!(code(ask(&liar, &annotation).await), expected, "{shown}");
    }
    let mut large = liar.wish(&honest).await;
    large.annotation = vec![b'a'; 2 << 20].into();
    assert_eq!(code(liar.ask_release(&large).await), "malformed-body");
    assert_eq!(code(ask(&liar, &honest).await), "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_disabled_destroyed_or_of_no_policy_in_force_is_not_released() {
    let (world, host, _maker) = healthy_host().await;
    let annotation = encrypted(&world, &[]).await;
    let liar = Liar::take(&host, &world.server).await;
    let key = |act: &[&str]| world.server.command(&[&["key"], act].concat());
    key(&["disable", "payments"]);
    assert_eq!(code(ask(&liar, &annotation).await), "layer-key-disabled");
    key(&["enable", "payments"]);
    assert_eq!(code(ask(&liar, &annotation).await), "none");
    let manifests = std::fs::read_to_string(touchstone_tests::world::sample_policy()).unwrap();
    let renamed = manifests.replace("name: payments", "name: others");
    let file = world.server.file("renamed.yaml", &renamed);
    world.server.command(&["policy", "apply", &file, "--drain"]);
    let gone = code(ask(&liar, &annotation).await);
    assert_eq!(gone, "workload-policy-unknown");
    let file = world.server.file("again.yaml", &manifests);
    world.server.command(&["policy", "apply", &file]);
    assert_eq!(code(ask(&liar, &annotation).await), "none");
    key(&["destroy", "payments", "--yes"]);
    assert_eq!(code(ask(&liar, &annotation).await), "layer-key-destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_key_opens_layers_of_registered_images_alone() {
    let (world, host, _maker) = healthy_host().await;
    let annotation = encrypted(&world, &["--registered"]).await;
    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(code(ask(&liar, &annotation).await), "manifest-missing");
    let manifest = manifest(&[&annotation]);
    let digest = touchstone_evidence::digest::Sha256Digest::of(&manifest);
    let digest = touchstone_evidence::oci_digest::OciDigest(digest);
    let named = async || {
        let mut wish = liar.wish(&annotation).await;
        wish.manifest = Some(digest);
        code(liar.ask_release(&wish).await)
    };
    assert_eq!(named().await, "image-unregistered");
    let image = json!({ "reference": "r/p:1", "manifest": base64(&manifest) });
    let operator = world.server.operator();
    let token = operator["token"].as_str();
    let (status, said) = world
        .server
        .send(reqwest::Method::POST, "/v1/images", token, Some(&image))
        .await;
    assert!(status.is_success(), "{said}");
    assert_eq!(named().await, "none");
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
