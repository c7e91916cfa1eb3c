//! Importing what makers publish, seeing what was imported and who is missing, and production.

use crate::identity::applicant;
use serde_json::Value;
use touchstone_evidence::endorsement::Bundle;
use touchstone_evidence::tpm::public::Public;
use touchstone_tests::authority::Ca;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies::Applicant;
use touchstone_tpm_sim::swtpm::RunningTpm;

/// Where the certificate of the RSA-2048 EK is.
const RSA_2048: u32 = 0x01c0_0002;

/// The code of a command's refusal.
fn refusal(server: &Server, arguments: &[&str]) -> String {
    let output = server.run(arguments);
    assert!(!output.status.success(), "{arguments:?} is not refused");
    let said = String::from_utf8(output.stderr).unwrap();
    let code = said.rsplit("touchstone:").next().unwrap_or_default();
    code.trim_end().trim_end_matches(')').to_owned()
}

/// Puts `ca`'s certificate for the machine's RSA-2048 EK in place of its maker's.
pub(crate) async fn endorse(host: &Host, ca: &Ca, serial: u64) {
    let tpm = touchstone_agent::tpm::Tpm::open(&host.tpm.tcti()).await;
    let ek = tpm.unwrap().endorsement().await.unwrap().public;
    replace(&host.tpm, RSA_2048, &ca.endorse(&ek, serial));
}

fn replace(tpm: &RunningTpm, index: u32, contents: &[u8]) {
    tpm.remove_index(index).unwrap();
    tpm.store_index(index, contents).unwrap();
}

