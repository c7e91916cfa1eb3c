//! Files that tell a program where the API server is and as whom to speak to it; and the one that tells the API server
//! as whom to speak to webhooks.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::certificates::{Authority, Pair};
use super::{Error, Result};

/// Writes the kubeconfig of a client of `server` (its URL). JSON is YAML.
pub(super) fn write(path: &Path, server: &str, authority: &Authority, pair: &Pair) -> Result<()> {
    let name = "control-plane";
    let cluster = json!({ "server": server, "certificate-authority": authority.file() });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{ "name": name, "cluster": cluster }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "users": [{ "name": name, "user": user(pair) }],
    });
    save(path, &config)
}

/// Writes what `--admission-control-config-file` wants, so that the API server shows `pair` to every webhook.
pub(super) fn write_admission(folder: &Path, pair: &Pair) -> Result<std::path::PathBuf> {
    let (callers, path) = (folder.join("webhook-callers"), folder.join("admission"));
    // `*`: whichever server the webhook is on.
    save(
        &callers,
        &json!({
            "apiVersion": "v1", "kind": "Config", "users": [{ "name": "*", "user": user(pair) }],
        }),
    )?;
    let plugin = |name| {
        json!({ "name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": callers,
        }})
    };
    let plugins = ["ValidatingAdmissionWebhook", "MutatingAdmissionWebhook"].map(plugin);
    save(
        &path,
        &json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins,
        }),
    )?;
    Ok(path)
}

fn user(pair: &Pair) -> Value {
    json!({ "client-certificate": pair.certificate, "client-key": pair.key })
}

fn save(path: &Path, config: &Value) -> Result<()> {
    fs::write(path, config.to_string()).map_err(Error::file(path))
}
