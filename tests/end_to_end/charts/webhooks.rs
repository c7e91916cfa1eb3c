//! The webhooks of the chart: closed while the attestor is away, and silent where a cluster heals itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::helm::{CA, Helm, Settings, several};

/// Asked about policies that are objects of the cluster.
const POLICIES: &str = "policies.touchstone.dev";

/// Each webhook of both configurations.
fn webhooks(objects: &[Value]) -> Vec<&Value> {
    let each = objects
        .iter()
        .filter_map(|object| object["webhooks"].as_array());
    each.flatten().collect()
}

/// What is asked and when, without labels, and without what is another in each installation.
pub(super) fn without_caller(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("labels");
    for webhook in object["webhooks"].as_array_mut().unwrap() {
        let call = webhook["clientConfig"].as_object_mut().unwrap();
        call.remove("caBundle");
        let path = call["service"]["path"].as_str().unwrap();
        let path = path.trim_end_matches("/00ff").to_owned();
        call["service"]["path"] = path.into();
    }
    object
}

#[test]
fn there_are_webhooks_once_the_attestors_ca_is_known() {
    let Some(helm) = Helm::find() else {
        return;
    };
    assert!(webhooks(&helm.render(&Settings::default())).is_empty());
    let objects = helm.render(&Settings::with_webhooks(&[]));
    let names: Vec<&str> = webhooks(&objects)
        .iter()
        .map(|webhook| webhook["name"].as_str().unwrap())
        .collect();
    let all = [
        "placement.touchstone.dev",
        "admission.touchstone.dev",
        "status.touchstone.dev",
        "nodes.touchstone.dev",
    ];
    assert_eq!(names, all);
    let objects = helm.render(&Settings::with_webhooks(&["controller.policies=objects"]));
    let policies = webhooks(&objects)
        .into_iter()
        .find(|it| it["name"] == POLICIES);
    let rules = &policies.unwrap()["rules"];
    let kinds = [
        "hostpolicies",
        "referencevalues",
        "regions",
        "workloadpolicies",
    ];
    assert_eq!(rules[0]["apiGroups"], json!(["touchstone.dev"]));
    assert_eq!(rules[0]["resources"], json!(kinds));
    assert_eq!(
        rules[0]["operations"],
        json!(["CREATE", "UPDATE", "DELETE"])
    );
    let objects = helm.render(&Settings::with_webhooks(&["webhooks.mutating=false"]));
    let kinds = objects
        .iter()
        .filter(|object| !object["webhooks"].is_null());
    let kinds: Vec<_> = kinds.map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["ValidatingWebhookConfiguration"]);
}

#[test]
fn a_webhook_that_nobody_answers_refuses_and_leaves_out_what_heals_a_cluster() {
    let Some(helm) = Helm::find() else {
        return;
    };
    for settings in several() {
        for webhook in webhooks(&helm.render(&settings)) {
            assert_eq!(webhook["timeoutSeconds"], 3);
            assert_eq!(webhook["sideEffects"], "NoneOnDryRun");
            assert_eq!(webhook["matchPolicy"], "Equivalent");
            assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]));
            let call = &webhook["clientConfig"];
            let bundle = STANDARD.decode(call["caBundle"].as_str().unwrap()).unwrap();
            assert_eq!(bundle, CA.as_bytes());
            assert!(call["service"]["path"].as_str().unwrap().ends_with("/00ff"));
            if webhook["name"] == "nodes.touchstone.dev" {
                assert_conditions(webhook, settings.kubernetes);
                assert_nodes(webhook, settings.kubernetes);
                continue;
            }
            if webhook["name"] == "status.touchstone.dev" {
                assert_conditions(webhook, settings.kubernetes);
            } else {
                assert_eq!(webhook["failurePolicy"], "Fail");
                assert_eq!(webhook["matchConditions"], Value::Null);
            }
            assert_eq!(webhook["objectSelector"], Value::Null);
            if webhook["name"] == POLICIES {
                assert_eq!(webhook["rules"][0]["scope"], "Cluster");
                continue;
            }
            let exempt = json!({"matchExpressions": [{
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": ["kube-system", "kube-node-lease", "kube-public", "touchstone"],
            }]});
            assert_eq!(webhook["namespaceSelector"], exempt);
        }
    }
}

