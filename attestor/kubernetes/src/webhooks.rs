//! Our own webhook configurations, watched: whoever removes or narrows one takes the choke point away, and is seen.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhook,
    ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::Api;

use crate::cluster::{Cluster, ClusterError};
use crate::names::EXEMPT;

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
    /// What is not asked of us though it must be, in words, sorted.
    pub gaps: Vec<String>,
}

impl Cluster {
    /// Looks at our webhook configurations as they are now.
    pub async fn webhooks(&self) -> Result<Webhooks, ClusterError> {
        let name = &self.config.webhooks;
        let validating = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
        let validating = self.look(validating.get_opt(name)).await?;
        let mutating = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        let mutating = self.look(mutating.get_opt(name)).await?;
        let hooks = validating
            .as_ref()
            .and_then(|found| found.webhooks.as_deref())
            .unwrap_or_default();
        Ok(Webhooks {
            gaps: gaps(hooks, &self.config.namespace),
            validating: validating.map(|found| found.metadata.generation.unwrap_or(0)),
            mutating: mutating.map(|found| found.metadata.generation.unwrap_or(0)),
        })
    }
}

/// What of [`REQUIRED`] no webhook asks for everywhere but in the namespaces that are exempt.
fn gaps(hooks: &[ValidatingWebhook], namespace: &str) -> Vec<String> {
    let missing = REQUIRED.iter().filter(|(operation, resource)| {
        !hooks
            .iter()
            .any(|hook| is_strict(hook, namespace) && asks(hook, operation, resource))
    });
    let mut gaps: Vec<String> = missing
        .map(|(operation, resource)| format!("{operation} {resource}"))
        .collect();
    gaps.sort_unstable();
    gaps
}

/// Whether it is asked for every object outside of the exempt namespaces, and refuses where it does not answer.
fn is_strict(hook: &ValidatingWebhook, namespace: &str) -> bool {
    let unconditional = hook.match_conditions.as_ref().is_none_or(Vec::is_empty);
    let fails = hook.failure_policy.as_deref() == Some("Fail");
    let all_objects = hook.object_selector.as_ref().is_none_or(|selector| {
        selector
            .match_labels
            .as_ref()
            .is_none_or(|labels| labels.is_empty())
            && selector
                .match_expressions
                .as_ref()
                .is_none_or(Vec::is_empty)
    });
    let namespaces = hook
        .namespace_selector
        .as_ref()
        .is_none_or(|selector| exempts_only_known(selector, namespace));
    unconditional && fails && all_objects && namespaces
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

    use serde_json::{Value, json};

    use super::*;

    fn hook(change: impl FnOnce(&mut Value)) -> Vec<ValidatingWebhook> {
        let mut hook = json!({
            "name": "pods.touchstone.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "url": "https://127.0.0.1/" },
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
        assert_eq!(gaps(&hook(|_| ()), "touchstone"), Vec::<String>::new());
        assert_eq!(gaps(&[], "touchstone").len(), REQUIRED.len());
    }

    #[test]
    fn whatever_narrows_it_is_a_gap() {
        let narrowed: [fn(&mut Value); 7] = [
            |hook| hook["failurePolicy"] = json!("Ignore"),
            |hook| hook["objectSelector"] = json!({ "matchLabels": { "a": "b" } }),
            |hook| hook["namespaceSelector"]["matchLabels"] = json!({ "a": "b" }),
            |hook| hook["namespaceSelector"]["matchExpressions"][0]["key"] = json!("exempt"),
            |hook| hook["namespaceSelector"]["matchExpressions"][0]["operator"] = json!("In"),
            |hook| hook["namespaceSelector"]["matchExpressions"][0]["values"] = json!(["payments"]),
            |hook| hook["matchConditions"] = json!([{ "name": "a", "expression": "false" }]),
        ];
        for narrow in narrowed {
            assert_eq!(gaps(&hook(narrow), "touchstone").len(), REQUIRED.len());
        }
        let found = gaps(
            &hook(|hook| hook["rules"][1]["resources"] = json!(["bindings"])),
            "touchstone",
        );
        assert_eq!(found, ["CREATE pods/binding"]);
        let found = gaps(
            &hook(|hook| hook["rules"][0]["operations"] = json!(["CREATE"])),
            "touchstone",
        );
        assert_eq!(found, ["UPDATE pods", "UPDATE pods/ephemeralcontainers"]);
    }
}
