//! Databases of every schema so far, with the data of a fleet in them, are brought up to date by the attestor as it
//! starts, on both databases: nothing is lost, and it serves.

mod older;

use reqwest::{Method, StatusCode};
use touchstone_evidence::endorsement::Bundle;
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::wire::{Evidence, RoundAnswer};
use touchstone_tests::authority::Ca;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::rows::Rows;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies::{Said, code};

use crate::endorsements::endorse;
use crate::identity::applicant;
use crate::layer_keys::{annotation, manifest, publisher, register, wrap};
use older::{Table, Today};

/// Tables that stay empty in this fleet. `writes`: written only after a write failed. `key_exchanges`: a log of a schema
/// without it was never at another key than its first. `clusters`, `webhooks`, `workload_…`: written where the attestor sees a
/// cluster.
const EMPTY: [&str; 6] = [
    "clusters",
    "writes",
    "key_exchanges",
    "webhooks",
    "workload_places",
    "workload_moves",
];

/// An attestor with something in every table, and one round whose answer it keeps.
struct Fleet {
    world: World,
    liar: Liar,
    evidence: Evidence,
    answer: RoundAnswer,
    // They live as long as their fleet.
    _host: Host,
    _maker: Maker,
}

impl Fleet {
    async fn new(database: &Database) -> Self {
        let maker = Maker::new();
        let world = World::start(database, &maker);
        let boot = |name: &str| Host::boot(&maker.authority, name, Profile::Healthy);
        let host = boot("de-1");
        assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
        vouched_for(&world);
        world.workload("u0").await;
        others(&world, &boot("gone"), &boot("half"), &boot("stranger")).await;
        let foreign = boot("foreign");
        endorse(&foreign, &Ca::root("Nobody"), 7).await;
        world.admit(&foreign, None).await;
        let refused = applicant(&foreign, &world).await.begin().await;
        assert_eq!(refused.unwrap_err(), "ek-issuer-missing");
        let liar = Liar::take(&host, &world.server).await;
        encrypted_layers(&world, &liar).await;
        let evidence = liar.evidence(&liar.challenge().await).await;
        let answer = liar.send(&evidence).await.unwrap();
        assert_eq!(answer.tier, TrustTier::Affirming);
        let capture = ["reference", "capture", "de-1", "--name", "de"];
        world.server.command(&capture);
        Self {
            world,
            liar,
            evidence,
            answer,
            _host: host,
            _maker: maker,
        }
    }

    /// The attestor serves the database that it finds, and all that `tables` held is there.
    /// Returns what came of the next round.
    async fn serves(&mut self, database: &Database, tables: &[Table]) -> Said {
        let server = &mut self.world.server;
        server.restart_with(database, &[]);
        let (status, said) = server.send(Method::GET, "/readyz", None, None).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let rows = Rows::of(database, server.folder()).await;
        // The log has grown where the key of results was written down for the first time; it verifies below.
        for table in tables.iter().filter(|table| table.name() != "tree") {
            table.assert_kept(&rows).await;
        }
        rows.close().await;
        // The lost answer is the stored one, the verdict holds, and the next round is judged by what was known of
        // the host.
        let entries = tables.iter().find(|table| table.name() == "entries");
        assert!(server.audit_entries().len() >= entries.unwrap().len());
        assert_eq!(self.liar.send(&self.evidence).await.unwrap(), self.answer);
        let view = server.get("/v1/hosts/de-1").await;
        assert_eq!(view["entry"], self.answer.entry.to_string());
        assert!(server.place("u1", "node-de-1").await.0);
        let next = self.liar.lie(|_| ()).await;
        let export = String::from_utf8(server.run(&["audit", "export"]).stdout).unwrap();
        let export = server.file("export.jsonl", &export);
        let key = server.command(&["keys"])["checkpoint_key"].clone();
        server.command(&["audit", "verify", &export, "--key", key.as_str().unwrap()]);
        server.stop();
        next
    }
}

/// Machines that are no hosts: out of service, half enrolled, and rejected. The host may enrol anew.
async fn others(world: &World, gone: &Host, half: &Host, stranger: &Host) {
    let server = &world.server;
    world.join(gone, None).await;
    server.command(&["host", "retire", "gone"]);
    world.admit(half, None).await;
    applicant(half, world).await.begin().await.unwrap();
    server.command(&["host", "reenrol", "de-1"]);
    let refused = applicant(stranger, world).await.begin().await;
    assert!(refused.is_err());
    let list = server.command(&["host", "quarantine", "list"]);
    let ek = list["quarantine"][0]["ek_digest"].as_str().unwrap();
    server.command(&["host", "reject", ek]);
}

