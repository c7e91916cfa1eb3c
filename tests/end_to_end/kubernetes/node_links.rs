//! Which node a host is: a real API server vouches for the token of its agent's pod, and a real TPM signs for it.

use std::fs::File;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::cluster::{PATIENCE, assets, take_turn};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::review::binding;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::kubernetes::{Api, Assets, ControlPlane, namespaces, nodes, pods, until};

/// Where agents run, and as whom.
const NAMESPACE: &str = "touchstone";
const ACCOUNT: &str = "touchstone-agent";
/// For whom their tokens are.
const AUDIENCE: &str = "touchstone";
const NODE: &str = "worker-1";
/// Where pods of the policy are.
const WORKLOADS: &str = "payments";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_the_node_that_its_agents_token_was_made_on_and_no_other() {
    let Some(assets) = assets() else {
        return;
    };
    let scene = Scene::start(assets).await;
    let agent = a_host_is_linked_to_the_node_of_its_token(&scene).await;
    a_token_that_was_copied_to_another_host_gains_nothing(&scene, &agent).await;
    a_token_for_somebody_else_is_refused(&scene).await;
    a_token_whose_pod_is_gone_is_refused(&scene).await;
    a_node_made_anew_under_its_name_is_another_one_until_it_is_proven(&scene, &agent).await;
    a_host_is_the_newest_node_that_it_proved(&scene).await;
}

async fn a_host_is_linked_to_the_node_of_its_token(scene: &Scene) -> Agent {
    scene.join(NODE).await;
    assert!(!scene.place("unproven").await);
    let agent = scene.agent("agent-1", NODE).await;
    let token = scene.token(&agent, AUDIENCE).await;
    scene.linked(&scene.proven, NODE, &token).await;
    assert!(scene.place("proven").await);
    let entries = scene.world.server.audit_entries();
    let mapped = entries.iter().rfind(|entry| entry["kind"] == "node-mapped");
    let mapped = mapped.unwrap();
    let digest = Sha256Digest::of(token.as_bytes()).to_string();
    assert_eq!(
        (&mapped["by"], &mapped["token"]),
        (&json!("token"), &json!(digest))
    );
    assert_eq!(
        (&mapped["actor"], &mapped["host"]),
        (&json!("host"), &json!("de-1"))
    );
    // The token itself is in nothing that is kept.
    let log = serde_json::to_string(&entries).unwrap();
    assert!(!log.contains(&token) && log.contains(&digest));
    Agent { token, ..agent }
}

