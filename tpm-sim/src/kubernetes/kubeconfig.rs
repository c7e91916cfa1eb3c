//! Files that tell a program where the API server is and as whom to speak to it; and the one that tells the API server
//! as whom to speak to webhooks.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
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

/// Writes the `KubeSchedulerConfiguration` of a scheduler that asks `extender`, in the newest form that its version reads.
pub(super) fn write_scheduler(
    path: &Path,
    version: &str,
    kubeconfig: &Path,
    extender: &Value,
) -> Result<()> {
    let mut config = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "clientConnection": { "kubeconfig": kubeconfig },
        "leaderElection": { "leaderElect": false },
        "extenders": [extender],
    });
    if let Some(older) = scheduler_form(version) {
        config["apiVersion"] = format!("kubescheduler.config.k8s.io/{older}").into();
        // They would serve on all interfaces.
        for address in ["healthzBindAddress", "metricsBindAddress"] {
            config[address] = "".into();
        }
    }
    save(path, &config)
}

/// What came before `v1`, which 1.25 brought.
fn scheduler_form(version: &str) -> Option<&'static str> {
    let minor = version.strip_prefix("v1.")?.split('.').next()?;
    match minor.parse::<u32>().ok()? {
        ..=22 => Some("v1beta1"),
        23 | 24 => Some("v1beta2"),
        _ => None,
    }
}

fn user(pair: &Pair) -> Value {
    json!({ "client-certificate": pair.certificate, "client-key": pair.key })
}

/// For its owner alone, as the attestor wants it.
fn save(path: &Path, config: &Value) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path);
    file.and_then(|mut file| file.write_all(config.to_string().as_bytes()))
        .map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_reads_another_form_of_a_scheduler_s_settings() {
        let forms = [
            "v1.20.2", "v1.22.9", "v1.23.0", "v1.24.1", "v1.25.0", "v1.36.1",
        ];
        let (older, newer) = (Some("v1beta1"), Some("v1beta2"));
        assert_eq!(
            forms.map(scheduler_form),
            [older, older, newer, newer, None, None]
        );
    }
}
