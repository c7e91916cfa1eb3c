//! Our webhook configurations, as `deploy/kubernetes/webhooks.yaml` has them, for an attestor outside of the cluster.
//!
//! Only where the attestor is found differs: by URL instead of a service, and which CA it has.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::{Api, Error, Result, pods, until};

/// The file, carried inside the program.
const FILE: &str = include_str!("../../../deploy/kubernetes/webhooks.yaml");
const LISTS: &str = "/apis/admissionregistration.k8s.io/v1";
/// API servers hear of a configuration within a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
/// A node that nobody has.
const NOWHERE: &str = "nowhere.invalid";

/// An attestor.
#[derive(Clone, Copy, Debug)]
pub struct Attestor<'a> {
    /// Its URL, without a path.
    pub url: &'a str,
    /// Its CA, PEM.
    pub ca: &'a str,
}

/// The configuration of the validating webhooks: they judge, and change nothing.
///
/// # Errors
/// [`Error::Manifest`].
pub fn validating(attestor: Attestor<'_>) -> Result<Value> {
    configuration("ValidatingWebhookConfiguration", attestor)
}

/// The configuration of the mutating webhooks.
///
/// # Errors
/// [`Error::Manifest`].
pub fn mutating(attestor: Attestor<'_>) -> Result<Value> {
    configuration("MutatingWebhookConfiguration", attestor)
}

/// Gives a configuration to the API server, in place of the one of its name.
///
/// # Errors
/// The API server refuses.
pub async fn install(api: &Api, configuration: &Value) -> Result<()> {
    let kind = text(configuration, "/kind")?.to_lowercase();
    let name = text(configuration, "/metadata/name")?;
    let list = format!("{LISTS}/{kind}s");
    let path = format!("{list}/{name}");
    match api.find(&path).await? {
        None => api.create(&list, configuration).await,
        Some(_) => api.patch(&path, configuration).await,
    }
    .map(drop)
}

/// Waits until the API server asks about pods such as this one: on a node that nobody has it is refused, by a webhook.
/// Nothing is made.
///
/// # Errors
/// It never is.
pub async fn in_force(api: &Api, pod: &Value) -> Result<()> {
    let mut trial = pod.clone();
    trial["spec"]["nodeName"] = NOWHERE.into();
    let namespace = text(&trial, "/metadata/namespace")?;
    let path = format!("{}?dryRun=All", pods::list(namespace));
    until(
        "the API server asks our webhook",
        PATIENCE,
        async || match api.create(&path, &trial).await {
            Err(Error::Refused(refusal)) if refusal.message.contains("admission webhook") => {
                Ok(Some(()))
            }
            made => made.map(|_| None),
        },
    )
    .await
}

/// Whether API servers ask nothing about this namespace.
///
/// # Errors
/// [`Error::Manifest`].
pub fn exempts(namespace: &str) -> Result<bool> {
    let configuration = read("ValidatingWebhookConfiguration")?;
    let names = "/webhooks/0/namespaceSelector/matchExpressions/0/values";
    let names = configuration.pointer(names).and_then(Value::as_array);
    let names = names.ok_or_else(|| Error::Manifest("no namespaces are exempt".to_owned()))?;
    Ok(names.iter().any(|name| name == namespace))
}

fn configuration(kind: &str, attestor: Attestor<'_>) -> Result<Value> {
    let mut configuration = read(kind)?;
    let webhooks = configuration["webhooks"].as_array_mut();
    let webhooks = webhooks.ok_or_else(|| Error::Manifest(format!("a {kind} without webhooks")))?;
    for webhook in webhooks {
        let path = text(webhook, "/clientConfig/service/path")?;
        webhook["clientConfig"] = json!({
            "url": format!("{}{path}", attestor.url),
            "caBundle": BASE64_STANDARD.encode(attestor.ca),
        });
    }
    Ok(configuration)
}

/// The document of this kind.
fn read(kind: &str) -> Result<Value> {
    for document in FILE.split("\n---\n") {
        let document: Value =
            serde_saphyr::from_str(document).map_err(|error| Error::Manifest(error.to_string()))?;
        if document["kind"] == kind {
            return Ok(document);
        }
    }
    Err(Error::Manifest(format!("no {kind}")))
}

fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str> {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.ok_or_else(|| Error::Manifest(format!("no text at {pointer}")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn every_webhook_fails_closed_soon_and_exempts_by_the_name_alone() {
        let attestor = Attestor {
            url: "https://127.0.0.1:1",
            ca: "CA",
        };
        for configuration in [validating(attestor), mutating(attestor)] {
            for webhook in configuration.unwrap()["webhooks"].as_array().unwrap() {
                // Kubelets write statuses all the time, and must while nobody answers.
                let policy = match webhook["name"].as_str() {
                    Some("status.touchstone.dev") => "Ignore",
                    _ => "Fail",
                };
                assert_eq!(webhook["failurePolicy"], policy);
                assert_eq!(webhook["sideEffects"], "NoneOnDryRun");
                assert!(webhook["timeoutSeconds"].as_u64().unwrap() <= 3);
                assert!(webhook.get("objectSelector").is_none());
                let selector = &webhook["namespaceSelector"];
                assert!(selector.get("matchLabels").is_none());
                let expressions = selector["matchExpressions"].as_array().unwrap();
                assert_eq!(expressions.len(), 1);
                assert_eq!(expressions[0]["key"], "kubernetes.io/metadata.name");
                assert_eq!(expressions[0]["operator"], "NotIn");
                let url = webhook["clientConfig"]["url"].as_str().unwrap();
                assert!(
                    url.starts_with("https://127.0.0.1:1/kubernetes/v1/"),
                    "{url}"
                );
            }
        }
    }

    #[test]
    fn each_way_to_place_or_change_a_pod_is_asked_about() {
        let configuration = read("ValidatingWebhookConfiguration").unwrap();
        let rules = configuration["webhooks"][0]["rules"].as_array().unwrap();
        let asked: Vec<String> = rules
            .iter()
            .map(|rule| format!("{} {}", rule["operations"], rule["resources"]))
            .collect();
        assert_eq!(
            asked,
            [
                r#"["CREATE","UPDATE"] ["pods"]"#,
                r#"["UPDATE"] ["pods/ephemeralcontainers"]"#,
                r#"["CREATE"] ["pods/binding","bindings"]"#,
            ]
        );
    }
}
