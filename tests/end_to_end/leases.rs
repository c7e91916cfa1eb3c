//! Leases: what hosts were given keys for, who may be given which no more, and what a host is told until it has purged it.

use serde_json::{Value, json};
use touchstone_agent::client::{Client, Problem};
use touchstone_evidence::encoded::Few;
use touchstone_evidence::wire::{ContainerRuntime, Purge, Release, RevokedLease};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{World, healthy_host};

use crate::layer_keys::{LAYER, annotation, publisher, wrap};

/// Annotations of the same layer under keys of the sample's policy `payments`.
async fn encrypted<const COUNT: usize>(world: &World, keys: [&str; COUNT]) -> [Vec<u8>; COUNT] {
    let publisher = publisher(&world.server, "ci");
    let mut all = [const { Vec::new() }; COUNT];
    for (key, wrapped) in keys.into_iter().zip(&mut all) {
        let create = ["key", "create", key, "--policy", "payments"];
        world.server.command(&create);
        *wrapped = annotation(&wrap(&world.server, &publisher, key).await.unwrap());
    }
    all
}

async fn ask(liar: &Liar, annotation: &[u8]) -> Result<Release, Problem> {
    let wish = liar.wish(annotation).await;
    liar.ask_release(&wish).await
}

fn code(asked: Result<Release, Problem>) -> String {
    asked.map_or_else(|problem| problem.code, |_| "none".to_owned())
}

/// The keys of the leases that the next round of a host is told of.
async fn told(liar: &Liar) -> Vec<String> {
    let answer = liar.lie(|_| ()).await.unwrap();
    let leases = answer.revoked.0.into_iter();
    leases
        .map(|lease| {
            assert_eq!(lease.layer.to_string(), LAYER);
            format!("{} {}", lease.key.as_str(), lease.key_version)
        })
        .collect()
}

/// Says, as the host's agent, that nothing is left of a lease.
async fn purged(liar: &Liar, key: &str) {
    let identity = &liar.identity;
    let agent = Client::new(&identity.server, &identity.ca, &identity.keys.tls).unwrap();
    let lease = RevokedLease {
        key: key.parse().unwrap(),
        key_version: 1,
        layer: LAYER.parse().unwrap(),
    };
    let purge = Purge {
        runtime: ContainerRuntime::Podman,
        digests: Few::default(),
        complete: true,
        leases: Few(vec![lease]),
    };
    agent.purged(&purge).await.unwrap();
}

/// Host, key and state of each lease in a list.
fn listed(world: &World, more: &[&str]) -> Vec<String> {
    let list = world.server.command(&[&["lease", "list"], more].concat());
    let leases = list["leases"].as_array().unwrap().iter();
    let word = |lease: &Value, name: &str| lease[name].as_str().unwrap().to_owned();
    leases
        .map(|lease| {
            ["host", "key", "state"]
                .map(|name| word(lease, name))
                .join(" ")
        })
        .collect()
}

fn act(world: &World, act: &str, more: &[&str]) -> Value {
    let command = ["lease", act, "--host", "de-1", "--reason", "it moved"];
    world.server.command(&[&command[..], more].concat())
}

