//! Generated pods: what the patch makes of them may go to no node that they could not go to before, and differs from
//! them in nothing but what is meant.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use touchstone_policies::manifest::PolicySet;
use touchstone_policies::placement::{TIER_LABEL, region_label};

use super::*;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// One that demands every kind of change.
fn policies() -> PolicySet {
    let text = "apiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {name: germany}\n\
         spec: {version: 1, countries: [DE]}\n---\napiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\n\
         metadata: {name: payments}\nspec: {pod: {namespaces: [a]}, host: {tier: affirming, region: germany}, \
         placement: {hold: true, terminationGraceSeconds: 5}}\n";
    PolicySet::parse(text).unwrap()
}

/// The pod as it is after the webhook, held back.
fn mutated(pod: &Value) -> Value {
    let policies = policies();
    let all = policies.workloads.iter();
    let selected: Vec<_> = all.map(|(name, policy)| (name.as_str(), policy)).collect();
    let mut after = pod.clone();
    let changes = place(&mut after, &selected, true);
    notes::write(&mut after, &["payments"], changes);
    after
}

fn expression() -> impl Strategy<Value = Value> {
    let operators = select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
    let labels = select(vec![TIER_LABEL, "disk", "zone"]);
    let values = subsequence(vec!["affirming", "warning", "ssd", "a"], 1..3);
    (labels, operators, values).prop_map(|(label, operator, values)| match operator {
        "In" | "NotIn" => json!({ "key": label, "operator": operator, "values": values }),
        _ => json!({ "key": label, "operator": operator }),
    })
}

/// As a DaemonSet's pods have it.
fn field() -> impl Strategy<Value = Value> {
    let names = subsequence(vec!["n0", "n1", "n2"], 1..3);
    names.prop_map(|names| json!([{ "key": "metadata.name", "operator": "In", "values": names }]))
}

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    proptest::option::of(prop_oneof![1 => Just(Value::Null), 4 => value])
}

/// An object of the parts that are there.
fn object<const N: usize>(parts: [(&str, Option<Value>); N]) -> Value {
    let there = parts.into_iter();
    let there = there.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect())
}

fn term() -> impl Strategy<Value = Value> {
    let expressions = proptest::collection::vec(expression(), 0..3).prop_map(Value::from);
    let parts = (maybe(expressions), maybe(field()));
    parts.prop_map(|(expressions, fields)| {
        object([("matchExpressions", expressions), ("matchFields", fields)])
    })
}

fn affinity() -> impl Strategy<Value = Value> {
    let terms = proptest::collection::vec(term(), 0..4);
    let required = terms.prop_map(|terms| json!({ "nodeSelectorTerms": terms }));
    let preferred = Just(json!([{ "weight": 1, "preference": { "matchExpressions": [] } }]));
    let node = (maybe(required), maybe(preferred)).prop_map(|(required, preferred)| {
        let preferring = "preferredDuringSchedulingIgnoredDuringExecution";
        object([(REQUIRED, required), (preferring, preferred)])
    });
    let parts = (maybe(node), maybe(Just(json!({}))));
    parts.prop_map(|(node, pod)| object([("nodeAffinity", node), ("podAntiAffinity", pod)]))
}

fn annotations() -> impl Strategy<Value = Value> {
    let noted = select(vec!["[\"5 s to end, not 30\"]", "[]", "not ours", ""]);
    let noted = proptest::option::of(noted.prop_map(Value::from));
    let other = proptest::option::of(Just(json!("b")));
    (noted, other)
        .prop_map(|(noted, other)| object([("touchstone.dev/changed", noted), ("a", other)]))
}

fn pod() -> impl Strategy<Value = Value> {
    let grace = select(vec![0, 3, 5, 6, 30, i64::MAX]).prop_map(Value::from);
    let node = select(vec!["", "n1"]).prop_map(Value::from);
    let gates = subsequence(
        vec!["other.dev/gate", "touchstone.dev/awaiting-verdict"],
        0..3,
    );
    let gates = gates.prop_map(|names| {
        let gates = names.into_iter().map(|name| json!({ "name": name }));
        Value::Array(gates.collect())
    });
    let tolerations =
        Just(json!([{ "key": "disk", "operator": "Exists", "tolerationSeconds": 3 }]));
    let parts = (
        maybe(affinity()),
        maybe(grace),
        maybe(node),
        maybe(gates),
        maybe(tolerations),
        maybe(annotations()),
    );
    parts.prop_map(|(affinity, grace, node, gates, tolerations, annotations)| {
        let mut spec = object([
            ("affinity", affinity),
            ("terminationGracePeriodSeconds", grace),
            ("nodeName", node),
            ("schedulingGates", gates),
            ("tolerations", tolerations),
        ]);
        spec["containers"] = json!([{ "name": "c", "image": "r/a:1", "resources": {} }]);
        let metadata = object([("annotations", annotations), ("name", Some(json!("p")))]);
        json!({ "metadata": metadata, "spec": spec, "status": {} })
    })
}

