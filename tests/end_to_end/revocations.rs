//! Tags and authorities that are taken back, and hosts that prove another place than before.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::world::{World, healthy_host};

use crate::location::{issue, signed_tag};

/// Whether a pod of `payments` may run on the node of `de-1`.
async fn admits(world: &World, uid: &str) -> bool {
    world.server.place(uid, "node-de-1").await.0
}

fn history(world: &World) -> Value {
    world.server.command(&["location", "history", "de-1"])
}

fn entries_of(world: &World, kind: &str) -> Vec<Value> {
    let entries = world.server.audit_entries().into_iter();
    entries.filter(|entry| entry["kind"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_tag_counts_no_more_at_once() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    assert!(admits(&world, "u1").await);
    let other = ["location", "revoke", "--host", "de-1", "--serial", "2"];
    assert_eq!(server.refusal(&other), "location-tag-not-current");
    assert!(admits(&world, "u2").await);
    let why = [
        "location",
        "revoke",
        "--host",
        "de-1",
        "--serial",
        "1",
        "--reason",
        "carried away",
    ];
    assert_eq!(server.command(&why)["serial"], 1);
    assert!(!admits(&world, "u3").await);
    let entries = entries_of(&world, "location-tag-revoked");
    assert_eq!(
        (&entries[0]["host"], &entries[0]["reason"]),
        (&"de-1".into(), &"carried away".into())
    );
    // The host still carries it, and its certification is as good as ever.
    let round = host.attest(server).unwrap();
    assert_eq!(round["tier"], "contraindicated");
    let view = server.get("/v1/hosts/de-1").await;
    assert_eq!(view["findings"][0]["code"], "location-tag-revoked");
    let again = ["location", "revoke", "--host", "de-1"];
    assert_eq!(server.refusal(&again), "location-tag-not-current");

    world.tag(&host, "DE");
    assert_eq!(host.attest(server).unwrap()["tier"], "affirming");
    let told = history(&world);
    let [first, second] = [&told["tags"][0], &told["tags"][1]];
    assert_eq!(
        (&first["ended_by"], &second["ended_by"]),
        (&"revoked".into(), &Value::Null)
    );
    assert!(
        first["proven_at"].is_i64() && second["proven_at"].is_i64(),
        "{told}"
    );
    assert_eq!(told["moves"], Value::Array(vec![]));

    // By its digest, which the entry of its issue names.
    let tag = second["tag"].as_str().unwrap();
    assert_eq!(
        server.command(&["location", "revoke", "--tag", tag])["host"],
        "de-1"
    );
    assert!(!admits(&world, "u4").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_authority_takes_all_its_tags_along() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    let listed = server.command(&["location", "authority", "list"]);
    let id = listed["authorities"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed["authorities"][0]["revoked_at"], Value::Null);
    let forged = signed_tag(&world, "de-1", |_| ()).await;
    let revoked = server.command(&[
        "location",
        "authority",
        "revoke",
        &id,
        "--reason",
        "key lost",
    ]);
    assert_eq!(revoked["hosts"], 1);
    assert!(!admits(&world, "u1").await);
    let why = |view: &Value| {
        let finding = &view["findings"][0];
        (finding["code"].clone(), finding["observed"].clone())
    };
    let revoked: (Value, Value) = ("location-authority-revoked".into(), id.as_str().into());
    assert_eq!(why(&server.get("/v1/hosts/de-1").await), revoked);
    assert_eq!(host.attest(server).unwrap()["tier"], "contraindicated");
    assert_eq!(why(&server.get("/v1/hosts/de-1").await), revoked);
    let listed = server.command(&["host", "list"])["hosts"][0]["summary"].clone();
    let said = "the authority that issued the location tag was revoked";
    assert!(listed.as_str().unwrap().contains(said), "{listed}");
    // Neither tag nor key comes back.
    let (_, problem) = issue(&world, "de-1", &forged).await;
    assert_eq!(problem["type"], "touchstone:location-authority-unknown");
    let secret = std::fs::read_to_string(&world.authority_key).unwrap();
    let secret: [u8; 32] = hex::decode(secret.trim()).unwrap().try_into().unwrap();
    let key = touchstone_evidence::location::LocationAuthority::from_secret(&secret).public_key();
    let body = json!({ "public_key": hex::encode(key.to_bytes()) });
    let operator = server.operator();
    let (_, problem) = server
        .send(
            reqwest::Method::POST,
            "/v1/location/authorities",
            operator["token"].as_str(),
            Some(&body),
        )
        .await;
    assert_eq!(problem["type"], "touchstone:location-authority-revoked");
    let again = ["location", "authority", "revoke", &id];
    assert_eq!(server.refusal(&again), "location-authority-not-believed");
    assert_eq!(history(&world)["tags"][0]["ended_by"], "authority-revoked");
    let entries = entries_of(&world, "location-authority-revoked");
    assert_eq!(
        (&entries[0]["authority"], &entries[0]["reason"]),
        (&id.as_str().into(), &"key lost".into())
    );
    let entries = entries_of(&world, "location-tag-revoked");
    assert_eq!(
        (&entries[0]["authority"], &entries[0]["reason"]),
        (&id.into(), &"key lost".into())
    );

    // Another authority's word counts.
    let world = World {
        authority_key: server
            .folder()
            .join("second.key")
            .to_str()
            .unwrap()
            .to_owned(),
        ..world
    };
    let key = world.authority_key.as_str();
    world
        .server
        .command(&["location", "authority", "create", "--key", key]);
    world.tag(&host, "DE");
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
}

/// Revokes the only authority at an attestor that dies at this step; returns the authority's id.
fn revoke_to_death(world: &mut World, database: &Database, kill_point: &str) -> String {
    world
        .server
        .restart_in(&[("TOUCHSTONE_KILL_POINT", kill_point)], database);
    let listed = world.server.command(&["location", "authority", "list"]);
    let id = listed["authorities"][0]["id"].as_str().unwrap().to_owned();
    let revoke = ["location", "authority", "revoke", &id];
    assert!(!world.server.run(&revoke).status.success());
    id
}

/// Waits until every current tag was taken back.
async fn wait_until_swept(world: &World) {
    let swept = async {
        while world.server.count("location_tags WHERE revoked = 0").await > 0 {
            tokio::task::yield_now().await;
        }
    };
    let swept = tokio::time::timeout(std::time::Duration::from_secs(60), swept);
    swept.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_whose_end_was_cut_off_is_believed_no_more_and_its_hosts_are_voided_at_the_next_start()
 {
    let (mut world, host, _maker) = healthy_host().await;
    let database = world.server.database();
    let forged = signed_tag(&world, "de-1", |_| ()).await;
    let id = revoke_to_death(&mut world, &database, "disbelieved:1");
    world.server.restart_to_die(&database, "never:0");
    let (_, problem) = issue(&world, "de-1", &forged).await;
    assert_eq!(problem["type"], "touchstone:location-authority-unknown");
    wait_until_swept(&world).await;
    assert!(!admits(&world, "u1").await);
    assert_eq!(
        host.attest(&world.server).unwrap()["tier"],
        "contraindicated"
    );
    let entries = entries_of(&world, "location-tag-revoked");
    assert_eq!(
        (&entries[0]["authority"], &entries[0]["actor"]),
        (&id.into(), &"attestor".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tags_of_a_revoked_authority_are_taken_back_in_pages_each_tag_once() {
    const MORE: i64 = 620;
    let (mut world, _host, _maker) = healthy_host().await;
    let database = world.server.database();
    world
        .server
        .execute(&format!(
            "CREATE TABLE numbers AS WITH RECURSIVE numbers (n) AS
                 (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MORE}) SELECT n FROM numbers;
             INSERT INTO inventory (host, added_at) SELECT 'x-' || n, 0 FROM numbers;
             INSERT INTO location_tags (host, serial, tag)
                 SELECT 'x-' || n, serial, tag FROM numbers, location_tags WHERE host = 'de-1'"
        ))
        .await;
    revoke_to_death(&mut world, &database, "pageswept:3");
    let left = world.server.count("location_tags WHERE revoked = 0").await;
    assert_eq!(left, MORE + 1 - 3 * 50);
    world.server.restart_to_die(&database, "never:0");
    wait_until_swept(&world).await;
    let entries = entries_of(&world, "location-tag-revoked");
    let hosts: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry["host"].as_str())
        .collect();
    assert_eq!((entries.len(), hosts.len()), (621, 621));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_proves_another_place_raises_the_alarm() {
    let (world, host, _maker) = healthy_host().await;
    assert_eq!(entries_of(&world, "host-moved").len(), 0);
    for country in ["DE", "US", "US"] {
        world.tag(&host, country);
        // What was said is not proven yet.
        let moved = entries_of(&world, "host-moved").len();
        host.attest(&world.server).unwrap();
        host.attest(&world.server).unwrap();
        assert!(entries_of(&world, "host-moved").len() <= moved + 1);
    }
    let entries = entries_of(&world, "host-moved");
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(
        (&entries[0]["from"]["country"], &entries[0]["to"]["country"]),
        (&"DE".into(), &"US".into())
    );
    assert_eq!(
        (&entries[0]["serial"], &entries[0]["actor"]),
        (&3.into(), &"attestor".into())
    );
    let metrics = world.server.text("/metrics").await;
    assert!(
        metrics.contains("touchstone_host_moves_total 1\n"),
        "{metrics}"
    );
    let told = history(&world);
    assert_eq!(
        (
            told["tags"].as_array().unwrap().len(),
            told["moves"].as_array().unwrap().len()
        ),
        (4, 1)
    );
    let explained = world.server.command(&["host", "explain", "de-1"]);
    assert_eq!(explained["moves"], told["moves"]);
    assert_eq!(
        world.server.refusal(&["location", "history", "de-9"]),
        "host-not-in-inventory"
    );
    let said = world.server.run(&["location", "history", "de-9"]).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("no machine called `de-9`; add it"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_one_host_is_revoked_without_a_look_at_those_of_others() {
    let (world, _host, _maker) = healthy_host().await;
    // A row that nothing can read, before that of the host.
    world
        .server
        .execute(
            "INSERT INTO inventory (host, added_at) VALUES ('!', 0);
             INSERT INTO location_tags (host, serial, tag)
                 SELECT '!', serial, tag FROM location_tags WHERE host = 'de-1'",
        )
        .await;
    let revoke = ["location", "revoke", "--host", "de-1"];
    assert_eq!(world.server.command(&revoke)["host"], "de-1");
    assert!(!admits(&world, "u1").await);
}
