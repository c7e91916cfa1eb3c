//! Our own webhook configurations, watched: whoever removes or narrows one takes the choke point away, and is seen.

mod callee;

use k8s_openapi::api::admissionregistration::v1::{RuleWithOperations, ValidatingWebhook};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::GetParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::names::EXEMPT;
pub use callee::Callee;

/// What must be asked of us, whatever else is: operation and resource.
const REQUIRED: [(&str, &str); 5] = [
    ("CREATE", "pods"),
    ("UPDATE", "pods"),
    ("UPDATE", "pods/ephemeralcontainers"),
    ("CREATE", "pods/binding"),
    ("CREATE", "bindings"),
];

/// How our configurations are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Webhooks {
    /// The generation of the validating one; `None`: it is not there.
    pub validating: Option<i64>,
    /// The generation of the mutating one; `None`: it is not there.
    pub mutating: Option<i64>,
    /// Which ones of their name they are.
    pub validating_uid: Option<String>,
    /// The same.
    pub mutating_uid: Option<String>,
    /// What is not asked of us though it must be, in words, sorted.
    pub gaps: Vec<String>,
    /// Why, in sentences that say where.
    pub faults: Vec<String>,
}

/// What is looked at in a configuration: nothing else in it keeps it from being read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    metadata: Metadata,
    webhooks: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    uid: Option<String>,
    generation: Option<i64>,
}

impl Cluster {
    /// Looks at our webhook configurations as they are now. `ours`: whom they must lead to.
    pub async fn webhooks(&self, ours: &Callee<'_>) -> Result<Webhooks, ClusterError> {
        let validating = self.configuration("validating").await?;
        let mutating = self.configuration("mutating").await?;
        let generation = |found: &Option<Configuration>| {
            let metadata = found.as_ref().map(|found| &found.metadata);
            metadata.map(|metadata| metadata.generation.unwrap_or(0))
        };
        let uid = |found: &Option<Configuration>| found.as_ref()?.metadata.uid.clone();
        let hooks = validating.iter().flat_map(|found| &found.webhooks);
        // One that cannot be read asks us nothing that is known.
        let hooks = hooks.filter_map(|hook| ValidatingWebhook::deserialize(hook).ok());
        let hooks: Vec<ValidatingWebhook> = hooks.collect();
        let namespace = &self.config.namespace;
        let faults = match &validating {
            Some(_) => faults(&hooks, namespace, ours),
            None => vec!["it is not there".to_owned()],
        };
        Ok(Webhooks {
            gaps: gaps(&hooks, namespace, ours),
            faults,
            validating: generation(&validating),
            mutating: generation(&mutating),
            validating_uid: uid(&validating),
            mutating_uid: uid(&mutating),
        })
    }