fn file_of(server: &Server, name: &str, der: &[u8]) -> String {
    let path = server.folder().join(name);
    std::fs::write(&path, der).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_manufacturers_bundle_imports() {
    let Some(corpus) = std::env::var_os("TOUCHSTONE_CORPUS") else {
        return eprintln!(
            "SKIPPED: TOUCHSTONE_CORPUS is not set, so no vendor's bundle was imported"
        );
    };
    let folder = std::path::Path::new(&corpus).join("ek-roots");
    let [roots, intermediates] = [
        "loicsikidi-MIRROR.tpm-ca-certificates.pem",
        "loicsikidi-MIRROR.tpm-intermediate-ca-certificates.pem",
    ]
    .map(|name| folder.join(name).to_str().unwrap().to_owned());
    let server = Server::start_with(&Database::under_test(), &["--production"]);
    let import = ["endorsement", "import", "--class", "manufacturer"];
    let imported = server.command(&[&import[..], &[&roots, &intermediates]].concat());
    // Three "roots" are signed by a CA above them, so they come in as intermediates.
    assert_eq!(
        (&imported["roots"], &imported["intermediates"]),
        (&23.into(), &146.into())
    );
    let listed = server.command(&["endorsement", "list"]);
    assert_eq!(listed["roots"].as_array().unwrap().len(), 23);
    assert_eq!(listed["intermediates"].as_array().unwrap().len(), 146);
    for root in listed["roots"].as_array().unwrap() {
        assert_eq!(root["hosts"], 0);
        assert!(
            root["subject"]
                .as_str()
                .is_some_and(|name| !name.is_empty())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_maker_is_missing_is_remembered_until_it_is_imported() {
    for database in Database::each_under_test() {
        let (believed, missing) = (Maker::new(), Ca::root("Missing Maker"));
        let world = World::start(&database, &believed);
        let host = Host::boot(&believed.authority, "de-1", Profile::Healthy);
        endorse(&host, &missing, 1).await;
        world.admit(&host, None).await;
        let unmatched = || world.server.command(&["endorsement", "unmatched"])["unmatched"].clone();
        assert_eq!(unmatched(), Value::Array(Vec::new()));
        for _ in 0..2 {
            let refused = host.enrol(&world.server, &world.join_token).unwrap_err();
            assert!(refused.contains("ek-issuer-missing"), "{refused}");
        }
        let row = unmatched()[0].clone();
        assert_eq!(
            (&row["host"], &row["attempts"]),
            (&"de-1".into(), &2.into())
        );
        assert_eq!(row["authority"], "CN=Missing Maker");
        assert_eq!(row["code"], "ek-issuer-missing");

        let file = world.server.file("missing.pem", &missing.pem());
        let import = ["endorsement", "import", "--class", "manufacturer"];
        let narrow = ["--manufacturer", "id:494E5443,id:00001014", &file];
        world.server.command(&[&import[..], &narrow].concat());
        host.enrol(&world.server, &world.join_token).unwrap();
        assert_eq!(unmatched(), Value::Array(Vec::new()));
        let listed = world.server.command(&["endorsement", "list"]);
        let roots = listed["roots"].as_array().unwrap();
        let root = roots
            .iter()
            .find(|root| root["class"] == "manufacturer")
            .unwrap();
        assert_eq!(
            (&root["hosts"], &root["subject"]),
            (&1.into(), &"CN=Missing Maker".into())
        );
        assert_eq!(
            root["manufacturers"],
            serde_json::json!(["id:00001014", "id:494E5443"])
        );
        assert!(listed["simulator_root_since"].is_i64());
        // A root of a real maker, a TPM without a known flaw: the hardware is affirmed.
        let vector = host.attest(&world.server).unwrap();
        assert!(vector["tier"].is_string());
        let view = world.server.get("/v1/hosts/de-1").await;
        assert_eq!(view["vector"]["hardware"], "affirming", "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_vouches_only_for_the_manufacturers_named_at_its_import() {
    let (maker, ca) = (Maker::new(), Ca::root("Narrow"));
    let world = World::start(&Database::under_test(), &maker);
    let file = world.server.file("narrow.pem", &ca.pem());
    let import = ["endorsement", "import", "--class", "manufacturer"];
    world
        .server
        .command(&[&import[..], &["--manufacturer", "id:494E5443", &file]].concat());
    // The same root with other words is a mistake of somebody.
    let widened = [&import[..], &[&file]].concat();
    assert_eq!(
        refusal(&world.server, &widened),
        "endorsement-import-failed"
    );
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    endorse(&host, &ca, 1).await;
    // What stands at the lower end of a path is never imported.
    let leaf = host.ek_certificate().await;
    let leaf = [&import[..], &[&leaf]].concat();
    assert_eq!(refusal(&world.server, &leaf), "endorsement-not-a-ca");
    world.admit(&host, None).await;
    let refused = host.enrol(&world.server, &world.join_token).unwrap_err();
    assert!(refused.contains("ek-manufacturer-not-vouched"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_lists_are_imported_and_hold() {
    for database in Database::each_under_test() {
        let (maker, root) = (Maker::new(), Ca::root("Root"));
        let (middle, stranger) = (root.issue("Middle"), Ca::root("Stranger"));
        let world = World::start(&database, &maker);
        let server = &world.server;
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        endorse(&host, &middle, 7).await;
        world.admit(&host, None).await;
        let refused = || host.enrol(server, &world.join_token).unwrap_err();

        // Certificates in DER, one file each.
        let import = ["endorsement", "import"];
        let files = [
            file_of(server, "root.der", &root.der),
            file_of(server, "middle.der", &middle.der),
        ];
        let certificates = [&import[..], &[&files[0], &files[1]]].concat();
        assert_eq!(refusal(server, &certificates), "endorsement-class-missing");
        server.command(&[&certificates[..], &["--class", "manufacturer"]].concat());

        let list = |name: &str, ca: &Ca, number, until, serials: &[u64]| {
            let file = file_of(server, name, &ca.revoke(number, until, serials));
            [import.map(str::to_owned).to_vec(), vec![file]].concat()
        };
        let run = |arguments: Vec<String>| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            server.command(&arguments)
        };
        let fails = |arguments: Vec<String>| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            refusal(server, &arguments)
        };
        let foreign = list("foreign.crl", &stranger, 1, 2050, &[]);
        assert_eq!(fails(foreign), "crl-issuer-unknown");
        let waiting = applicant(&host, &world).await;
        let challenge = waiting.begin().await.unwrap();
        let done = run(list("2.crl", &middle, 2, 2050, &[7]));
        assert_eq!(
            (&done["lists"][0]["revoked"], &done["lists"][0]["stale"]),
            (&1.into(), &false.into())
        );
        assert!(refused().contains("ek-certificate-revoked"));
        // Nor does one get in that was let in before the list.
        let secret = waiting.open(&challenge).await.unwrap();
        let late = waiting.activate(&challenge, secret).await.map(drop);
        assert_eq!(late.unwrap_err(), "enrolment-unknown");
        assert_eq!(fails(list("1.crl", &middle, 1, 2050, &[])), "crl-not-newer");
        // One that is out of date is taken, and said to be: whoever it does not name is refused too.
        let done = run(list("3.crl", &middle, 3, 2022, &[]));
        assert_eq!(done["lists"][0]["stale"], true);
        assert!(refused().contains("ek-crl-stale"));
        let listed = server.command(&["endorsement", "list"]);
        assert_eq!(listed["lists"].as_array().unwrap().len(), 1);
        assert_eq!(listed["lists"][0]["number"], "03");
        run(list("4.crl", &middle, 4, 2050, &[]));
        // The intermediate's own issuer; in PEM, with its certificate, which is known.
        let serial = Bundle::pem_block("X509 CRL", &root.revoke(1, 2050, &[]));
        let file = server.file("root.pem", &[root.pem(), serial].concat());
        server.command(&["endorsement", "import", "--class", "manufacturer", &file]);
        host.enrol(server, &world.join_token).unwrap();
        let kinds: Vec<Value> = server
            .audit_entries()
            .iter()
            .map(|entry| entry["kind"].clone())
            .collect();
        let lists = kinds
            .iter()
            .filter(|kind| *kind == "revocation-list-imported");
        assert_eq!(lists.count(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_refuses_to_open_a_database_of_simulators() {
    for database in Database::each_under_test() {
        let mut world = World::start(&database, &Maker::new());
        world.server.stop();
        let said = world.server.refusal_to_start(&database, &["--production"]);
        assert!(said.contains("root of class `simulator`"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_enrols_no_simulator_whoever_imports_its_root() {
    let maker = Maker::new();
    let database = Database::under_test();
    let production = Server::start_with(&database, &["--production"]);
    let (bundle, host) = (
        maker.bundle(),
        Host::boot(&maker.authority, "de-1", Profile::Healthy),
    );
    production.command(&["endorsement", "import", "--class", "manufacturer", &bundle]);
    let certificate = host.ek_certificate().await;
    let add = ["inventory", "add", "--host", "de-1", "--ek-certificate"];
    production.command(&[&add[..], &[&certificate]].concat());
    // What another attestor on this database, or its administrator, did.
    production
        .execute("UPDATE endorsement_roots SET class = 'simulator'")
        .await;
    let answer = production.command(&["join-token", "create"]);
    let token = answer["token"].as_str().unwrap().parse().unwrap();
    let machine = Applicant::at(&host.tpm.tcti(), &token).await.unwrap();
    assert_eq!(machine.begin().await.unwrap_err(), "simulator-tpm-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_refuses_to_import_simulators() {
    let maker = Maker::new();
    let server = Server::start_with(&Database::under_test(), &["--production"]);
    let bundle = maker.bundle();
    let import = ["endorsement", "import", "--class", "simulator", &bundle];
    assert_eq!(refusal(&server, &import), "simulator-root-refused");
    let listed = server.command(&["endorsement", "list"]);
    assert_eq!(listed["roots"], Value::Array(Vec::new()));
    assert!(listed["simulator_root_since"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulators_hardware_is_never_affirmed() {
    let (world, _host, _maker) = touchstone_tests::world::healthy_host().await;
    let policy = "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {name: any}\nspec: {hosts: ['*'], hardware: true, freshnessSeconds: 60}\n";
    let file = world.server.file("hardware.yaml", policy);
    world.server.command(&["policy", "apply", &file, "--drain"]);
    let answer = _host.attest(&world.server).unwrap();
    assert_eq!(answer["tier"], "contraindicated");
    assert_eq!(answer["findings"][0]["code"], "hardware-simulated");
}

#[tokio::test(flavor = "multi_thread")]
async fn intermediates_in_the_tpm_are_offered_and_used() {
    let (maker, root) = (Maker::new(), Ca::root("Root"));
    let (upper, lower) = {
        let upper = root.issue("Upper");
        let lower = upper.issue("Lower");
        (upper, lower)
    };
    let world = World::start(&Database::under_test(), &maker);
    let file = world.server.file("root.pem", &root.pem());
    world
        .server
        .command(&["endorsement", "import", "--class", "manufacturer", &file]);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    endorse(&host, &lower, 1).await;
    world.admit(&host, None).await;
    let refused = host.enrol(&world.server, &world.join_token).unwrap_err();
    assert!(refused.contains("ek-issuer-missing"), "{refused}");
    // One certificate runs over into the second index, as where a chain is longer than an index may be.
    let chain = [lower.der.clone(), upper.der.clone()].concat();
    let (first, second) = chain.split_at(lower.der.len() + 100);
    host.tpm.store_index(0x01c0_0100, first).unwrap();
    host.tpm
        .store_index(0x01c0_0101, &[second, &[0xff; 40]].concat())
        .unwrap();
    host.enrol(&world.server, &world.join_token).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_key_is_passed_over() {
    let (maker, ca) = (Maker::new(), Ca::root("Root"));
    let world = World::start(&Database::under_test(), &maker);
    let (host, other) = (
        Host::boot(&maker.authority, "de-1", Profile::Healthy),
        Host::boot(&maker.authority, "de-2", Profile::Healthy),
    );
    let theirs = touchstone_agent::tpm::Tpm::open(&other.tpm.tcti())
        .await
        .unwrap();
    let theirs = theirs.endorsement().await.unwrap().public;
    replace(&host.tpm, RSA_2048, &ca.endorse(&theirs, 1));
    // Its P-384 EK has a certificate of its own.
    let tpm = touchstone_agent::tpm::Tpm::open(&host.tpm.tcti())
        .await
        .unwrap();
    let chosen = tpm.endorsement().await.unwrap();
    assert_eq!(
        Public::parse(&chosen.public)
            .unwrap()
            .name()
            .as_bytes()
            .len(),
        50
    );
    world.join(&host, None).await;
}
