//! Platform certificates: a machine whose maker an operator named enters the inventory by itself, under
//! the name that its maker's certificate gives it, and no other machine does.

use serde_json::Value;
use touchstone_tests::authority::{Ca, Platform};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World};

/// Where a TPM holds its machine's platform certificate.
const PLATFORM: u32 = 0x01c0_8000;

/// A world that believes the platform certificates of one maker of machines.
struct Scene {
    world: World,
    maker: Maker,
    oem: Ca,
}

impl Scene {
    fn new(database: &Database) -> Self {
        let (maker, oem) = (Maker::new(), Ca::root("Machine Works"));
        let world = World::start(database, &maker);
        let scene = Self { world, maker, oem };
        scene.believe(&scene.oem, "rack-");
        scene
    }

    fn believe(&self, oem: &Ca, prefix: &str) -> Value {
        let file = self.world.server.file("oem.pem", &oem.pem());
        let add = ["inventory", "oem", "add", "--certificate", &file];
        self.world
            .server
            .command(&[&add[..], &["--host-prefix", prefix]].concat())
    }

    /// A machine with this platform certificate in its TPM, in place of the simulator's.
    async fn machine(&self, platform: impl FnOnce(&[u8]) -> Vec<u8>) -> Host {
        let host = Host::boot(&self.maker.authority, "machine", Profile::Healthy);
        self.equip(&host, platform).await;
        host
    }

    async fn equip(&self, host: &Host, platform: impl FnOnce(&[u8]) -> Vec<u8>) {
        let certificate = ek_certificate(host).await;
        let _absent = host.tpm.remove_index(PLATFORM);
        let contents = [&platform(&certificate)[..], &[0xff; 7]].concat();
        host.tpm.store_index(PLATFORM, &contents).unwrap();
    }

    fn enrol(&self, host: &Host) -> Result<(), String> {
        host.enrol(&self.world.server, &self.world.join_token)
            .map(drop)
    }

    fn refused(&self, host: &Host, code: &str) {
        let said = self.enrol(host).unwrap_err();
        assert!(said.contains(&format!("`{code}`")), "{code}: {said}");
    }

    /// Refused with this code, and waiting for an operator.
    fn waits(&self, host: &Host, code: &str) {
        self.refused(host, code);
        assert_eq!(self.quarantine().len(), 1, "{code}");
        assert_eq!(self.names(), Vec::<String>::new(), "{code}");
    }

