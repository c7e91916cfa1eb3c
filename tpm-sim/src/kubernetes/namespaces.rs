//! Namespaces: made, and usable once the controller-manager has given them a service account.

use std::time::Duration;

use serde_json::json;

use super::{Api, Error, Result, until};

/// The label by which webhooks tell namespaces apart.
const NAME: &str = "kubernetes.io/metadata.name";
/// Those that every cluster has.
const OF_THE_SYSTEM: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Far longer than a controller takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a namespace, unless it is there, and waits until pods can be made in it.
///
/// # Errors
/// The API server refuses, or no service account comes.
pub async fn create(api: &Api, name: &str) -> Result<()> {
    // Before 1.21 nobody else would set the label.
    let labels = json!({ NAME: name });
    let object = json!({ "metadata": { "name": name, "labels": labels } });
    match api.create("/api/v1/namespaces", &object).await {
        Err(Error::Refused(refusal)) if refusal.reason == "AlreadyExists" => {}
        made => drop(made?),
    }
    let what = format!("the namespace `{name}` has a service account");
    until(&what, PATIENCE, async || is_usable(api, name).await).await
}

/// Whether pods can be made in it: `default` is there.
pub(super) async fn is_usable(api: &Api, name: &str) -> Result<Option<()>> {
    let path = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
    Ok(api.find(&path).await?.map(drop))
}

/// Sets the label where the API server did not; whether it did.
pub(super) async fn name_those_of_the_system(api: &Api) -> Result<bool> {
    let mut by_itself = true;
    for name in OF_THE_SYSTEM {
        let path = format!("/api/v1/namespaces/{name}");
        let what = format!("the namespace `{name}` is there");
        let found = until(&what, PATIENCE, async || api.find(&path).await).await?;
        by_itself &= found["metadata"]["labels"][NAME] == name;
        let labels = json!({ "metadata": { "labels": { NAME: name } } });
        api.patch(&path, &labels).await?;
    }
    Ok(by_itself)
}