    async fn configuration(&self, kind: &str) -> Result<Option<Configuration>, ClusterError> {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
        let request = Request::new(path).get(&self.config.webhooks, &GetParams::default());
        let request = request.map_err(kube::Error::BuildRequest)?;
        match self.look(self.client.request::<Value>(request)).await {
            Ok(found) => Ok(Some(Configuration::deserialize(found).unwrap_or_default())),
            Err(ClusterError::Api(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What of [`REQUIRED`] no webhook asks us for everywhere but in the namespaces that are exempt.
fn gaps(hooks: &[ValidatingWebhook], namespace: &str, ours: &Callee<'_>) -> Vec<String> {
    let strict = hooks
        .iter()
        .filter(|hook| weaknesses(hook, namespace, ours).is_empty());
    let strict: Vec<_> = strict.collect();
    let missing = REQUIRED
        .iter()
        .filter(|(operation, resource)| !strict.iter().any(|hook| asks(hook, operation, resource)));
    let mut gaps: Vec<String> = missing
        .map(|(operation, resource)| format!("{operation} {resource}"))
        .collect();
    gaps.sort_unstable();
    gaps
}

/// Why there are gaps: what weakens the webhooks that ask, and what none has a rule for.
fn faults(hooks: &[ValidatingWebhook], namespace: &str, ours: &Callee<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for (operation, resource) in REQUIRED {
        let asking = hooks.iter().filter(|hook| asks(hook, operation, resource));
        let asking: Vec<_> = asking
            .map(|hook| (hook, weaknesses(hook, namespace, ours)))
            .collect();
        if asking.iter().any(|(_, weak)| weak.is_empty()) {
            continue;
        }
        let mut said: Vec<String> = asking
            .iter()
            .flat_map(|(hook, weak)| weak.iter().map(|weak| format!("`{}`: {weak}", hook.name)))
            .collect();
        if asking.is_empty() {
            said.push(format!("no rule asks about {operation} of {resource}"));
        }
        said.retain(|fault| !faults.contains(fault));
        faults.extend(said);
    }
    faults
}

/// What keeps a webhook from being asked for every object outside of the exempt namespaces, of us alone, with a refusal where
/// nobody answers.
fn weaknesses(hook: &ValidatingWebhook, namespace: &str, ours: &Callee<'_>) -> Vec<&'static str> {
    let unconditional = hook.match_conditions.as_ref().is_none_or(Vec::is_empty);
    let fails = hook.failure_policy.as_deref() == Some("Fail");
    let objects = hook.object_selector.as_ref();
    let namespaces = hook.namespace_selector.as_ref();
    let checks = [
        (fails, "its `failurePolicy` is not `Fail`"),
        (objects.is_none_or(is_empty), "it has an `objectSelector`"),
        (
            namespaces.is_none_or(|selector| exempts_only_known(selector, namespace)),
            "its `namespaceSelector` leaves out more than the system's namespaces and ours",
        ),
        (unconditional, "it has `matchConditions`"),
    ];
    let weak = checks.into_iter().filter(|(good, _)| !good);
    let weak = weak.map(|(_, weakness)| weakness);
    weak.chain(ours.fault(&hook.client_config)).collect()
}

fn is_empty(selector: &LabelSelector) -> bool {
    let labels = selector.match_labels.as_ref();
    let expressions = selector.match_expressions.as_ref();
    labels.is_none_or(|labels| labels.is_empty()) && expressions.is_none_or(Vec::is_empty)
}

/// By `kubernetes.io/metadata.name` alone, which nobody can set: any other label exempts whoever may set it.
fn exempts_only_known(selector: &LabelSelector, namespace: &str) -> bool {
    let no_labels = selector
        .match_labels
        .as_ref()
        .is_none_or(|labels| labels.is_empty());
    let mut expressions = selector.match_expressions.iter().flatten();
    no_labels
        && expressions.all(|expression| {
            let values = expression.values.as_deref().unwrap_or_default();
            expression.key == "kubernetes.io/metadata.name"
                && expression.operator == "NotIn"
                && values
                    .iter()
                    .all(|value| value == namespace || EXEMPT.contains(&&**value))
        })
}

fn asks(hook: &ValidatingWebhook, operation: &str, resource: &str) -> bool {
    let rules = hook.rules.as_deref().unwrap_or_default();
    rules.iter().any(|rule| covers(rule, operation, resource))
}

fn covers(rule: &RuleWithOperations, operation: &str, resource: &str) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        let list = list.as_deref().unwrap_or_default();
        list.iter().any(|value| value == wanted || value == "*")
    };
    let whole = match resource.split_once('/') {
        Some((_, sub)) => format!("*/{sub}"),
        None => "*".to_owned(),
    };
    let resources = rule.resources.as_deref().unwrap_or_default();
    let named = resources
        .iter()
        .any(|value| value == resource || *value == whole || value == "*/*");
    has(&rule.api_groups, "")
        && has(&rule.api_versions, "v1")
        && has(&rule.operations, operation)
        && named
        && rule.scope.as_deref() != Some("Cluster")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    fn hook(change: impl FnOnce(&mut Value)) -> Vec<ValidatingWebhook> {
        let mut hook = json!({
            "name": "pods.touchstone.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": callee::tests::url("https://127.0.0.1:8443/kubernetes/v1/validate"),
            "sideEffects": "NoneOnDryRun",
            "failurePolicy": "Fail",
            "namespaceSelector": { "matchExpressions": [{
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": ["kube-system", "touchstone"],
            }]},
            "objectSelector": {},
            "rules": [
                { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                  "resources": ["pods", "pods/ephemeralcontainers"], "scope": "*" },
                { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                  "resources": ["pods/binding", "bindings"], "scope": "Namespaced" },
            ],
        });
        change(&mut hook);
        vec![serde_json::from_value(hook).unwrap()]
    }

    #[test]
    fn what_is_installed_has_no_gap_and_nothing_at_all_has_every_one() {
        assert_eq!(
            gaps(&hook(|_| ()), "touchstone", &callee::tests::ours()),
            Vec::<String>::new()
        );
        assert_eq!(
            gaps(&[], "touchstone", &callee::tests::ours()).len(),
            REQUIRED.len()
        );
    }

    #[test]
    fn whatever_narrows_it_is_a_gap() {
        let narrowed: [fn(&mut Value); 8] = [
            |hook| hook["failurePolicy"] = json!("Ignore"),
            |hook| hook["objectSelector"] = json!({ "matchLabels": { "a": "b" } }),
            |hook| hook["namespaceSelector"]["matchLabels"] = json!({ "a": "b" }),
            |hook| hook["namespaceSelector"]["matchExpressions"][0]["key"] = json!("exempt"),
            |hook| hook["namespaceSelector"]["matchExpressions"][0]["operator"] = json!("In"),
            |hook| hook["namespaceSelector"]["matchExpressions"][0]["values"] = json!(["payments"]),
            |hook| hook["clientConfig"]["caBundle"] = json!(null),
            |hook| hook["matchConditions"] = json!([{ "name": "a", "expression": "false" }]),
        ];
        for narrow in narrowed {
            assert_eq!(
                gaps(&hook(narrow), "touchstone", &callee::tests::ours()).len(),
                REQUIRED.len()
            );
        }
        let found = gaps(
            &hook(|hook| hook["rules"][1]["resources"] = json!(["bindings"])),
            "touchstone",
            &callee::tests::ours(),
        );
        assert_eq!(found, ["CREATE pods/binding"]);
        let found = gaps(
            &hook(|hook| hook["rules"][0]["operations"] = json!(["CREATE"])),
            "touchstone",
            &callee::tests::ours(),
        );
        assert_eq!(found, ["UPDATE pods", "UPDATE pods/ephemeralcontainers"]);
    }

    #[test]
    fn each_fault_is_told_apart() {
        let said = |hooks: &[ValidatingWebhook]| {
            faults(hooks, "touchstone", &callee::tests::ours()).join("; ")
        };
        assert_eq!(said(&hook(|_| ())), "");
        type Case = (fn(&mut Value), &'static str);
        let cases: [Case; 6] = [
            (
                |hook| hook["failurePolicy"] = json!("Ignore"),
                "`failurePolicy`",
            ),
            (
                |hook| hook["objectSelector"] = json!({ "matchLabels": { "a": "b" } }),
                "`objectSelector`",
            ),
            (
                |hook| hook["namespaceSelector"]["matchLabels"] = json!({ "a": "b" }),
                "`namespaceSelector`",
            ),
            (
                |hook| hook["matchConditions"] = json!([{ "name": "a", "expression": "false" }]),
                "`matchConditions`",
            ),
            (
                |hook| hook["clientConfig"]["caBundle"] = json!(null),
                "`caBundle`",
            ),
            (
                |hook| hook["rules"][1]["resources"] = json!(["bindings"]),
                "no rule asks about CREATE of pods/binding",
            ),
        ];
        for (weaken, part) in cases {
            let faults = said(&hook(weaken));
            assert!(faults.contains(part), "{faults}");
            // Once, however many kinds of requests it concerns, and nothing else.
            assert_eq!(faults.matches(';').count(), 0, "{faults}");
        }
    }
}