    fn quarantine(&self) -> Vec<Value> {
        let list = self.world.server.command(&["host", "quarantine", "list"]);
        list["quarantine"].as_array().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        let list = self.world.server.command(&["inventory", "list"]);
        let machines = list["inventory"].as_array().unwrap().iter();
        machines
            .map(|machine| machine["host"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn ek_certificate(host: &Host) -> Vec<u8> {
    let tpm = touchstone_agent::tpm::Tpm::open(&host.tpm.tcti()).await;
    tpm.unwrap().endorsement().await.unwrap().certificate
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_maker_vouches_for_it_enrols_under_its_serial_number() {
    for database in Database::each_under_test() {
        let scene = Scene::new(&database);
        let server = &scene.world.server;
        let listed = server.command(&["inventory", "oem", "list"]);
        assert_eq!(listed["oems"][0]["subject"], "CN=Machine Works");
        assert_eq!(listed["oems"][0]["host_prefix"], "rack-");
        let host = scene
            .machine(|ek| scene.oem.platform(ek, &Platform::of("SN 0042")))
            .await;
        scene.enrol(&host).unwrap();
        assert_eq!(scene.names(), ["rack-sn-0042"]);
        assert_eq!(scene.quarantine(), Vec::<Value>::new());
        host.attest(server).unwrap();

        let entries = server.audit_entries();
        let kind = |kind: &str| entries.iter().find(|entry| entry["kind"] == kind).unwrap();
        let admitted = kind("platform-admitted");
        assert_eq!(admitted["host"], "rack-sn-0042");
        assert_eq!(admitted["oem"], listed["oems"][0]["digest"]);
        assert_eq!(admitted["oem"], kind("oem-added")["oem"]);
        assert_eq!(admitted["ek_digest"], kind("host-enrolled")["ek_digest"]);
        assert_eq!(admitted["platform_certificate"].as_str().unwrap().len(), 64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_oem_vouches_for_waits_in_quarantine_with_its_own_code() {
    let scene = Scene::new(&Database::under_test());
    let serial = Platform::of("7");
    // The simulator's own is an X.509 certificate.
    let host = Host::boot(&scene.maker.authority, "machine", Profile::Healthy);
    scene.waits(&host, "platform-certificate-malformed");

    let stranger = Ca::root("Stranger");
    scene
        .equip(&host, |ek| stranger.platform(ek, &serial))
        .await;
    scene.waits(&host, "platform-certificate-oem-unknown");

    let impostor = Ca::root("Machine Works");
    scene
        .equip(&host, |ek| impostor.platform(ek, &serial))
        .await;
    scene.waits(&host, "platform-certificate-signature-invalid");

    let over = Platform {
        until: "20250101000000Z",
        ..serial
    };
    scene.equip(&host, |ek| scene.oem.platform(ek, &over)).await;
    scene.waits(&host, "platform-certificate-expired");

    let other = Host::boot(&scene.maker.authority, "other", Profile::Healthy);
    let theirs = ek_certificate(&other).await;
    let copied = |_: &[u8]| scene.oem.platform(&theirs, &Platform::of("8"));
    scene.equip(&host, copied).await;
    scene.waits(&host, "platform-certificate-other-ek");

    let nameless = Platform::of("---");
    scene
        .equip(&host, |ek| scene.oem.platform(ek, &nameless))
        .await;
    scene.waits(&host, "platform-serial-unusable");

    // Without one it is a TPM like any other, and it is none of the certificate's business once the
    // inventory knows the EK.
    host.tpm.remove_index(PLATFORM).unwrap();
    scene.waits(&host, "ek-not-in-inventory");
    scene
        .equip(&host, |ek| stranger.platform(ek, &Platform::of("7")))
        .await;
    scene.world.admit(&host, None).await;
    scene.enrol(&host).unwrap();
    assert_eq!(scene.names(), ["machine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_ever_given_is_not_given_again_by_a_certificate() {
    let scene = Scene::new(&Database::under_test());
    let server = &scene.world.server;
    let digest = "11".repeat(32);
    let add = [
        "inventory",
        "add",
        "--host",
        "rack-7",
        "--ek-digest",
        &digest,
    ];
    server.command(&add);
    let host = scene
        .machine(|ek| scene.oem.platform(ek, &Platform::of("7")))
        .await;
    scene.refused(&host, "platform-name-taken");
    server.command(&["inventory", "remove", "rack-7"]);
    scene.refused(&host, "platform-name-taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_put_out_no_certificate_brings_back() {
    for database in Database::each_under_test() {
        let scene = Scene::new(&database);
        let server = &scene.world.server;
        let host = scene
            .machine(|ek| scene.oem.platform(ek, &Platform::of("7")))
            .await;
        // Called by another name, so that the name of the certificate stays free.
        scene.world.admit(&host, None).await;
        server.command(&["host", "retire", "machine"]);
        let refused = |code: &str| {
            let said = scene.enrol(&host).unwrap_err();
            assert!(said.contains(&format!("`{code}`")), "{code}: {said}");
        };
        refused("host-retired");
        server.command(&["inventory", "remove", "machine"]);
        refused("ek-not-in-inventory");
        // Only an operator does.
        let ek = scene.quarantine()[0]["ek_digest"]
            .as_str()
            .unwrap()
            .to_owned();
        server.command(&["host", "approve", &ek, "--host", "again"]);
        scene.enrol(&host).unwrap();
        assert_eq!(scene.names(), ["again"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_an_operator_called_foreign_stays_so_whatever_its_maker_says() {
    for database in Database::each_under_test() {
        let scene = Scene::new(&database);
        let host = Host::boot(&scene.maker.authority, "machine", Profile::Healthy);
        scene.waits(&host, "platform-certificate-malformed");
        let ek = scene.quarantine()[0]["ek_digest"].clone();
        let reject = ["host", "reject", ek.as_str().unwrap()];
        scene.world.server.command(&reject);
        scene
            .equip(&host, |ek| scene.oem.platform(ek, &Platform::of("7")))
            .await;
        scene.waits(&host, "ek-rejected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oem_is_added_once_and_with_a_sound_prefix() {
    let scene = Scene::new(&Database::under_test());
    let server = &scene.world.server;
    let refusal = |certificate: &str, prefix: &str| {
        let add = ["inventory", "oem", "add", "--certificate", certificate];
        let output = server.run(&[&add[..], &["--host-prefix", prefix]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        let code = said.rsplit("touchstone:").next().unwrap_or_default();
        code.trim_end().trim_end_matches(')').to_owned()
    };
    let file = server.file("oem.pem", &scene.oem.pem());
    assert_eq!(refusal(&file, "rack-"), "oem-already-added");
    let other = server.file("other.pem", &Ca::root("Other").pem());
    for prefix in ["_a", "A", "", &"x".repeat(33)] {
        assert_eq!(refusal(&other, prefix), "oem-host-prefix", "{prefix}");
    }
    let host = Host::boot(&scene.maker.authority, "machine", Profile::Healthy);
    let leaf = host.ek_certificate().await;
    assert_eq!(refusal(&leaf, "x-"), "oem-certificate-refused");
}
