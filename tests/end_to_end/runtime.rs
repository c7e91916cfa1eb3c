//! The runtime list: proven from round to round, on both databases, and what a host without one is.

use serde_json::Value;
use touchstone_evidence::ima::PART_MAX;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::world::{Maker, World, healthy_host, runtime_policy};
use touchstone_tpm_sim::runtime_list::{file, violation};

/// Where replay stood after each appraised round, oldest first.
fn appraised(world: &World) -> Vec<Value> {
    let entries = world.server.audit_entries();
    entries
        .into_iter()
        .filter(|entry| entry["kind"] == "host-appraised")
        .collect()
}

fn last_entries(world: &World) -> Value {
    appraised(world).last().unwrap()["runtime"]["entries"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_round_proves_what_is_new() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        world.join(&host, Some("DE")).await;
        world.apply(&runtime_policy("tolerated"));
        let recorded = u64::try_from(Profile::Healthy.recorded().runtime_list.len()).unwrap();
        let outcome = host.attest(&world.server).unwrap();
        assert_eq!(outcome["tier"], "none");
        assert_eq!(outcome["findings"][0]["code"], "runtime-not-judged");
        assert_eq!(outcome["findings"].as_array().unwrap().len(), 1);
        assert_eq!(last_entries(&world), 81);

        // Only what is new is wanted and sent.
        let liar = Liar::take(&host, &world.server).await;
        let challenge = liar.challenge().await;
        assert_eq!(challenge.runtime.unwrap().offset, recorded);
        let nothing = liar.evidence(&challenge).await.runtime.unwrap();
        assert_eq!((nothing.offset, nothing.entries.len()), (recorded, 0));
        let new = file("/usr/bin/new", b"new");
        host.runtime_list
            .measure(&host.tpm, &new.repeat(10))
            .unwrap();
        let sent = liar.evidence(&challenge).await.runtime.unwrap();
        assert_eq!((sent.offset, &sent.entries.0), (recorded, &new.repeat(10)));
        host.attest(&world.server).unwrap();
        assert_eq!(last_entries(&world), 91);

        // The kernel appends before it extends: what runs ahead of the quote is left for the next round.
        host.runtime_list.measure(&host.tpm, &new).unwrap();
        host.runtime_list.append(&new).unwrap();
        host.attest(&world.server).unwrap();
        assert_eq!(last_entries(&world), 92);
        let extends = touchstone_tpm_sim::runtime_list::extends(&new).unwrap();
        host.tpm.replay(&extends).unwrap();
        host.attest(&world.server).unwrap();
        assert_eq!(last_entries(&world), 93);

        host.runtime_list
            .measure(&host.tpm, &violation("/var/log/x"))
            .unwrap();
        host.attest(&world.server).unwrap();
        assert_eq!(
            appraised(&world).last().unwrap()["runtime"]["violations"],
            1
        );

        // A new boot begins a new list.
        host.reboot();
        let outcome = host.attest(&world.server).unwrap();
        assert_eq!(outcome["findings"][0]["code"], "runtime-not-judged");
        assert_eq!(last_entries(&world), 81);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_list_is_caught_up_with_in_several_rounds() {
    let (world, host, _maker) = healthy_host().await;
    world.apply(&runtime_policy("refused"));
    // Long paths, so that few entries fill three messages.
    let path = "a".repeat(4000);
    let entries: Vec<u8> = (0..600)
        .flat_map(|number| file(&format!("/{path}{number}"), b"x"))
        .collect();
    assert!(entries.len() > 2 * PART_MAX);
    host.runtime_list.measure(&host.tpm, &entries).unwrap();
    let before = appraised(&world).len();
    // One `attest --once`.
    let outcome = host.attest(&world.server).unwrap();
    assert_eq!(outcome["findings"][0]["code"], "runtime-not-judged");
    let rounds = appraised(&world);
    let found: Vec<&Value> = rounds[before..]
        .iter()
        .map(|round| &round["findings"][0]["code"])
        .collect();
    assert_eq!(
        found,
        [
            "ima-list-unfinished",
            "ima-list-unfinished",
            "runtime-not-judged"
        ]
    );
    // What is unproven is not counted as proven.
    assert_eq!(rounds[before]["runtime"]["entries"], 81);
    assert_eq!(last_entries(&world), 681);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_is_none_and_a_list_kept_back_is_not() {
    let (world, host, _maker) = healthy_host().await;
    world.apply(&runtime_policy("tolerated"));
    std::fs::remove_file(host.runtime_list.path()).unwrap();
    let withheld = host.attest(&world.server).unwrap();
    assert_eq!(withheld["tier"], "contraindicated");
    assert_eq!(withheld["findings"][0]["code"], "ima-list-withheld");
    // What was proven stands.
    assert_eq!(last_entries(&world), 81);

    // A kernel that measures nothing.
    host.tpm.reboot().unwrap();
    let boot = Profile::Healthy.recorded().events().unwrap();
    host.tpm.replay(&boot).unwrap();
    let absent = host.attest(&world.server).unwrap();
    assert_eq!(absent["tier"], "none");
    assert_eq!(absent["findings"][0]["code"], "ima-list-absent");
    // One that found no TPM has a list, and has measured nothing.
    let recorded = Profile::Healthy.recorded().runtime_list;
    std::fs::write(host.runtime_list.path(), recorded).unwrap();
    let nothing = host.attest(&world.server).unwrap();
    assert_eq!(nothing["tier"], "none");
    assert_eq!(nothing["findings"][0]["code"], "ima-nothing-measured");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proven_round_moves_the_list() {
    let (world, host, _maker) = healthy_host().await;
    world.apply(&runtime_policy("tolerated"));
    let liar = Liar::take(&host, &world.server).await;
    let position = liar.challenge().await.runtime;
    host.runtime_list
        .measure(&host.tpm, &file("/usr/bin/new", b"new"))
        .unwrap();
    // Not authentic; authentic, but no quote of what was asked; older than the last.
    let slow = liar.challenge().await;
    let slow = liar.evidence(&slow).await;
    let flipped = liar.lie(|lie| lie.quote.signature.0[70] ^= 1).await;
    assert_eq!(flipped.unwrap_err(), "signature-invalid");
    assert_eq!(liar.challenge().await.runtime, position);
    let answer = liar
        .lie(|lie| lie.pcrs.0.retain(|pcr, _| *pcr != 3))
        .await
        .unwrap();
    assert_eq!(codes(&answer), ["pcr-values-incomplete"; 2]);
    assert_eq!(answer.challenge.runtime, position);
    assert_eq!(liar.send(&slow).await.unwrap_err(), "quote-not-newer");
    assert_eq!(liar.challenge().await.runtime, position);

    let answer = liar.lie(|_| ()).await.unwrap();
    assert_eq!(answer.tier, TrustTier::None);
    assert_eq!(codes(&answer), ["runtime-not-judged"]);
    assert!(answer.challenge.runtime.unwrap().offset > position.unwrap().offset);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_before_gains_the_list() {
    let (database, maker) = (Database::under_test(), Maker::new());
    let mut world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    world
        .server
        .execute("ALTER TABLE hosts DROP COLUMN runtime")
        .await;
    world
        .server
        .execute("DELETE FROM _sqlx_migrations WHERE version = 2")
        .await;
    world.server.restart_with(&database, &[]);
    let view = world.server.get("/v1/hosts/de-1").await;
    assert_eq!(view["tier"], "affirming");
    // The challenge that the agent holds names bytes that nobody remembers; the next one does not.
    host.attest(&world.server).unwrap();
    host.attest(&world.server).unwrap();
    assert_eq!(last_entries(&world), 81);
}