const PAYMENTS: &[&str] = &["--key", "payments"];

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_taken_back_from_a_host_is_its_no_more_and_others_keep_theirs() {
    let (world, host, maker) = healthy_host().await;
    let [payments, second] = encrypted(&world, ["payments", "second"]).await;
    let other = Host::boot(&maker.authority, "de-2", Profile::Healthy);
    world.join(&other, Some("DE")).await;
    let other = Liar::take(&other, &world.server).await;
    let liar = Liar::take(&host, &world.server).await;
    for (liar, annotation) in [(&liar, &payments), (&liar, &second), (&other, &payments)] {
        assert!(!ask(liar, annotation).await.unwrap().round_due);
    }
    assert!(told(&liar).await.is_empty());
    let all =
        ["de-1 payments", "de-1 second", "de-2 payments"].map(|one| format!("{one} in-force"));
    assert_eq!(listed(&world, &[]), all);

    assert_eq!(
        act(&world, "revoke", PAYMENTS),
        json!({ "changed": true, "leases": 1 })
    );
    assert_eq!(
        act(&world, "revoke", PAYMENTS),
        json!({ "changed": false, "leases": 1 })
    );
    let refused = ask(&liar, &payments).await.unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.status),
        ("lease-revoked", 403)
    );
    let words = "the key payments was taken back from this host";
    assert!(refused.detail.contains(words), "{}", refused.detail);
    // Whatever else it asks for, it hears that there is something to hear.
    assert!(ask(&liar, &second).await.unwrap().round_due);
    assert!(!ask(&other, &payments).await.unwrap().round_due);
    assert!(told(&other).await.is_empty());
    assert_eq!(told(&liar).await, ["payments 1"]);
    let of_host = ["--host", "de-1"];
    assert_eq!(
        listed(&world, &of_host),
        ["de-1 payments revoked", "de-1 second in-force"]
    );

    // It is told until it says that nothing is left, and of another lease's end nobody believes it.
    purged(&liar, "second").await;
    assert_eq!(told(&liar).await, ["payments 1"]);
    purged(&liar, "payments").await;
    assert!(told(&liar).await.is_empty());
    assert_eq!(
        listed(&world, &of_host),
        ["de-1 payments purged", "de-1 second in-force"]
    );
    assert!(!ask(&liar, &second).await.unwrap().round_due);
    assert_eq!(code(ask(&liar, &payments).await), "lease-revoked");

    assert_eq!(act(&world, "restore", PAYMENTS)["changed"], true);
    assert_eq!(code(ask(&liar, &payments).await), "none");
    assert_eq!(
        listed(&world, PAYMENTS),
        ["de-1 payments in-force", "de-2 payments in-force"]
    );
    let entries = world.server.audit_entries().into_iter();
    let acts: Vec<Value> = entries
        .filter(|entry| entry["kind"].as_str().unwrap().starts_with("leases-"))
        .collect();
    let [revoked, restored] = &acts[..] else {
        panic!("{acts:?}");
    };
    assert_eq!(
        (&revoked["kind"], &revoked["leases"]),
        (&json!("leases-revoked"), &json!(1))
    );
    for entry in [revoked, restored] {
        let said = ["host", "key", "reason", "actor"].map(|name| entry[name].as_str().unwrap());
        assert_eq!(said, ["de-1", "payments", "it moved", "operator"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_can_be_taken_back_at_once_and_not_be_given_back_one_by_one() {
    let (world, host, _maker) = healthy_host().await;
    let [payments, second] = encrypted(&world, ["payments", "second"]).await;
    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(code(ask(&liar, &payments).await), "none");
    assert_eq!(
        act(&world, "revoke", &[]),
        json!({ "changed": true, "leases": 1 })
    );
    // Also a key that it never had.
    for annotation in [&payments, &second] {
        assert_eq!(code(ask(&liar, annotation).await), "lease-revoked");
    }
    let list = world.server.command(&["lease", "list", "--key", "second"]);
    assert_eq!(list["revocations"][0]["host"], "de-1");
    assert_eq!(list["revocations"][0]["key"], Value::Null);
    let restore = ["lease", "restore", "--host", "de-1", "--key", "second"];
    assert_eq!(world.server.refusal(&restore), "every-lease-revoked");
    assert_eq!(code(ask(&liar, &second).await), "lease-revoked");
    act(&world, "restore", &[]);
    assert_eq!(code(ask(&liar, &second).await), "none");
    assert!(told(&liar).await.is_empty());
    for (wrong, expected) in [
        (["--host", "nobody", "--key", "second"], "host-unknown"),
        (["--host", "de-1", "--key", "nobodys"], "layer-key-unknown"),
    ] {
        let said = world
            .server
            .refusal(&[&["lease", "revoke"][..], &wrong].concat());
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_key_end_with_it_and_of_a_host_with_its_identity() {
    let (world, host, _maker) = healthy_host().await;
    let [payments, second] = encrypted(&world, ["payments", "second"]).await;
    let liar = Liar::take(&host, &world.server).await;
    for annotation in [&payments, &second] {
        assert_eq!(code(ask(&liar, annotation).await), "none");
    }
    let key = |act: &[&str]| world.server.command(&[&["key"], act].concat());
    key(&["disable", "payments"]);
    assert_eq!(told(&liar).await, ["payments 1"]);
    key(&["enable", "payments"]);
    assert!(told(&liar).await.is_empty());
    key(&["disable", "payments"]);
    key(&["destroy", "second", "--yes"]);
    assert_eq!(told(&liar).await, ["payments 1", "second 1"]);
    purged(&liar, "second").await;
    assert_eq!(told(&liar).await, ["payments 1"]);
    assert_eq!(
        listed(&world, &[]),
        ["de-1 payments revoked", "de-1 second purged"]
    );
    key(&["enable", "payments"]);
    assert_eq!(listed(&world, PAYMENTS), ["de-1 payments in-force"]);
    // With other keys it is another one: what it was given before is revoked.
    world.server.command(&["host", "reenrol", "de-1"]);
    let enrolled = host.enrol_again(&world.server, &world.join_token);
    assert!(enrolled.is_ok(), "{enrolled:?}");
    assert_eq!(listed(&world, PAYMENTS), ["de-1 payments revoked"]);
    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(told(&liar).await, ["payments 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_and_a_restart_lose_nothing_that_is_to_be_purged() {
    let (mut world, host, _maker) = healthy_host().await;
    let [payments] = encrypted(&world, ["payments"]).await;
    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(code(ask(&liar, &payments).await), "none");
    act(&world, "revoke", PAYMENTS);
    let evidence = liar.evidence(&liar.challenge().await).await;
    let answer = liar.send(&evidence).await.unwrap();
    assert_eq!(answer.revoked.0.len(), 1);
    let database = world.server.database();
    world.server.kill();
    world.server.restart_with(&database, &[]);
    assert_eq!(liar.send(&evidence).await.unwrap(), answer);
    assert_eq!(told(&liar).await, ["payments 1"]);
    assert_eq!(code(ask(&liar, &payments).await), "lease-revoked");
    purged(&liar, "payments").await;
    world.server.kill();
    world.server.restart_with(&database, &[]);
    assert!(told(&liar).await.is_empty());
    assert_eq!(listed(&world, &[]), ["de-1 payments purged"]);
}

/// More than one page, past the attestor: nobody asks for so many keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_many_leases_comes_in_pages() {
    let (world, _host, _maker) = healthy_host().await;
    let rows = (0..1203).map(|n: u32| {
        let layer = match world.server.database() {
            Database::Sqlite => format!("x'{n:064x}'"),
            Database::Postgres(_) => format!("'\\x{n:064x}'"),
        };
        let host = ["de-1", "de-7"][usize::from(n % 2 == 1)];
        format!("('{host}', 'k', 1, {layer}, 'p', 1, 2, {layer})")
    });
    let rows: Vec<String> = rows.collect();
    let columns = "host, name, version, layer, policy, issued_at, expires_at, entry";
    let insert = format!("INSERT INTO leases ({columns}) VALUES {}", rows.join(", "));
    world.server.execute(&insert).await;
    let first = world.server.get("/v1/leases").await;
    assert_eq!(first["leases"].as_array().unwrap().len(), 500);
    assert!(first["next"].is_string());
    assert_eq!(listed(&world, &[]).len(), 1203);
    assert_eq!(
        listed(&world, &["--host", "de-7"]),
        vec!["de-7 k over"; 601]
    );
    world
        .server
        .command(&["key", "create", "payments", "--policy", "payments"]);
    assert!(listed(&world, &["--host", "de-1", "--key", "payments"]).is_empty());
    for (names, hint) in [
        (["--host", "de-8"], "no host `de-8` is in the inventory"),
        (["--key", "j"], "there is no key `j`"),
    ] {
        let output = world.server.run(&[&["lease", "list"], &names[..]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(hint), "{said}");
    }
    for (query, expected) in [
        ("after=x", "malformed-query"),
        ("hosts=x", "malformed-query"),
    ] {
        let operator = world.server.operator();
        let path = format!("/v1/leases?{query}");
        let asked = world.server.send(
            reqwest::Method::GET,
            &path,
            operator["token"].as_str(),
            None,
        );
        let (status, said) = asked.await;
        assert_eq!(status, 400, "{said}");
        assert_eq!(said["type"], format!("touchstone:{expected}"));
    }
}
