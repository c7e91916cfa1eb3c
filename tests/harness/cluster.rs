//! A cluster: six real hosts, an attestor, and a real control plane that asks it and whose nodes are only entries.
//!
//! Its programs come from `KUBEBUILDER_ASSETS`. Only one runs at a time, whoever starts it: timings are to mean
//! something.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tpm_sim::kubernetes::webhooks::{self, Attestor};
use touchstone_tpm_sim::kubernetes::{Api, Assets, ControlPlane, namespaces, nodes, pods, until};
use touchstone_tpm_sim::six_nodes::{ALL, APP, NAMESPACE, Six, policy};

use crate::containers::rights;
use crate::database::Database;
use crate::host::{Host, Profile};
use crate::server::Server;
use crate::world::{Maker, World};

/// With the value `required`, a test that would be skipped fails.
const REQUIRED: &str = "TOUCHSTONE_LIVE";
/// A namespace of no policy.
pub const ELSEWHERE: &str = "shop";
/// Longest that anything takes which a controller or the scheduler does, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The programs of a control plane. Where there are none, this says that the test is skipped.
#[must_use]
pub fn assets() -> Option<Assets> {
    match Assets::find() {
        Ok(assets) => Some(assets),
        Err(lacking) => {
            skip(&format!("no live control plane: {lacking}"));
            None
        }
    }
}

/// The same and a kubelet, which setup-envtest does not bring, on a machine that can run containers.
#[must_use]
pub fn assets_and_kubelet() -> Option<(Assets, PathBuf)> {
    let assets = assets()?;
    match assets.also("kubelet") {
        Ok(kubelet) if rights::allow_containers() => Some((assets, kubelet)),
        Ok(_) => {
            skip("a kubelet runs containers");
            None
        }
        Err(lacking) => {
            skip(&format!("no kubelet: {lacking}"));
            None
        }
    }
}

fn skip(why: &str) {
    let required = std::env::var(REQUIRED).is_ok_and(|value| value == "required");
    assert!(!required, "{why}");
    eprintln!("SKIPPED: {why}");
}

/// It goes with this value.
pub struct Cluster {
    /// API server, scheduler, controller-manager.
    pub plane: ControlPlane,
    /// The attestor, which API servers reach by their certificate.
    pub world: World,
    hosts: Vec<Host>,
    /// What `touchstone serve` is told.
    arguments: Vec<String>,
    _maker: Maker,
    _folder: TempDir,
    _turn: File,
}

impl Cluster {
    /// Starts all of it: [`ALL`] are enrolled, have attested once and are nodes, and the API server asks our validating
    /// webhooks, and those alone.
    pub async fn start(assets: Assets) -> Self {
        Self::start_with(assets, async |_| Vec::new()).await
    }

    /// The same with an attestor that watches the cluster and writes to it, with the rights that an installation gives
    /// it, and `settings` besides how it is reached.
    pub async fn start_watched(assets: Assets, settings: &str) -> Self {
        Self::start_watched_with(assets, settings, &[]).await
    }

    /// The same with an attestor that is told more.
    pub async fn start_watched_with(assets: Assets, settings: &str, more: &[&str]) -> Self {
        let settings = settings.to_owned();
        let more: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
        Self::start_with(assets, async move |plane| {
            [watched(plane, &settings).await, more].concat()
        })
        .await
    }

    /// The same with an attestor that is told more, of this control plane.
    pub async fn start_with(
        assets: Assets,
        more: impl AsyncFnOnce(&ControlPlane) -> Vec<String>,
    ) -> Self {
        let turn = take_turn();
        let folder = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let plane = ControlPlane::start(assets, folder.path()).await.unwrap();
        let maker = Maker::new();
        let hosts = boot(&maker);
        let caller = Sha256Digest::of(plane.webhook_caller()).to_string();
        let mut arguments = vec!["--webhook-caller".to_owned(), caller];
        arguments.extend(more(&plane).await);
        let server = Server::start_with(&Database::under_test(), &borrowed(&arguments));
        let world = World::on(server, &maker);
        let cluster = Self {
            plane,
            world,
            hosts,
            arguments,
            _maker: maker,
            _folder: folder,
            _turn: turn,
        };
        cluster.tell("the control plane and six hosts run", begun);
        cluster.enrol().await;
        cluster.configure().await;
        cluster
    }

    async fn enrol(&self) {
        self.world.apply(&policy());
        for (six, host) in ALL.iter().zip(&self.hosts) {
            nodes::join(self.api(), &six.node()).await.unwrap();
            let outcome = self.world.join(host, six.country).await;
            assert_eq!(outcome["tier"], six.tier, "{}: {outcome}", six.host);
            if !six.mapped {
                self.world.server.command(&["node", "unmap", &six.node()]);
            }
        }
    }

    async fn configure(&self) {
        let api = self.api();
        for namespace in [NAMESPACE, ELSEWHERE] {
            namespaces::create(api, namespace).await.unwrap();
        }
        let configuration = self.attestor(webhooks::validating).unwrap();
        webhooks::install(api, &configuration).await.unwrap();
        webhooks::in_force(api, &pod("trial")).await.unwrap();
    }

