//! Asks the attestor's webhook what a Kubernetes API server asks: may this pod run on this node?
//!
//! A pod's CREATE review comes first, then that of its binding.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use touchstone_tpm_sim::review::{self, Answer, Pod};

use crate::attestor::Credential;
use crate::machine::fresh_uuid;

/// As long as an API server would wait (`timeoutSeconds`).
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Namespace and label of the pod that is placed, which the sample policy is for.
const NAMESPACE: &str = "payments";
const APP: &str = "payments";

/// The webhook, with a client that believes only the attestor's own CA.
pub(super) struct Webhook {
    http: reqwest::Client,
    /// Base URL of the attestor.
    server: String,
    url: String,
}

/// What the webhook decided about one pod on one node.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Decision {
    /// Whether the pod may run there.
    pub(super) admitted: bool,
    /// Why not, in the webhook's words.
    pub(super) message: Option<String>,
    /// Leaf hash of the audit entry.
    pub(super) entry: Option<String>,
}

impl Webhook {
    /// The webhook that the operator's credential names.
    pub(super) fn of(operator: &Path) -> anyhow::Result<Self> {
        let credential = Credential::read(operator)?;
        // Another provider may be installed already: it does as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(
                credential.ca.as_bytes(),
            )?)
            .https_only(true)
            .no_proxy()
            .timeout(ANSWER_MAX)
            .build()?;
        Ok(Self {
            http,
            server: credential.server,
            url: credential.webhook,
        })
    }

    /// Creates a pod and binds it to `node`.
    pub(super) async fn place(&self, node: &str) -> anyhow::Result<Decision> {
        let uid = fresh_uuid()?;
        let name = format!("api-{}", uid.get(..8).unwrap_or_default());
        let pod = Pod {
            namespace: NAMESPACE,
            name: &name,
            uid: &uid,
            app: APP,
        };
        let review = fresh_uuid()?;
        let created = self.ask(&review, pod.creation(&review)).await?;
        ensure!(
            created.allowed,
            "the pod may not even be created: {}",
            created.message().unwrap_or_default()
        );
        let review = fresh_uuid()?;
        let bound = self.ask(&review, pod.binding(&review, node)).await?;
        Ok(Decision {
            admitted: bound.allowed,
            message: bound.message().map(str::to_owned),
            entry: bound.entry().map(str::to_owned),
        })
    }

    /// Sends the review with this uid.
    pub(super) async fn ask(&self, uid: &str, review: Value) -> anyhow::Result<review::Decision> {
        let answer = self.http.post(&self.url).json(&review).send().await;
        // The URL holds the webhook's secret.
        let answer = answer.map_err(reqwest::Error::without_url);
        let answer = answer.with_context(|| {
            format!(
                "no answer from the attestor at {} with the CA of the credential; see that `touchstone serve` runs there, \
                 with the folder that the credential came from, or `make demo KEEP=1`",
                self.server
            )
        })?;
        if !answer.status().is_success() {
            bail!("the webhook answers {}", answer.status());
        }
        let answer: Answer = answer.json().await.map_err(reqwest::Error::without_url)?;
        answer
            .to(uid)
            .context("the webhook answered another review")
    }
}
