//! Registries that want a credential, and the pull secrets of a real API server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::cluster::{Cluster, ELSEWHERE};
use touchstone_tests::registry::Registry;
use touchstone_tpm_sim::kubernetes::pods;
use touchstone_tpm_sim::six_nodes::{NAMESPACE, policy};

/// `ci:hush`
const LOGIN: &str = "Y2k6aHVzaA==";

/// A registry with an encrypted image, for `ci` alone; the image's name.
pub(super) fn closed(registry: &Registry) -> String {
    let digest = |text: &str| format!("sha256:{}", Sha256Digest::of(text.as_bytes()));
    let layer = json!({ "mediaType": "a+encrypted", "digest": digest("layer") });
    let manifest = json!({ "config": { "digest": digest("config") }, "layers": [layer] });
    let manifest = manifest.to_string();
    let media = "application/vnd.oci.image.manifest.v1+json";
    registry.put("payments", &digest(&manifest), media, manifest.as_bytes());
    registry.demand(&format!("Basic {LOGIN}"));
    format!("{}/payments@{}", registry.name(), digest(&manifest))
}

pub(super) async fn a_pull_secret_is_shown_where_its_namespace_is_named(
    cluster: &Cluster,
    registry: &Registry,
    image: &str,
) {
    let both = format!("namespaces: [{NAMESPACE}, {ELSEWHERE}]");
    let demands = "  images: {encrypted: true}\n  host:\n    tier: affirming\n";
    let policy = policy()
        .replace("namespaces: [payments]", &both)
        .replace("  host:\n    tier: affirming\n", demands);
    assert!(policy.contains(&both) && policy.contains(demands));
    cluster.world.apply(&policy);
    for namespace in [NAMESPACE, ELSEWHERE] {
        allow(cluster, namespace).await;
        let auths =
            json!({ "auths": { format!("http://{}/v1/", registry.name()): { "auth": LOGIN } } });
        let data = json!({ ".dockerconfigjson": STANDARD.encode(auths.to_string()) });
        secret(
            cluster,
            namespace,
            "pull",
            "kubernetes.io/dockerconfigjson",
            data,
        )
        .await;
    }
    secret(
        cluster,
        NAMESPACE,
        "opaque",
        "Opaque",
        json!({ "a": "aHVzaA==" }),
    )
    .await;
    let made = async |namespace: &str, name: &str, secret: Option<&str>| {
        let mut pod = pods::pod(namespace, name, "payments");
        pod["spec"]["containers"][0]["image"] = json!(image);
        if let Some(secret) = secret {
            pod["spec"]["imagePullSecrets"] = json!([{ "name": secret }]);
        }
        let made = pods::create(cluster.api(), &pod).await;
        made.err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    // The API server would let it be read: the settings do not.
    let refused = made(ELSEWHERE, "unnamed", Some("pull")).await;
    for part in ["could not be learned", "pull-secrets", ELSEWHERE] {
        assert!(refused.contains(part), "`{part}` is not in: {refused}");
    }
    for (name, secret) in [
        ("none", None),
        ("opaque", Some("opaque")),
        ("absent", Some("absent")),
    ] {
        let refused = made(NAMESPACE, name, secret).await;
        let told = refused.contains("could not be learned") && !refused.contains("pull-secrets");
        assert!(told, "{name}: {refused}");
    }
    assert_eq!(made(NAMESPACE, "shown", Some("pull")).await, "");
}

/// As the chart does it for a namespace that its values name.
async fn allow(cluster: &Cluster, namespace: &str) {
    let metadata = json!({ "name": "touchstone-pull-secrets", "namespace": namespace });
    let lists = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules });
    let to = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "touchstone-pull-secrets" });
    let account =
        json!({ "kind": "ServiceAccount", "name": "touchstone", "namespace": "touchstone" });
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": to, "subjects": [account] });
    cluster
        .api()
        .create(&format!("{lists}/roles"), &role)
        .await
        .unwrap();
    cluster
        .api()
        .create(&format!("{lists}/rolebindings"), &binding)
        .await
        .unwrap();
}

async fn secret(cluster: &Cluster, namespace: &str, name: &str, kind: &str, data: Value) {
    let list = format!("/api/v1/namespaces/{namespace}/secrets");
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "type": kind, "data": data });
    cluster.api().create(&list, &secret).await.unwrap();
}
