//! The attestor dies without warning, at each step of a commit, a hundred times on each database: what it
//! acknowledged is there, what it had not is there once or not at all, and the log verifies.

use std::collections::BTreeMap;

use touchstone_evidence::wire::Evidence;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies::Liar;

const KILLS: usize = 100;
const STEPS: [&str; 4] = ["begun", "written", "committed", "published"];

/// What one host sent, and what it was answered; `None`: the attestor died over it.
type Ledger = Vec<(Evidence, Option<String>)>;

/// Attests until the attestor is dead.
async fn attest_to_death(liar: &Liar) -> Ledger {
    let mut ledger = Ledger::new();
    loop {
        let Ok(challenge) = liar.challenge().await else {
            return ledger;
        };
        let evidence = liar.evidence(&challenge).await.unwrap();
        let answer = match liar.send(&evidence).await {
            Ok(Ok(answer)) => Some(answer.result),
            // Whoever hung up gave no answer; nothing else may have come.
            said => {
                assert!(
                    !matches!(&said, Ok(Err(code)) if code != "no-answer"),
                    "{said:?}"
                );
                None
            }
        };
        let over = answer.is_none();
        ledger.push((evidence, answer));
        if over {
            return ledger;
        }
    }
}

/// Asks for all of it again, once the attestor is back: what was answered is answered alike, and what was not is
/// taken now, if it was not before. Returns how many were lost answers.
async fn ask_again(liar: &Liar, ledger: &Ledger) -> usize {
    let mut lost = 0;
    for (evidence, answer) in ledger {
        let again = liar.send(evidence).await.unwrap();
        let again = again.unwrap_or_else(|code| panic!("an answered round is gone: {code}"));
        match answer {
            Some(result) => assert_eq!(*result, again.result),
            None => lost += 1,
        }
    }
    lost
}

async fn die_and_come_back(database: Database) {
    let maker = Maker::new();
    let mut world = World::start(&database, &maker);
    let hosts = ["de-1", "de-2"].map(|name| Host::boot(&maker.authority, name, Profile::Healthy));
    for host in &hosts {
        assert_eq!(world.join(host, Some("DE")).await["tier"], "affirming");
    }
    let [one, two] = &hosts;
    let one = Liar::take(&one.settings(&world.server)).await.unwrap();
    let two = Liar::take(&two.settings(&world.server)).await.unwrap();
    let (mut answered, mut lost) = (0, 0);
    world.server.stop();
    for kill in 0..KILLS {
        let step = STEPS[kill % STEPS.len()];
        let point = format!("{step}:{}", 3 + kill / STEPS.len() % 5);
        world.server.restart_to_die(&database, &point);
        let (first, second) = tokio::join!(attest_to_death(&one), attest_to_death(&two));
        // It lives from here on, until the next time.
        world.server.restart_to_die(&database, "never:0");
        for (liar, ledger) in [(&one, &first), (&two, &second)] {
            lost += ask_again(liar, ledger).await;
            answered += ledger.iter().filter(|(_, answer)| answer.is_some()).count();
        }
        world.server.stop();
    }
    world.server.restart_to_die(&database, "never:0");
    assert!(answered > 0 && lost > KILLS / 2, "{answered} {lost}");
    // One entry for each piece of evidence, and all of them in a log that verifies.
    let mut appraised = BTreeMap::new();
    for entry in world.server.audit_entries() {
        if entry["kind"] == "host-appraised" {
            *appraised.entry(entry["evidence"].to_string()).or_insert(0) += 1;
        }
    }
    assert!(appraised.values().all(|times| *times == 1));
    // Each host's first round, before the first kill.
    assert_eq!(appraised.len(), answered + lost + hosts.len());
    let export = world.server.run(&["audit", "export"]);
    let file = String::from_utf8(export.stdout).unwrap();
    let file = world.server.file("export.jsonl", &file);
    let keys = world.server.get("/v1/keys").await;
    let key = keys["checkpoint_key"].as_str().unwrap();
    world
        .server
        .command(&["audit", "verify", &file, "--key", key]);
    eprintln!(
        "{}: {KILLS} kills, {answered} rounds acknowledged, {lost} in flight",
        database.name()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_hundred_kills_on_sqlite() {
    die_and_come_back(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_hundred_kills_on_postgresql() {
    die_and_come_back(Database::postgres()).await;
}
