//! Location: only the authority's current tag for this very machine, certified in this round.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use touchstone_evidence::location::{LocationAuthority, LocationTag, Place};
use touchstone_evidence::result::TrustTier;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::world::{World, healthy_host};

/// A tag for `host` by the world's own authority, changed by `change`.
pub(crate) async fn signed_tag(
    world: &World,
    host: &str,
    change: impl FnOnce(&mut LocationTag),
) -> Vec<u8> {
    let secret = std::fs::read_to_string(&world.authority_key).unwrap();
    let secret: [u8; 32] = hex::decode(secret.trim()).unwrap().try_into().unwrap();
    let basis = world
        .server
        .get(&format!("/v1/location/hosts/{host}"))
        .await;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let mut tag = LocationTag {
        authority: touchstone_evidence::digest::Sha256Digest::ZERO,
        ek_set: basis["ek_set"].as_str().unwrap().parse().unwrap(),
        serial: basis["next_serial"].as_u64().unwrap(),
        not_before: now - 60,
        not_after: now + 3600,
        place: Place::new("DE", None, "site1").unwrap(),
    };
    change(&mut tag);
    LocationAuthority::from_secret(&secret).sign(tag).unwrap()
}

pub(crate) async fn issue(world: &World, host: &str, tag: &[u8]) -> (reqwest::StatusCode, Value) {
    let operator = world.server.operator();
    let body = json!({ "host": host, "tag": URL_SAFE_NO_PAD.encode(tag) });
    let token = operator["token"].as_str();
    world
        .server
        .send(
            reqwest::Method::POST,
            "/v1/location/tags",
            token,
            Some(&body),
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_not_the_current_one_of_this_machine_proves_no_place() {
    let (world, host, maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let first = liar.tpm.location_tag().await.unwrap().unwrap();

    // G4, G7: the host moves; then the older, still valid tag is written back.
    world.tag(&host, "US");
    // Until the host has proved the new place, the old verdict no longer admits.
    let (admitted, why) = world.server.place("u0", "node-de-1").await;
    assert!(
        !admitted && why.contains("has not proved its place"),
        "{why}"
    );
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
    let (admitted, why) = world.server.place("u1", "node-de-1").await;
    assert!(!admitted && why.contains("outside the region"), "{why}");
    liar.tpm.write_location_tag(&first).await.unwrap();
    let answer = liar.lie(|_| ()).await.unwrap();
    assert_eq!(answer.tier, TrustTier::Contraindicated);
    assert_eq!(codes(&answer), ["location-tag-superseded"]);

    // G1: the tag of another machine.
    let other = Host::boot(&maker.authority, "de-9", Profile::Healthy);
    world.join(&other, Some("DE")).await;
    let theirs = Liar::take(&other, &world.server).await;
    let tag = theirs.tpm.location_tag().await.unwrap().unwrap();
    liar.tpm.write_location_tag(&tag).await.unwrap();
    let answer = liar.lie(|_| ()).await.unwrap();
    assert_eq!(codes(&answer), ["location-tag-other-host"]);

    // G1: unsigned, of an unknown authority, and something else entirely.
    let mut broken = tag.clone();
    *broken.last_mut().unwrap() ^= 1;
    let unknown = LocationAuthority::from_secret(&[9; 32]);
    let forged = unknown
        .sign(LocationTag {
            authority: touchstone_evidence::digest::Sha256Digest::ZERO,
            ek_set: touchstone_evidence::digest::Sha256Digest::ZERO,
            serial: 1,
            not_before: 0,
            not_after: i64::MAX,
            place: Place::new("DE", None, "site1").unwrap(),
        })
        .unwrap();
    for (contents, code) in [
        (broken, "location-signature-invalid"),
        (forged, "location-authority-unknown"),
        (b"Germany, honestly".to_vec(), "location-tag-malformed"),
    ] {
        liar.tpm.write_location_tag(&contents).await.unwrap();
        let answer = liar.lie(|_| ()).await.unwrap();
        assert_eq!(codes(&answer), [code]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certification_is_of_this_round_or_proves_nothing() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // G3: the certification of an earlier round, whose contents are the same.
    let earlier = liar.challenge().await;
    let earlier = liar.evidence(&earlier).await;
    let answer = liar
        .lie(|lie| lie.location = earlier.location.clone())
        .await
        .unwrap();
    assert_eq!(codes(&answer), ["location-not-authentic"]);
    // A quote in its place; nothing in its place, although the quote is bound to a tag.
    let answer = liar.lie(|lie| lie.location = None).await;
    assert_eq!(answer.unwrap_err(), "qualifying-data-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attestor_takes_no_tag_that_it_could_not_verify() {
    let (world, _host, _maker) = healthy_host().await;
    let lower = signed_tag(&world, "de-1", |tag| tag.serial = 1).await;
    let (_, problem) = issue(&world, "de-1", &lower).await;
    assert_eq!(problem["type"], "touchstone:location-serial-not-higher");
    let expired = signed_tag(&world, "de-1", |tag| tag.not_after = tag.not_before + 1).await;
    let (_, problem) = issue(&world, "de-1", &expired).await;
    assert_eq!(problem["type"], "touchstone:location-tag-expired");
    let other = signed_tag(&world, "de-1", |tag| tag.ek_set.0[0] ^= 1).await;
    let (_, problem) = issue(&world, "de-1", &other).await;
    assert_eq!(problem["type"], "touchstone:location-tag-other-host");
    // One that leaves no room for others.
    for serial in [2 + (1 << 32), i64::MAX as u64, u64::MAX] {
        let last = signed_tag(&world, "de-1", |tag| tag.serial = serial).await;
        let (_, problem) = issue(&world, "de-1", &last).await;
        assert_eq!(problem["type"], "touchstone:location-serial-too-high");
    }
    let right = signed_tag(&world, "de-1", |_| ()).await;
    let (status, answer) = issue(&world, "de-1", &right).await;
    assert!(status.is_success(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_ends_with_the_tag_that_it_rests_on() {
    let (world, host, _maker) = healthy_host().await;
    let tag = signed_tag(&world, "de-1", |tag| {
        tag.not_after = tag.not_before + 60 + 4;
    })
    .await;
    issue(&world, "de-1", &tag).await;
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
    assert!(world.server.place("u1", "node-de-1").await.0);
    // Four seconds later nothing has been said, and the pod is refused.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut attempt = 2;
    loop {
        let (admitted, why) = world
            .server
            .place(&format!("u{attempt}"), "node-de-1")
            .await;
        if !admitted {
            assert!(why.contains("has expired"), "{why}");
            break;
        }
        assert!(Instant::now() < deadline, "an expired result still admits");
        attempt += 1;
        tokio::task::yield_now().await;
    }
    let host = world.server.get("/v1/hosts/de-1").await;
    assert_eq!(host["fresh"], false);
}
