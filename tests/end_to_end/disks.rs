//! Disks that are full or read-only, databases that go away, and write-ahead logs that are torn: nothing that was
//! acknowledged is lost, or the attestor refuses and says why; and it goes on by itself once it can.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use touchstone_evidence::result::TrustTier;
use touchstone_tests::database::Database;
use touchstone_tests::disk::SmallDisk;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::rows::Rows;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies::code;

use crate::ledger::{
    Counts, Held, Ledger, answer, ask_again, attest_until_refused, compare_export, round,
};

/// For what the attestor must find out, or get over, by itself.
const SOON: Duration = Duration::from_secs(20);

/// An attestor with one healthy host.
struct Scene {
    world: World,
    database: Database,
    liar: Liar,
    _host: Host,
    _maker: Maker,
}

impl Scene {
    async fn new(database: Database, start: impl FnOnce(&Database) -> Server) -> Self {
        let maker = Maker::new();
        let world = World::on(start(&database), &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
        let liar = Liar::take(&host, &world.server).await;
        Self {
            world,
            database,
            liar,
            _host: host,
            _maker: maker,
        }
    }

    /// Asks until `/readyz` says this; empty: that it is ready.
    async fn until_ready(&self, code: &str) {
        let begun = Instant::now();
        loop {
            let server = &self.world.server;
            let (status, said) = server.send(Method::GET, "/readyz", None, None).await;
            let problem = said["type"].as_str().unwrap_or_default();
            if problem.trim_start_matches("touchstone:") == code {
                assert_eq!(status == StatusCode::OK, code.is_empty());
                return;
            }
            assert!(begun.elapsed() < SOON, "{said}, not `{code}`");
        }
    }

    /// What the host's verdict stands on.
    async fn last_entry(&self) -> Value {
        self.world.server.get("/v1/hosts/de-1").await["entry"].clone()
    }

    async fn admits(&self, uid: &str) -> bool {
        self.world.server.admits(uid, "node-de-1").await
    }

    /// Rounds until one is refused because nothing can be kept.
    async fn attest_until_refused(&self) -> Ledger {
        attest_until_refused(&self.liar, &["internal"]).await
    }

    /// What was acknowledged is there row by row, what was not is taken now, and the host goes on.
    async fn nothing_is_lost(&self, ledgers: Vec<Ledger>) {
        let rows = Rows::of(&self.database, self.world.server.folder()).await;
        let held = Held::read(&rows, 0, &ledgers).await;
        let mut counts = Counts::default();
        ledgers
            .iter()
            .for_each(|ledger| counts.add(&held.count(ledger)));
        for mut ledger in ledgers {
            ask_again(&self.liar, &mut ledger).await;
        }
        compare_export(&rows, &self.world.server).await;
        rows.close().await;
        let next = self.liar.lie(|_| ()).await.unwrap();
        assert_eq!(next.tier, TrustTier::Affirming, "{:?}", next.findings);
        assert!(self.admits("after").await);
        eprintln!(
            "{}: {} rounds acknowledged and there, {} refused and taken later",
            self.database.name(),
            counts.acknowledged,
            counts.committed + counts.absent
        );
    }
}

async fn fill_the_disk(scene: &Scene, disk: &SmallDisk, code: &str) {
    assert!(scene.admits("before").await);
    let challenge = scene.liar.challenge().await;
    disk.fill();
    let (sent, _) = answer(&scene.liar, &challenge).await;
    let mut ledger = scene.attest_until_refused().await;
    ledger.insert(0, sent);
    scene.until_ready(code).await;
    // Where a decision still finds room it may be given; one that does not is none.
    let admitted = scene.admits("full").await;
    disk.make_room();
    scene.until_ready("").await;
    let entries = scene.world.server.audit_entries();
    let kept = entries
        .iter()
        .any(|entry| entry["pod_uid"] == "full" && entry["admitted"] == true);
    assert!(kept || !admitted, "a pod was admitted and nobody knows");
    scene.nothing_is_lost(vec![ledger]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_on_sqlite() {
    let Some(disk) = SmallDisk::mount(24) else {
        return;
    };
    let start = |database: &_| Server::start_on(database, &disk);
    let mut scene = Scene::new(Database::Sqlite, start).await;
    fill_the_disk(&scene, &disk, "database-unwritable").await;
    // Nor does it start on it.
    scene.world.server.stop();
    disk.fill();
    let said = scene.world.server.refusal_to_start(&scene.database, &[]);
    assert!(said.contains("cannot open the database"), "{said}");
    disk.make_room();
    scene.world.server.restart_with(&scene.database, &[]);
    scene.nothing_is_lost(Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_on_postgresql() {
    let Some(disk) = SmallDisk::mount(128) else {
        return;
    };
    let scene = Scene::new(Database::postgres_on(&disk), Server::start).await;
    fill_the_disk(&scene, &disk, "database-unwritable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_read_only_disk_no_attestor_starts() {
    let Some(disk) = SmallDisk::mount(24) else {
        return;
    };
    let start = |database: &_| Server::start_on(database, &disk);
    let mut scene = Scene::new(Database::Sqlite, start).await;
    scene.world.server.stop();
    disk.set_read_only(true);
    let said = scene.world.server.refusal_to_start(&scene.database, &[]);
    assert!(said.contains("Read-only file system"), "{said}");
    disk.set_read_only(false);
    scene.world.server.restart_with(&scene.database, &[]);
    scene.nothing_is_lost(Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_became_read_only_takes_nothing_and_is_said_to() {
    let scene = Scene::new(Database::postgres(), Server::start).await;
    let set = |value: &str| {
        let setting = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        scene.database.execute(&setting);
        scene.database.execute("SELECT pg_reload_conf()");
    };
    let challenge = scene.liar.challenge().await;
    set("on");
    // A transaction that began before may still write.
    let (sent, _) = answer(&scene.liar, &challenge).await;
    let mut ledger = scene.attest_until_refused().await;
    ledger.insert(0, sent);
    scene.until_ready("database-unwritable").await;
    assert!(!scene.admits("read-only").await);
    set("off");
    scene.until_ready("").await;
    scene.nothing_is_lost(vec![ledger]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_gone_for_a_while_loses_nothing() {
    let scene = Scene::new(Database::postgres(), Server::start).await;
    for outage in 0..3 {
        // It goes while rounds are under way, as if its power failed.
        let before = scene.last_entry().await;
        let under_way = async {
            while scene.last_entry().await == before {}
            scene.database.cluster().fail();
        };
        let rounds = attest_until_refused(&scene.liar, &["internal"]);
        let (ledger, ()) = tokio::join!(rounds, under_way);
        assert!(!ledger.is_empty());
        scene.until_ready("database-unavailable").await;
        assert!(!scene.admits(&format!("gone-{outage}")).await);
        scene.database.cluster().start_again();
        scene.until_ready("").await;
        scene.nothing_is_lost(vec![ledger]).await;
    }
}

/// A reader of an attestor's database who stands still: what is committed from now on stays in the write-ahead log.
async fn reader(folder: &Path) -> SqliteConnection {
    let file = folder.join("touchstone.db");
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut reader = options.connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT size FROM tree")
        .execute(&mut reader)
        .await
        .unwrap();
    reader
}

/// Where a write-ahead log ends: frames of an earlier one may follow, which have other salts
/// (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
fn end(log: &[u8]) -> usize {
    const FRAME: usize = 24 + 4096;
    let salts = &log[16..24];
    let frames = log[32..].chunks_exact(FRAME);
    32 + FRAME * frames.take_while(|frame| &frame[8..16] == salts).count()
}

/// The write-ahead log of an attestor that died, changed by `tear`.
fn tear(folder: &Path, tear: impl FnOnce(&mut Vec<u8>)) {
    let path = folder.join("touchstone.db-wal");
    let mut log = std::fs::read(&path).unwrap();
    log.truncate(end(&log));
    tear(&mut log);
    std::fs::write(&path, log).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_of_the_write_ahead_log_loses_nothing_that_was_acknowledged() {
    let mut scene = Scene::new(Database::Sqlite, Server::start).await;
    for torn in [100, 4096, 5000] {
        let reader = reader(scene.world.server.folder()).await;
        let ledger = attested(&scene, 3).await;
        scene.world.server.kill();
        reader.close().await.unwrap();
        // A power cut in the middle of the next write: a frame that is half there, or wholly and of nobody.
        tear(scene.world.server.folder(), |log| {
            let end = log.len();
            log.extend_from_within(end - torn..);
        });
        scene.world.server.restart_with(&scene.database, &[]);
        scene.until_ready("").await;
        scene.nothing_is_lost(vec![ledger]).await;
        assert_eq!(code(&scene.liar.lie(|_| ()).await), "none");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_ahead_log_that_lost_what_was_signed_is_not_gone_on_with() {
    for cut in [true, false] {
        let mut scene = Scene::new(Database::Sqlite, Server::start).await;
        let reader = reader(scene.world.server.folder()).await;
        attested(&scene, 3).await;
        // Its head is signed, here for an auditor.
        let signed = scene.world.server.audit_entries().len();
        scene.world.server.kill();
        reader.close().await.unwrap();
        tear(scene.world.server.folder(), |log| match cut {
            true => log.truncate(log.len() - 20_000),
            false => {
                let middle = log.len() - 20_000;
                log[middle] ^= 1;
            }
        });
        let said = scene.world.server.refusal_to_start(&scene.database, &[]);
        let lost = format!("a head of {signed} was signed: entries are lost");
        assert!(said.contains(&lost), "{said}");
    }
}

/// This many rounds, all acknowledged.
async fn attested(scene: &Scene, rounds: usize) -> Ledger {
    let mut ledger = Ledger::new();
    for _ in 0..rounds {
        let (sent, refusal) = round(&scene.liar).await.unwrap();
        assert_eq!(refusal, None);
        ledger.push(sent);
    }
    ledger
}
