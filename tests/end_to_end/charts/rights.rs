//! What the chart's containers and accounts may do, and that it is no more than they need.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::helm::{Helm, Settings, several};

/// Folders and devices of a node that an agent may see.
const OF_THE_NODE: [&str; 6] = [
    "/var/lib/touchstone-agent",
    "/run/touchstone-agent",
    "/sys/kernel/security",
    "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256",
    "/run/containerd/containerd.sock",
    "/run/dbus/system_bus_socket",
];

fn pods(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let pods = objects
        .iter()
        .map(|object| &object["spec"]["template"]["spec"]);
    pods.filter(|pod| !pod.is_null())
}

fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().map_or(&[], Vec::as_slice)
}

fn words(object: &Value, name: &str) -> Vec<String> {
    let words = list(object, name).iter();
    words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn no_container_has_rights_that_it_does_not_need() {
    let Some(helm) = Helm::find() else {
        return;
    };
    for settings in several() {
        for pod in pods(&helm.render(&settings)) {
            for shared in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
                assert_eq!(pod[shared], Value::Null);
            }
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"],
                "RuntimeDefault"
            );
            let containers = list(pod, "containers").iter();
            for container in containers.chain(list(pod, "initContainers")) {
                let narrow = json!({
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                });
                assert_eq!(container["securityContext"], narrow);
                let memory = &container["resources"]["limits"]["memory"];
                assert!(memory.is_string(), "{container:#}");
            }
            for volume in list(pod, "volumes") {
                let path = &volume["hostPath"]["path"];
                let known = path.as_str().is_none_or(|path| OF_THE_NODE.contains(&path));
                assert!(known, "{path}");
            }
        }
    }
}

#[test]
fn only_the_agent_is_root_and_sees_the_node() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let settings = Settings::default();
    let attestor = helm.one(&settings, "StatefulSet", "touchstone");
    let attestor = &attestor["spec"]["template"]["spec"];
    assert_eq!(attestor["securityContext"]["runAsNonRoot"], true);
    assert_eq!(attestor["securityContext"]["runAsUser"], 65532);
    let volumes = list(attestor, "volumes");
    assert!(volumes.iter().all(|volume| volume["hostPath"].is_null()));
    let agent = helm.one(&settings, "DaemonSet", "touchstone-agent");
    let agent = &agent["spec"]["template"]["spec"];
    // It may ask an API server for nothing: its token is for the attestor alone.
    assert_eq!(agent["automountServiceAccountToken"], false);
    let node = list(agent, "volumes")
        .iter()
        .find(|it| it["name"] == "node");
    let token = &node.unwrap()["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "touchstone");
    assert_eq!(token["expirationSeconds"], 3600);
    // The kernel's lists are looked at.
    let mounts = list(&agent["containers"][0], "volumeMounts");
    let lists = mounts.iter().find(|it| it["name"] == "securityfs").unwrap();
    assert_eq!(lists["readOnly"], true);
    let volumes = list(agent, "volumes");
    // What gives root's rights on the node is there only where somebody said so.
    assert!(volumes.iter().all(|volume| volume["name"] != "containerd"));
}

#[test]
fn who_trusts_nodes_runs_on_nodes_that_are_not_trusted_yet() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let settings = Settings::default();
    for (kind, name) in [
        ("StatefulSet", "touchstone"),
        ("DaemonSet", "touchstone-agent"),
    ] {
        let object = helm.one(&settings, kind, name);
        let tolerations = list(&object["spec"]["template"]["spec"], "tolerations");
        let ours = json!({"key": "touchstone.dev/untrusted", "operator": "Exists"});
        assert!(tolerations.contains(&ours), "{kind}");
    }
}

#[test]
fn the_attestor_may_do_this_to_a_cluster_and_nothing_else() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let settings = Settings::default();
    let role = helm.one(&settings, "ClusterRole", "touchstone");
    let here = helm.one(&settings, "Role", "touchstone");
    let mut may = BTreeSet::new();
    for (rule, scope) in list(&role, "rules")
        .iter()
        .map(|rule| (rule, ""))
        .chain(list(&here, "rules").iter().map(|rule| (rule, " here")))
    {
        for resource in words(rule, "resources") {
            let verbs = words(rule, "verbs").join(",");
            let only = words(rule, "resourceNames").join(",");
            let groups = words(rule, "apiGroups").join("|");
            may.insert(
                format!("{verbs} {groups}/{resource}{scope} {only}")
                    .trim()
                    .to_owned(),
            );
        }
    }
    let expected = [
        "get,list,watch,patch,delete /pods",
        "get /namespaces",
        "get,list,watch,patch /nodes",
        "create /events",
        "list,create,patch,delete touchstone.dev/hosttrusts",
        "patch touchstone.dev/hosttrusts/status",
        "list,watch touchstone.dev/hostpolicies",
        "list,watch touchstone.dev/referencevalues",
        "list,watch touchstone.dev/regions",
        "list,watch touchstone.dev/workloadpolicies",
        "patch touchstone.dev/hostpolicies/status",
        "patch touchstone.dev/referencevalues/status",
        "patch touchstone.dev/regions/status",
        "patch touchstone.dev/workloadpolicies/status",
        "create authentication.k8s.io/tokenreviews",
        "get admissionregistration.k8s.io/mutatingwebhookconfigurations touchstone",
        "get admissionregistration.k8s.io/validatingwebhookconfigurations touchstone",
        "create coordination.k8s.io/leases here",
        "get,update coordination.k8s.io/leases here touchstone-controller",
    ];
    assert_eq!(may, expected.map(str::to_owned).into());
    // Nothing more where policies are taken from the cluster.
    let objects = Settings::set(&["controller.policies=objects"]);
    let objects = helm.one(&objects, "ClusterRole", "touchstone");
    assert_eq!(objects["rules"], role["rules"]);
    // Nobody else may do anything.
    for settings in several() {
        for object in helm.render(&settings) {
            let kind = object["kind"].as_str().unwrap();
            if kind.ends_with("Binding") {
                let subjects = json!([
                    {"kind": "ServiceAccount", "name": "touchstone", "namespace": "touchstone"}
                ]);
                assert_eq!(object["subjects"], subjects);
            }
        }
    }
}

#[test]
fn the_attestor_reads_secrets_of_named_namespaces_alone() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let roles = |settings: &Settings| -> Vec<(String, Value)> {
        let objects = helm.render(settings).into_iter();
        let roles = objects.filter(|object| {
            let kind = object["kind"].as_str().unwrap_or_default();
            kind.ends_with("Role") && object["rules"].to_string().contains("secrets")
        });
        let named = |role: Value| {
            let namespace = role["metadata"]["namespace"].as_str().unwrap().to_owned();
            (namespace, role["rules"].clone())
        };
        roles.map(named).collect()
    };
    assert_eq!(roles(&Settings::default()), []);
    let settings = Settings::set(&["controller.pullSecrets={payments,shop}"]);
    let get = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
    let both = ["payments", "shop"].map(|name| (name.to_owned(), get.clone()));
    assert_eq!(roles(&settings), both);
    let told = helm.one(&settings, "ConfigMap", "touchstone");
    let told = told["data"]["kubernetes.toml"].as_str().unwrap();
    assert!(
        told.contains("[registries]\npull-secrets = [\"payments\",\"shop\"]\n"),
        "{told}"
    );
}