/// A server that cannot tell which changes are ours must let all of them through while nobody answers.
fn assert_conditions(webhook: &Value, kubernetes: &str) {
    let conditions = webhook["matchConditions"].as_array().map(Vec::len);
    let expected = match kubernetes {
        "1.20" => (None, "Ignore"),
        _ => (Some(1), "Fail"),
    };
    assert_eq!(conditions, expected.0, "{kubernetes}");
    assert_eq!(webhook["failurePolicy"], expected.1, "{kubernetes}");
}

/// One that can tell is asked about heartbeats, too, and one that cannot is not.
fn assert_nodes(webhook: &Value, kubernetes: &str) {
    assert_eq!(webhook["rules"][0]["scope"], "Cluster");
    assert_eq!(webhook["rules"][0]["resources"], json!(["nodes"]));
    let heartbeats = &webhook["rules"][1]["resources"];
    let expected = match kubernetes {
        "1.20" => Value::Null,
        _ => json!(["nodes/status"]),
    };
    assert_eq!(*heartbeats, expected, "{kubernetes}");
}

#[test]
fn both_ways_to_bind_a_pod_and_every_way_to_change_one_are_asked_about() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let settings = Settings::with_webhooks(&[]);
    let asked = helm.one(&settings, "ValidatingWebhookConfiguration", "touchstone");
    let rules = asked["webhooks"].as_array().unwrap().iter();
    let rules = rules.flat_map(|webhook| webhook["rules"].as_array().unwrap());
    let rules: Vec<&Value> = rules.collect();
    for (operation, resource) in [
        ("CREATE", "pods"),
        ("UPDATE", "pods"),
        ("UPDATE", "pods/ephemeralcontainers"),
        ("UPDATE", "pods/status"),
        ("CREATE", "pods/binding"),
        ("CREATE", "bindings"),
    ] {
        let names = |list: &Value, name: &str| list.as_array().unwrap().contains(&name.into());
        let about = |rule: &&&Value| {
            names(&rule["operations"], operation) && names(&rule["resources"], resource)
        };
        assert_eq!(
            rules.iter().filter(about).count(),
            1,
            "{operation} {resource}"
        );
    }
}

/// Each document that a page writes into a file for `kubectl apply`, with what shells put into it left out.
fn told(page: &str) -> Vec<Value> {
    let path = format!("{}/../docs/operators/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let written = text.split("<<Y\n").skip(1);
    let documents = written.map(|rest| rest.split_once("\nY\n").unwrap().0);
    let plain = documents.map(|document| {
        let lines = document.lines().filter(|line| !line.contains("$("));
        lines.collect::<Vec<_>>().join("\n")
    });
    plain
        .map(|document| serde_saphyr::from_str(&document).unwrap())
        .collect()
}

#[test]
fn the_page_tells_the_webhooks_that_the_chart_has() {
    let Some(helm) = Helm::find() else {
        return;
    };
    // The page is for any server, so that it says of nodes what the chart says to the oldest.
    let mut oldest = Settings::with_webhooks(&[]);
    oldest.kubernetes = "1.20";
    let told = told("clusters.md");
    assert_eq!(told.len(), 2);
    for page in told {
        let kind = page["kind"].as_str().unwrap();
        let chart = helm.one(&oldest, kind, "touchstone");
        let [page, chart] = [&page, &chart].map(rules_and_conditions);
        assert_eq!(page, chart, "{kind}");
    }
}

/// What is asked and when, of each webhook.
fn rules_and_conditions(object: &Value) -> Vec<Value> {
    let webhooks = object["webhooks"].as_array().unwrap().iter().cloned();
    webhooks
        .map(|mut webhook| {
            webhook.as_object_mut().unwrap().remove("clientConfig");
            webhook
        })
        .collect()
}
