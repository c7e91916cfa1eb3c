//! The attack catalogue, run: each row of `attacks.toml` is one lie, told over HTTP on real swtpm or
//! shown by a test at a lower seam, with the code that must come back and no other.

mod operated;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use touchstone_evidence::wire::JoinToken;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{Maker, World, healthy_host, runtime_policy};
use touchstone_tpm_sim::lies::{Enrolled, Enrolling, Group, Told, catalogue};

/// Codes that say only that something does not parse: two different lies must not hide behind one.
const CATCH_ALL: [&str; 6] = [
    "attest-malformed",
    "signature-malformed",
    "key-malformed",
    "ek-certificate-malformed",
    "boot-log-truncated",
    "malformed-body",
];

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
    let world = World::start(&Database::Sqlite, &believed);
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

#[test]
fn every_row_has_its_test_and_no_catch_all_hides_two_lies() {
    let rows = catalogue().unwrap();
    let groups = Group::ALL.map(Group::ids).concat();
    let told: BTreeSet<&str> = groups
        .into_iter()
        .chain(Group::RuntimeLists.ids().iter().copied())
        .chain(operated::TOLD.iter().copied())
        .collect();
    let mut ids = BTreeSet::new();
    let mut behind: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &rows {
        assert!(ids.insert(&row.id), "{} is there twice", row.id);
        match (row.seam.as_str(), &row.test) {
            ("http", None) => assert!(
                told.contains(row.id.as_str()),
                "{} is told by no test",
                row.id
            ),
            (seam, Some(test)) => assert!(exists(seam, test), "{}: no `{test}` in {seam}", row.id),
            (seam, None) => panic!("{}: the seam {seam} needs the name of its test", row.id),
        }
        if CATCH_ALL.contains(&row.expected.as_str()) {
            let line = row.id.trim_end_matches(|c: char| c.is_ascii_lowercase());
            behind.entry(&row.expected).or_default().insert(line);
        }
    }
    for (code, lines) in behind {
        assert!(lines.len() == 1, "`{code}` hides the lies {lines:?}");
    }
    eprintln!("{} rows, {} of them told over HTTP", rows.len(), told.len());
}

/// Whether a test function of this name is in the crate's sources.
fn exists(seam: &str, test: &str) -> bool {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = vec![crates.join(seam)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains(&format!("fn {test}()")) {
                    return true;
                }
            }
        }
    }
    false
}
