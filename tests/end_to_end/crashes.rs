//! The attestor dies without warning, at each step of a commit, a hundred times on each database: what it
//! acknowledged is there row by row, what it had not is there once or not at all, and the log verifies.

use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::rows::Rows;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies::{Liar, code};

use crate::ledger::{Counts, Held, Ledger, ask_again, attest_until_refused, compare_export};

const KILLS: usize = 100;
const STEPS: [&str; 4] = ["begun", "written", "committed", "published"];

/// Counts the rounds of `ledgers` by what the rows say now, from position `from` of the log on.
async fn count(rows: &Rows, from: usize, ledgers: &[Ledger]) -> (Counts, usize) {
    let held = Held::read(rows, from, ledgers).await;
    let mut all = Counts::default();
    ledgers
        .iter()
        .for_each(|ledger| all.add(&held.count(ledger)));
    (all, held.appraisals())
}

async fn attest_to_death(liar: &Liar) -> Ledger {
    attest_until_refused(liar, &["no-answer"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_hundred_kills() {
    let database = Database::under_test();
    let maker = Maker::new();
    let mut world = World::start(&database, &maker);
    let hosts = ["de-1", "de-2"].map(|name| Host::boot(&maker.authority, name, Profile::Healthy));
    for host in &hosts {
        assert_eq!(world.join(host, Some("DE")).await["tier"], "affirming");
    }
    let [one, two] = &hosts;
    let one = Liar::take(&one.settings(&world.server)).await.unwrap();
    let two = Liar::take(&two.settings(&world.server)).await.unwrap();
    let mut ledgers = Vec::new();
    let mut total = Counts::default();
    let mut from = world.server.audit_entries().len();
    world.server.stop();
    for kill in 0..KILLS {
        let step = STEPS[kill % STEPS.len()];
        let point = format!("{step}:{}", 3 + kill / STEPS.len() % 5);
        world.server.restart_to_die(&database, &point);
        let (first, second) = tokio::join!(attest_to_death(&one), attest_to_death(&two));
        // It lives from here on, until the next time.
        world.server.restart_to_die(&database, "never:0");
        let mut life = [first, second];
        let rows = Rows::of(&database, world.server.folder()).await;
        total.add(&count(&rows, from, &life).await.0);
        from = rows
            .number("SELECT size FROM tree")
            .await
            .try_into()
            .unwrap();
        // Or the next one to die would not be the last one to have used the file.
        rows.close().await;
        for (liar, ledger) in [&one, &two].into_iter().zip(&mut life) {
            ask_again(liar, ledger).await;
        }
        ledgers.extend(life);
        world.server.stop();
    }
    world.server.restart_to_die(&database, "never:0");
    assert!(total.acknowledged > 0, "{total:?}");
    assert!(total.committed + total.absent > KILLS / 2, "{total:?}");
    // A kill before the commit left nothing behind, one after it everything.
    assert!(total.committed > 0 && total.absent > 0, "{total:?}");
    // By now all of them were answered, and nothing else was: each host's first round came before the first kill.
    let rows = Rows::of(&database, world.server.folder()).await;
    let (now, appraisals) = count(&rows, 0, &ledgers).await;
    assert_eq!(now.acknowledged, total.all());
    assert_eq!(appraisals, total.all() + hosts.len());
    let entries = compare_export(&rows, &world.server).await;
    log_verifies(&world).await;
    assert_eq!(code(&one.lie(|_| ()).await.unwrap()), "none");
    let Counts {
        acknowledged,
        committed,
        absent,
    } = total;
    eprintln!(
        "{}: {KILLS} kills, {acknowledged} rounds acknowledged and there row by row, {} in flight: {committed} there \
         once, {absent} not at all; {entries} entries verify",
        database.name(),
        committed + absent
    );
}

async fn log_verifies(world: &World) {
    let export = world.server.run(&["audit", "export"]);
    let file = String::from_utf8(export.stdout).unwrap();
    let file = world.server.file("export.jsonl", &file);
    let keys = world.server.get("/v1/keys").await;
    let key = keys["checkpoint_key"].as_str().unwrap();
    let verify = ["audit", "verify", &file, "--key", key];
    world.server.command(&verify);
}