async fn a_token_that_was_copied_to_another_host_gains_nothing(scene: &Scene, agent: &Agent) {
    scene
        .refused(&scene.other, &agent.token, "node-claimed")
        .await;
    assert_eq!(scene.node(NODE)["host"], "de-1");
    assert_eq!(
        scene.world.server.command(&["node", "list"])["nodes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

async fn a_token_for_somebody_else_is_refused(scene: &Scene) {
    scene.join("worker-2").await;
    let agent = scene.agent("agent-2", "worker-2").await;
    let token = scene.token(&agent, "vault").await;
    scene
        .refused(&scene.other, &token, "node-token-refused")
        .await;
    assert_eq!(scene.node("worker-2"), Value::Null);
}

async fn a_token_whose_pod_is_gone_is_refused(scene: &Scene) {
    let agent = scene.agent("agent-gone", "worker-2").await;
    let token = scene.token(&agent, AUDIENCE).await;
    let pod = pods::path(NAMESPACE, "agent-gone");
    scene.api().delete(&pod).await.unwrap();
    let gone = async || Ok(scene.api().find(&pod).await?.is_none().then_some(()));
    until("the pod is gone", PATIENCE, gone).await.unwrap();
    scene
        .refused(&scene.other, &token, "node-token-refused")
        .await;
    assert_eq!(scene.node("worker-2"), Value::Null);
}

async fn a_node_made_anew_under_its_name_is_another_one_until_it_is_proven(
    scene: &Scene,
    agent: &Agent,
) {
    let before = scene.node(NODE)["uid"].clone();
    scene.make_anew(NODE, agent).await;
    let refused = async || Ok((!scene.place("made-anew").await).then_some(()));
    until("the node is another one", PATIENCE, refused)
        .await
        .unwrap();
    let entries = scene.world.server.audit_entries();
    let decided = entries
        .iter()
        .rfind(|entry| entry["kind"] == "admission-decided");
    assert_eq!(decided.unwrap()["refusals"][0], "node-unmapped");
    // Its old proof is none: the pod was on the node before.
    scene
        .refused(&scene.proven, &agent.token, "node-token-refused")
        .await;
    assert!(!scene.place("old-proof").await);
    assert_eq!(scene.node(NODE)["uid"], before);

    let agent = scene.agent("agent-anew", NODE).await;
    let token = scene.token(&agent, AUDIENCE).await;
    scene.linked(&scene.proven, NODE, &token).await;
    assert_ne!(scene.node(NODE)["uid"], before);
    assert!(scene.place("new-proof").await);
}

async fn a_host_is_the_newest_node_that_it_proved(scene: &Scene) {
    scene.join("worker-3").await;
    let agent = scene.agent("agent-3", "worker-3").await;
    let token = scene.token(&agent, AUDIENCE).await;
    scene.linked(&scene.proven, "worker-3", &token).await;
    assert_eq!(scene.node(NODE), Value::Null);
    assert!(!scene.place("moved-away").await);
}

/// Pod and token of an agent.
struct Agent {
    pod: Value,
    token: String,
}

/// A control plane, an attestor that sees it, and two hosts that are healthy and in Germany; no node is mapped.
struct Scene {
    plane: ControlPlane,
    world: World,
    proven: Host,
    other: Host,
    folder: TempDir,
    _maker: Maker,
    _turn: File,
}

impl Scene {
    async fn start(assets: Assets) -> Self {
        let turn = take_turn();
        let folder = tempfile::tempdir().unwrap();
        let plane = ControlPlane::start(assets, folder.path()).await.unwrap();
        let api = plane.admin();
        namespaces::create(api, NAMESPACE).await.unwrap();
        namespaces::create(api, WORKLOADS).await.unwrap();
        let account = json!({ "metadata": { "name": ACCOUNT } });
        let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
        api.create(&accounts, &account).await.unwrap();

        let settings = folder.path().join("kubernetes.toml");
        let kubeconfig = plane.kubeconfig("attestor", Some("system:masters"));
        let text = format!("kubeconfig = {:?}\n", kubeconfig.unwrap());
        std::fs::write(&settings, text).unwrap();
        let maker = Maker::new();
        let arguments = ["--kubernetes", settings.to_str().unwrap()];
        let server = Server::start_with(&Database::under_test(), &arguments);
        let world = World::on(server, &maker);
        let boot = |name| Host::boot(&maker.authority, name, Profile::Healthy);
        let scene = Self {
            proven: boot("de-1"),
            other: boot("de-2"),
            plane,
            world,
            folder,
            _maker: maker,
            _turn: turn,
        };
        for host in [&scene.proven, &scene.other] {
            scene.enrol(host).await;
        }
        scene
    }

    async fn enrol(&self, host: &Host) {
        let certificate = host.ek_certificate().await;
        let add = [
            "inventory",
            "add",
            "--host",
            &host.name,
            "--ek-certificate",
            &certificate,
        ];
        self.world.server.command(&add);
        self.world.tag(host, "DE");
        host.enrol(&self.world.server, &self.world.join_token)
            .unwrap();
        let outcome = host.attest(&self.world.server).unwrap();
        assert_eq!(outcome["tier"], "affirming", "{outcome}");
    }

    fn api(&self) -> &Api {
        self.plane.admin()
    }

    async fn join(&self, node: &str) {
        nodes::join(self.api(), node).await.unwrap();
    }

    /// Deletes the node and makes another one under its name, in a later second than the agent's pod was made.
    async fn make_anew(&self, node: &str, agent: &Agent) {
        let made = agent.pod["metadata"]["creationTimestamp"].as_str().unwrap();
        let later = async || {
            self.api().delete(&nodes::path(node)).await?;
            nodes::join(self.api(), node).await?;
            let found = self.api().get(&nodes::path(node)).await?;
            let since = found["metadata"]["creationTimestamp"].as_str();
            Ok((since.unwrap() > made).then_some(()))
        };
        until("a second is over", PATIENCE, later).await.unwrap();
    }

    /// The pod of an agent on this node, as a DaemonSet makes it.
    async fn agent(&self, name: &str, node: &str) -> Agent {
        let mut pod = pods::pod(NAMESPACE, name, "agent");
        pod["spec"]["nodeName"] = node.into();
        pod["spec"]["serviceAccountName"] = ACCOUNT.into();
        pod["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
        Agent {
            pod: pods::create(self.api(), &pod).await.unwrap(),
            token: String::new(),
        }
    }

    /// A token as a kubelet asks for it.
    async fn token(&self, Agent { pod, .. }: &Agent, audience: &str) -> String {
        let metadata = &pod["metadata"];
        let bound = json!({
            "apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"],
        });
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound },
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token");
        let made = self.api().create(&path, &request).await.unwrap();
        made["status"]["token"].as_str().unwrap().to_owned()
    }

    /// The host attests with this token.
    fn attest(&self, host: &Host, token: &str) {
        let path: PathBuf = self.folder.path().join("token");
        std::fs::write(&path, token).unwrap();
        let path = path.to_str().unwrap();
        let arguments = ["attest", "--once", "--node-token", path];
        let mut command = host.agent_command(&self.world.server, &arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// The host attests until it stands behind the node that there is now.
    async fn linked(&self, host: &Host, node: &str, token: &str) {
        let found = self.api().get(&nodes::path(node)).await.unwrap();
        let mut mapped = json!({
            "cluster": "default", "node": node, "uid": found["metadata"]["uid"], "host": host.name, "by": "token",
        });
        mapped["token"] = Sha256Digest::of(token.as_bytes()).to_string().into();
        let what = format!("`{}` is `{node}`", host.name);
        let linked = async || {
            self.attest(host, token);
            Ok((self.node(node) == mapped).then_some(()))
        };
        until(&what, PATIENCE, linked).await.unwrap();
    }

    /// The host attests until this refusal of its token is counted.
    async fn refused(&self, host: &Host, token: &str, code: &str) {
        let before = self.refusals(code).await;
        let what = format!("`{code}` is counted");
        let counted = async || {
            self.attest(host, token);
            Ok((self.refusals(code).await > before).then_some(()))
        };
        until(&what, PATIENCE, counted).await.unwrap();
    }

    async fn refusals(&self, code: &str) -> u64 {
        let metrics = self.world.server.text("/metrics").await;
        let line = format!("touchstone_refusals_total{{code=\"{code}\"}} ");
        let mut counts = metrics.lines().filter_map(|text| text.strip_prefix(&line));
        counts.next().map_or(0, |count| count.parse().unwrap())
    }

    /// What is known of a node; null: nothing.
    fn node(&self, name: &str) -> Value {
        let list = self.world.server.command(&["node", "list"]);
        let nodes = list["nodes"].as_array().unwrap();
        let found = nodes.iter().find(|node| node["node"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    /// Whether a new pod of the policy may run on the node.
    /// Whether a pod of the policy, which no scheduler looks at, may be bound to [`NODE`].
    async fn place(&self, name: &str) -> bool {
        let path = pods::path(WORKLOADS, name);
        let pod = match self.api().find(&path).await.unwrap() {
            Some(pod) => pod,
            None => {
                let mut pod = pods::pod(WORKLOADS, name, "payments");
                pod["spec"]["schedulerName"] = "nobody".into();
                pods::create(self.api(), &pod).await.unwrap()
            }
        };
        let mut review = binding(pod["metadata"]["uid"].as_str(), WORKLOADS, NODE);
        review["request"]["name"] = name.into();
        review["request"]["object"]["metadata"]["name"] = name.into();
        self.world.server.review(&review).await.0
    }
}