/// Nodes of each kind: label values by key, and a name.
fn nodes() -> Vec<Value> {
    let mut nodes = Vec::new();
    for tier in ["affirming", "warning", "contraindicated", ""] {
        for region in ["true", ""] {
            for disk in ["ssd", "hdd"] {
                for name in ["n0", "n1", "n3"] {
                    let labels = [
                        (TIER_LABEL.to_owned(), tier),
                        (region_label("germany").unwrap(), region),
                        ("disk".to_owned(), disk),
                    ];
                    let there = labels.into_iter().filter(|(_, value)| !value.is_empty());
                    let labels: serde_json::Map<_, _> =
                        there.map(|(key, value)| (key, json!(value))).collect();
                    nodes.push(json!({ "name": name, "labels": labels }));
                }
            }
        }
    }
    nodes
}

/// Whether the scheduler lets the pod onto the node, as far as required node affinity goes.
fn lets(pod: &Value, node: &Value) -> bool {
    let required = &pod["spec"]["affinity"]["nodeAffinity"][REQUIRED];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    required.is_null()
        || list(&required["nodeSelectorTerms"]).iter().any(|term| {
            let expressions = list(&term["matchExpressions"]);
            let fields = list(&term["matchFields"]);
            let demanding = !expressions.is_empty() || !fields.is_empty();
            let labels = &node["labels"];
            demanding
                && expressions
                    .iter()
                    .all(|one| meets(one, labels.get(one["key"].as_str().unwrap())))
                && fields.iter().all(|one| meets(one, node.get("name")))
        })
}

fn meets(expression: &Value, value: Option<&Value>) -> bool {
    let values = expression["values"].as_array();
    let among = value.is_some_and(|value| values.is_some_and(|all| all.contains(value)));
    match expression["operator"].as_str().unwrap() {
        "In" => among,
        "NotIn" => !among,
        "Exists" => value.is_some(),
        _ => value.is_none(),
    }
}

fn fits(node: &Value) -> bool {
    let labels = &node["labels"];
    labels[TIER_LABEL] == "affirming" && labels[region_label("germany").unwrap()] == "true"
}

/// The pod without what may change, and without what is nothing.
fn rest(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for (parent, fields) in [
        ("/spec/affinity/nodeAffinity", &[REQUIRED][..]),
        (
            "/spec",
            &["terminationGracePeriodSeconds", "schedulingGates"],
        ),
        (
            "/metadata/annotations",
            &["touchstone.dev/policies", "touchstone.dev/changed"],
        ),
    ] {
        if let Some(Value::Object(parent)) = pod.pointer_mut(parent) {
            parent.retain(|name, _| !fields.contains(&name.as_str()));
        }
    }
    for made in [
        "/spec/affinity/nodeAffinity",
        "/spec/affinity",
        "/metadata/annotations",
    ] {
        let (parent, name) = made.rsplit_once('/').unwrap();
        let Some(Value::Object(parent)) = pod.pointer_mut(parent) else {
            continue;
        };
        let nothing = |value: &Value| value.is_null() || *value == json!({});
        if parent.get(name).is_some_and(nothing) {
            parent.remove(name);
        }
    }
    pod
}

fn gates(pod: &Value) -> Vec<Value> {
    let gates = pod["spec"]["schedulingGates"].as_array();
    gates.cloned().unwrap_or_default()
}

proptest! {
    #[test]
    fn a_pod_is_narrowed_to_nodes_that_fit_and_is_the_same_otherwise(pod in pod()) {
        let after = mutated(&pod);
        for node in nodes() {
            prop_assert_eq!(lets(&after, &node), lets(&pod, &node) && fits(&node), "{}", node);
        }
        prop_assert_eq!(rest(&after), rest(&pod));
        let grace = |pod: &Value| pod["spec"]["terminationGracePeriodSeconds"].as_i64();
        prop_assert_eq!(grace(&after), Some(grace(&pod).unwrap_or(30).min(5)));
        // Other gates stay, in their order; ours is there once, unless the pod has its node.
        let placed = pod["spec"]["nodeName"] == "n1";
        let ours = json!({ "name": "touchstone.dev/awaiting-verdict" });
        let mut expected = gates(&pod);
        if !placed && !expected.contains(&ours) {
            expected.push(ours);
        }
        prop_assert_eq!(gates(&after), expected);
    }

    #[test]
    fn the_patch_makes_the_pod_and_a_second_one_is_empty(pod in pod()) {
        let after = mutated(&pod);
        let patch = json_patch::diff(&pod, &after);
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        prop_assert_eq!(&patched, &after);
        prop_assert_eq!(mutated(&after), after);
    }
}

#[test]
fn what_was_changed_is_told_once() {
    let pod = json!({ "metadata": {}, "spec": {} });
    let after = mutated(&mutated(&pod));
    let annotations = &after["metadata"]["annotations"];
    assert_eq!(annotations["touchstone.dev/policies"], "payments");
    let changed = annotations["touchstone.dev/changed"].as_str().unwrap();
    let changed: Vec<String> = serde_json::from_str(changed).unwrap();
    assert_eq!(
        changed,
        [
            "only nodes with node-restriction.kubernetes.io/touchstone-tier affirming",
            "only nodes with node-restriction.kubernetes.io/touchstone-region.germany true",
            "5 s to end, not 30",
            "waits until some host fits",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn others_go_on_while_a_large_pod_is_rewritten() {
    let (done, other) = std::sync::mpsc::channel();
    let patience = std::time::Duration::from_secs(10);
    let rewriting = tokio::spawn(async move { apart(APART_MIN, || other.recv_timeout(patience)) });
    tokio::spawn(async move { done.send(()) });
    assert!(rewriting.await.unwrap().is_ok(), "nobody else had a turn");
}