/// A key of encrypted layers, a registered image that was encrypted with it, a lease of it, a host that gets no key any
/// more, and a key pair for another key.
async fn encrypted_layers(world: &World, liar: &Liar) {
    let server = &world.server;
    let ci = publisher(server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    let wrapped = wrap(server, &ci, "payments").await.unwrap();
    let annotation = annotation(&wrapped);
    register(server, &ci, &manifest(&[&annotation]))
        .await
        .unwrap();
    let wish = liar.wish(&annotation).await;
    liar.ask_release(&wish).await.unwrap();
    server.command(&["lease", "revoke", "--host", "gone"]);
    server.command(&["key", "import-key"]);
}

/// A maker of machines, and an authority with its revocation list.
fn vouched_for(world: &World) {
    let server = &world.server;
    let (oem, root) = (Ca::root("Machine Works"), Ca::root("Root"));
    let file = server.file("oem.pem", &oem.pem());
    let add = ["inventory", "oem", "add", "--certificate", &file];
    server.command(&[&add[..], &["--host-prefix", "rack-"]].concat());
    let list = Bundle::pem_block("X509 CRL", &root.revoke(1, 2050, &[]));
    let file = server.file("root.pem", &[root.pem(), list].concat());
    server.command(&["endorsement", "import", "--class", "manufacturer", &file]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schema_so_far_is_brought_up_to_date_with_its_data() {
    let database = Database::under_test();
    let mut fleet = Fleet::new(&database).await;
    fleet.world.server.stop();
    let head = fleet.world.server.folder().join("head");
    let signed = std::fs::read(&head).unwrap();
    let today = Today::put_aside(&database, fleet.world.server.folder()).await;
    for schemas in 1..=today.schemas() {
        // Each is the database of that one moment, and so is the head that was signed of it.
        std::fs::write(&head, &signed).unwrap();
        let tables = today.make_older(&database, schemas).await;
        let nothing = |table: &&Table| table.len() == 0 && !EMPTY.contains(&table.name());
        let empty = tables.iter().filter(nothing);
        let empty: Vec<&str> = empty.map(Table::name).collect();
        assert!(
            empty.is_empty(),
            "schema {schemas} has nothing in {empty:?}"
        );
        let next = fleet.serves(&database, &tables).await;
        assert_eq!(code(&next), "none");
        let rows: usize = tables.iter().map(Table::len).sum();
        eprintln!(
            "{}: schema {schemas}, {} tables with {rows} rows, is brought up to date",
            database.name(),
            tables.len()
        );
    }
}

/// Schemas before clusters had names.
const NAMELESS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_before_clusters_had_names_is_of_the_one_that_nobody_named() {
    let database = Database::under_test();
    let mut fleet = Fleet::new(&database).await;
    fleet.world.server.stop();
    let folder = fleet.world.server.folder().to_owned();
    let today = Today::put_aside(&database, &folder).await;
    today.make_older(&database, NAMELESS).await;
    let rows = Rows::of(&database, &folder).await;
    rows.execute(
        "INSERT INTO webhooks (name, seen) VALUES ('touchstone', '{}');
         INSERT INTO workload_places (pod_uid, workload, namespace, pod, node, host, bound_at, ended_at)
         SELECT 'u9', id, namespace, 'api', 'node-de-1', 'de-1', 7, NULL FROM workloads",
    )
    .await;
    rows.close().await;
    fleet.world.server.restart_with(&database, &[]);
    let server = &fleet.world.server;
    for table in ["nodes", "workloads", "workload_places", "webhooks"] {
        let kept = server.count(table).await;
        let of_it = format!("{table} WHERE cluster = 'default'");
        assert!(kept > 0 && server.count(&of_it).await == kept, "{table}");
    }
    // The node is the host's still, and the workload is the one that was recorded.
    let workloads = server.count("workloads").await;
    fleet.world.workload("u9").await;
    assert_eq!(server.count("workloads").await, workloads);
}

/// Schemas before workloads were kept with the size of what is kept of each.
const SIZELESS: usize = 21;

#[tokio::test(flavor = "multi_thread")]
async fn workloads_that_were_kept_before_have_their_size_and_none_is_of_a_cluster_that_nobody_named()
 {
    let database = Database::under_test();
    let mut fleet = Fleet::new(&database).await;
    fleet.world.server.stop();
    let folder = fleet.world.server.folder().to_owned();
    let today = Today::put_aside(&database, &folder).await;
    today.make_older(&database, SIZELESS).await;
    let rows = Rows::of(&database, &folder).await;
    let others = "id, cluster, namespace, kind, name, uid, revision, alone";
    let rest = "entry, recorded_at, seen_at";
    rows.execute(&format!(
        "INSERT INTO workloads ({others}, images, {rest})
         SELECT entry, 'west', namespace, kind, name, uid, revision, 1, '[\"\u{20ac}\"]', {rest} FROM workloads"
    ))
    .await;
    rows.close().await;
    fleet.world.server.restart_with(&database, &[]);
    let rows = Rows::of(&database, &folder).await;
    let sizes = "SELECT cluster, CAST(bytes AS TEXT), images FROM workloads ORDER BY cluster";
    let kept = rows.all(sizes).await;
    assert_eq!(kept.len(), 2);
    for row in kept {
        let row: [Option<String>; 3] = row.try_into().unwrap();
        let [cluster, bytes, images] = row.map(Option::unwrap);
        assert_eq!(bytes, images.len().to_string(), "{cluster}");
    }
    let nameless = others.replace("cluster, ", "");
    let forgets = format!(
        "INSERT INTO workloads ({nameless}, bytes, images, {rest})
         SELECT unhex('0' || alone), namespace, kind, name, uid, revision, alone, bytes, images, {rest} FROM workloads"
    );
    let refused = rows.try_to(&forgets).await.unwrap_err();
    assert!(refused.to_string().contains("cluster"), "{refused}");
    rows.close().await;
}
