//! A small fleet as the demo has it: one TPM maker, one attestor that believes it, hosts with places.

use std::path::PathBuf;

use tempfile::TempDir;
use touchstone_tpm_sim::swtpm::Authority;

use crate::database::Database;
use crate::host::{Host, Profile};
use crate::review::{binding, create, made_by};
use crate::server::Server;

/// The sample policy: Germany only, known-good boot only.
#[must_use]
pub fn sample_policy() -> String {
    concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../policies/samples/germany-only/policy.yaml"
    )
    .to_owned()
}

/// A policy that demands the runtime alone of every host, with violations `refused` or `tolerated`.
#[must_use]
pub fn runtime_policy(violations: &str) -> String {
    format!(
        "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {{name: runtime}}\n\
         spec: {{hosts: ['*'], freshnessSeconds: 300, runtime: {{violations: {violations}}}}}\n"
    )
}

/// A maker of TPMs, in a folder that goes with it.
pub struct Maker {
    /// Its CA.
    pub authority: Authority,
    folder: TempDir,
}

impl Maker {
    /// A new one with a CA of its own.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("ca")).unwrap();
        Self { authority, folder }
    }

    /// The CA's certificates in a file.
    #[must_use]
    pub fn bundle(&self) -> String {
        let path = self.folder.path().join("bundle.pem");
        std::fs::write(&path, self.authority.ca_bundle().unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self::new()
    }
}

/// An attestor with roots, policy, location authority and a join token.
pub struct World {
    /// The attestor.
    pub server: Server,
    /// Key file of the location authority.
    pub authority_key: String,
    /// The join token's file.
    pub join_token: PathBuf,
}

impl World {
    /// Starts an attestor that believes `maker`, under the sample policy.
    #[must_use]
    pub fn start(database: &Database, maker: &Maker) -> Self {
        Self::on(Server::start(database), maker)
    }

    /// The same at an attestor that was started.
    #[must_use]
    pub fn on(server: Server, maker: &Maker) -> Self {
        server.command(&[
            "endorsement",
            "import",
            "--class",
            "simulator",
            &maker.bundle(),
        ]);
        server.command(&["policy", "apply", &sample_policy()]);
        let authority_key = server.folder().join("authority.key");
        let authority_key = authority_key.to_str().unwrap().to_owned();
        server.command(&["location", "authority", "create", "--key", &authority_key]);
        let join_token = server.folder().join("join-token");
        server.command(&[
            "join-token",
            "create",
            "--out",
            join_token.to_str().unwrap(),
        ]);
        Self {
            server,
            authority_key,
            join_token,
        }
    }

    /// Puts these manifests into force, whatever becomes of the fleet.
    pub fn apply(&self, manifests: &str) {
        let file = self.server.file("policy.yaml", manifests);
        self.server.command(&["policy", "apply", &file, "--drain"]);
    }

    /// Puts `host` into the inventory, with a place if one is given, and maps a node to it.
    pub async fn admit(&self, host: &Host, country: Option<&str>) {
        let certificate = host.ek_certificate().await;
        self.server.command(&[
            "inventory",
            "add",
            "--host",
            &host.name,
            "--ek-certificate",
            &certificate,
        ]);
        if let Some(country) = country {
            self.tag(host, country);
        }
        let node = format!("node-{}", host.name);
        self.server.command(&["node", "map", &node, &host.name]);
    }

    /// Issues the next tag of `host`.
    pub fn tag(&self, host: &Host, country: &str) {
        self.server.command(&[
            "location",
            "tag",
            "--host",
            &host.name,
            "--key",
            &self.authority_key,
            "--country",
            country,
            "--site",
            "site1",
        ]);
    }

    /// Puts the machine into the inventory under a second name: the code of the refusal.
    pub async fn second_name(&self, host: &Host) -> String {
        let certificate = host.ek_certificate().await;
        let arguments = [
            "inventory",
            "add",
            "--host",
            "second",
            "--ek-certificate",
            &certificate,
        ];
        let said = String::from_utf8(self.server.run(&arguments).stderr).unwrap();
        let code = said.rsplit("touchstone:").next().unwrap_or_default();
        code.trim_end().trim_end_matches(')').to_owned()
    }

    /// Places the first pod of a workload, the ReplicaSet `payments/api`, on the node of `de-1`.
    pub async fn workload(&self, uid: &str) {
        let pod = made_by(create(uid, "payments", None), "ReplicaSet", "rs-1", "r1");
        for review in [pod, binding(Some(uid), "payments", "node-de-1")] {
            let (placed, why) = self.server.review(&review).await;
            assert!(placed, "{why}");
        }
    }

    /// [`World::admit`], then enrols and attests once.
    pub async fn join(&self, host: &Host, country: Option<&str>) -> serde_json::Value {
        self.admit(host, country).await;
        host.enrol(&self.server, &self.join_token).unwrap();
        host.attest(&self.server).unwrap()
    }
}

/// One world, one host called `de-1`, healthy and in Germany, enrolled and attested.
pub async fn healthy_host() -> (World, Host, Maker) {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let outcome = world.join(&host, Some("DE")).await;
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    (world, host, maker)
}
