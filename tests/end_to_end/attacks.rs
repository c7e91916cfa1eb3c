//! The attack catalogue, run: each row of `attacks.toml` is one lie, told over HTTP on real swtpm or
//! shown by a test at a lower seam, with the code that must come back and no other.

mod operated;
mod rows;

use std::collections::BTreeSet;

use touchstone_evidence::wire::JoinToken;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{Maker, World, healthy_host, runtime_policy};
use touchstone_tpm_sim::lies::{Enrolled, Enrolling, Group, Told, catalogue};

/// Each lie of `ids` was told, no other, and got the code of its row.
fn compare(told: &Told, ids: &[&str]) {
    let all: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(told.keys().copied().collect::<BTreeSet<_>>(), all);
    let rows = catalogue().unwrap();
    let mut wrong = Vec::new();
    for (id, code) in told {
        let row = rows.iter().find(|row| row.id == *id && row.seam == "http");
        let row = row.unwrap_or_else(|| panic!("{id} is told and has no row in attacks.toml"));
        if *code != row.expected {
            wrong.push(format!(
                "{id}, {}: `{code}`, not `{}`",
                row.lie, row.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The lies of an enrolled host, on a world of their own.
async fn tell_enrolled(group: Group) {
    let (world, host, maker) = healthy_host().await;
    let neighbour = Host::boot(&maker.authority, "de-7", Profile::Healthy);
    world.join(&neighbour, Some("DE")).await;
    let liar = Liar::take(&host, &world.server).await;
    let other = Liar::take(&neighbour, &world.server).await;
    let scene = Enrolled {
        liar: &liar,
        machine: host.machine(),
        other: &other,
    };
    let held = world.server.get("/v1/hosts/de-7").await["entry"].clone();
    compare(&scene.tell(group).await.unwrap(), group.ids());
    // Nothing that was posted in another's name moved its verdict.
    assert_eq!(world.server.get("/v1/hosts/de-7").await["entry"], held);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_quotes_get_their_own_answers() {
    tell_enrolled(Group::Quotes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_boot_logs_get_their_own_answers() {
    tell_enrolled(Group::Logs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_places_get_their_own_answers() {
    tell_enrolled(Group::Places).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_runtime_lists_get_their_own_answers() {
    let (world, host, _maker) = healthy_host().await;
    world.apply(&runtime_policy("refused"));
    let liar = Liar::take(&host, &world.server).await;
    let scene = Enrolled {
        liar: &liar,
        machine: host.machine(),
        other: &liar,
    };
    let group = Group::RuntimeLists;
    compare(&scene.tell(group).await.unwrap(), group.ids());
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_that_need_an_operator_get_their_own_answers() {
    compare(&operated::tell().await, operated::TOLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_endorsements_get_their_own_answers() {
    let (believed, unknown) = (Maker::new(), Maker::new());
    let world = World::start(&Database::under_test(), &believed);
    let boot = |maker: &Maker, name| Host::boot(&maker.authority, name, Profile::Healthy);
    let machines = [
        boot(&believed, "de-1"),
        boot(&believed, "de-2"),
        boot(&unknown, "de-3"),
    ];
    for machine in &machines {
        world.admit(machine, None).await;
    }
    let stranger = boot(&believed, "stranger");
    let [applicant, second, foreign] = machines.each_ref().map(|machine| machine.tpm.tcti());
    let token = std::fs::read_to_string(&world.join_token).unwrap();
    let token: JoinToken = token.parse().unwrap();
    let enrolling = Enrolling {
        token: &token,
        applicant: &applicant,
        second: &second,
        foreign: &foreign,
        stranger: &stranger.tpm.tcti(),
    };
    compare(&enrolling.tell().await.unwrap(), Group::Endorsements.ids());
}