    /// A webhook configuration that asks our attestor.
    pub fn attestor<T>(&self, configuration: impl FnOnce(Attestor<'_>) -> T) -> T {
        let operator = self.world.server.operator();
        configuration(Attestor {
            url: &self.world.server.url,
            ca: operator["ca"].as_str().unwrap(),
        })
    }

    /// The API server, as who may do everything.
    #[must_use]
    pub fn api(&self) -> &Api {
        self.plane.admin()
    }

    /// A host of [`ALL`].
    #[must_use]
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).unwrap()
    }

    /// Stops the attestor.
    pub fn stop_attestor(&mut self) {
        self.world.server.stop();
    }

    /// Starts it again at the same address, on the same data.
    pub fn start_attestor(&mut self) {
        let database = self.world.server.database();
        let arguments = borrowed(&self.arguments);
        self.world.server.restart_with(&database, &arguments);
    }

    /// Another attestor for this cluster, which knows nothing of its hosts.
    #[must_use]
    pub fn rival(&self) -> Server {
        Server::start_with(&Database::under_test(), &borrowed(&self.arguments))
    }

    /// All decisions about a pod, oldest first.
    #[must_use]
    pub fn decisions(&self, pod: &str) -> Vec<Value> {
        let mut entries = self.world.server.audit_entries();
        entries.retain(|entry| entry["kind"] == "admission-decided" && entry["pod"] == pod);
        entries
    }

    /// The first reason of the newest decision about a pod, which is a refusal.
    #[must_use]
    pub fn refusal(&self, pod: &str) -> String {
        let decisions = self.decisions(pod);
        let last = decisions.last().unwrap();
        assert_eq!(last["admitted"], false, "{last}");
        last["refusals"][0].as_str().unwrap().to_owned()
    }

    /// What the scheduler says of a pod that our webhook kept from its node.
    pub async fn kept_from_its_node(&self, namespace: &str, name: &str) -> String {
        let path = pods::path(namespace, name);
        let what = format!("our webhook refuses the node of `{namespace}/{name}`");
        until(&what, PATIENCE, async || {
            let pod = self.api().get(&path).await?;
            Ok(match pods::placed(&pod) {
                Some(pods::Placement::Waiting(why)) => Some(why).filter(|why| is_ours(why)),
                Some(pods::Placement::Bound(node)) => panic!("{namespace}/{name} is on {node}"),
                None => None,
            })
        })
        .await
        .unwrap()
    }

    /// The node that a pod gets.
    pub async fn node_of(&self, namespace: &str, name: &str) -> String {
        let bound = pods::bound(self.api(), namespace, name, PATIENCE).await;
        bound.unwrap()
    }

    /// Says how long something took, for who reads the output.
    pub fn tell(&self, what: &str, begun: Instant) {
        let (version, seconds) = (self.plane.version(), begun.elapsed().as_secs_f64());
        eprintln!("live, {version}: {what}: {seconds:.2} s");
    }
}

/// Whom the API server takes the attestor for.
const ACCOUNT: &str = "system:serviceaccount:touchstone:touchstone";

/// What an installation gives a cluster, and the attestor's settings for it.
async fn watched(plane: &ControlPlane, settings: &str) -> Vec<String> {
    let api = plane.admin();
    namespaces::create(api, "touchstone").await.unwrap();
    for file in ["crds.yaml", "attestor.yaml"] {
        for object in manifests(file) {
            if let Some(list) = list(&object) {
                api.create(&list, &object).await.unwrap();
            }
        }
    }
    let kubeconfig = plane.kubeconfig(ACCOUNT, None).unwrap();
    let file = kubeconfig.with_file_name("kubernetes.toml");
    let reached = format!("kubeconfig = \"{}\"\n", kubeconfig.display());
    std::fs::write(&file, reached + settings).unwrap();
    vec!["--kubernetes".to_owned(), file.to_str().unwrap().to_owned()]
}

/// The objects of a file of `deploy/kubernetes`.
#[must_use]
pub fn manifests(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    let text = std::fs::read_to_string(path.join(file)).unwrap();
    let documents = text.split("\n---\n");
    let objects = documents.map(|document| serde_saphyr::from_str(document).unwrap());
    objects
        .filter(|object: &Value| object.is_object())
        .collect()
}

/// Where objects of the kinds that a watching attestor needs are created; nothing: it is none of them.
fn list(object: &Value) -> Option<String> {
    let rights = "/apis/rbac.authorization.k8s.io/v1";
    Some(match object["kind"].as_str()? {
        "CustomResourceDefinition" => {
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned()
        }
        "ClusterRole" => format!("{rights}/clusterroles"),
        "ClusterRoleBinding" => format!("{rights}/clusterrolebindings"),
        "Role" => format!("{rights}/namespaces/touchstone/roles"),
        "RoleBinding" => format!("{rights}/namespaces/touchstone/rolebindings"),
        _ => return None,
    })
}

/// A pod of the policy, for any node.
#[must_use]
pub fn pod(name: &str) -> Value {
    pods::pod(NAMESPACE, name, APP)
}

/// The same for this node alone.
#[must_use]
pub fn pod_for(name: &str, six: &Six) -> Value {
    pods::pinned(pod(name), &six.node())
}

/// One of [`ALL`].
#[must_use]
pub fn six(host: &str) -> &'static Six {
    ALL.iter().find(|six| six.host == host).unwrap()
}

/// Whether it was said by our webhook.
fn is_ours(why: &str) -> bool {
    why.contains("touchstone: ")
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn boot(maker: &Maker) -> Vec<Host> {
    let boot = |six: &Six| {
        let profile = match six.boot {
            "shim_sb_evil" => Profile::Altered,
            _ => Profile::Healthy,
        };
        Host::boot(&maker.authority, six.host, profile)
    };
    thread::scope(|scope| {
        let booting = ALL.each_ref().map(|six| scope.spawn(move || boot(six)));
        booting.map(|host| host.join().unwrap()).into()
    })
}

/// Waits until no other live test runs; the turn ends with the value.
#[must_use]
pub fn take_turn() -> File {
    let path = std::env::current_exe().unwrap().with_file_name("live.lock");
    let turn = File::create(path).unwrap();
    turn.lock().unwrap();
    turn
}
