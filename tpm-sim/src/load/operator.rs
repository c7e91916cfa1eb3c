//! The operator's side: what has to be known before hosts can enrol, and what the server says of itself.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use hyper::{Method, Uri};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::wire::{Answer, Connection, Endpoint, Tls};

/// The operator's credential, as `touchstone serve` writes it.
#[derive(Deserialize)]
pub(crate) struct Credential {
    server: String,
    pub(crate) ca: String,
    token: String,
    /// URL of the webhook, with its secret.
    webhook: String,
}

impl Credential {
    /// Reads it.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read(path).with_context(|| {
            format!(
                "cannot read the operator's credential `{shown}`; it is `operator.json` in the data folder of \
                 `touchstone serve`"
            )
        })?;
        serde_json::from_slice(&text)
            .with_context(|| format!("`{shown}` is not an operator's credential"))
    }

    /// Where the webhook is, on whichever address: a secret.
    pub(crate) fn webhook_path(&self) -> anyhow::Result<String> {
        let uri: Option<Uri> = self.webhook.parse().ok();
        let path = uri.map(|uri| uri.path().to_owned());
        path.context("the operator's credential names no webhook; give one of this version")
    }

    /// Where schedulers ask for `what`: a secret as well.
    pub(crate) fn extender_path(&self, what: &str) -> anyhow::Result<String> {
        let webhook = self.webhook_path()?;
        let secret = webhook.rsplit('/').next().unwrap_or_default();
        Ok(format!("/kubernetes/v1/extender/{what}/{secret}"))
    }

    /// The attestor that it is for, unless another address is given.
    pub(crate) fn endpoint(&self, server: Option<&str>) -> anyhow::Result<Arc<Endpoint>> {
        Endpoint::parse(server.unwrap_or(&self.server)).map(Arc::new)
    }
}

/// Asks one attestor.
#[derive(Clone)]
pub(crate) struct Operator {
    endpoint: Arc<Endpoint>,
    tls: Arc<ClientConfig>,
    /// The attestor ends one over which nothing was said for a while.
    connection: Arc<Mutex<Connection>>,
    token: String,
}

/// A refusal, with its code.
#[derive(Debug, thiserror::Error)]
#[error("the attestor refuses: {detail} (touchstone:{code})")]
pub(crate) struct Refused {
    pub(crate) code: String,
    detail: String,
}

impl Operator {
    /// Connects.
    pub(crate) async fn connect(
        credential: &Credential,
        endpoint: &Arc<Endpoint>,
        tls: &Tls,
    ) -> anyhow::Result<Self> {
        let tls = tls.anonymous()?;
        let connection = Connection::open(endpoint, &tls).await?;
        Ok(Self {
            endpoint: Arc::clone(endpoint),
            tls,
            connection: Arc::new(Mutex::new(connection)),
            token: credential.token.clone(),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    /// GET of whatever is there, as it is.
    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.send(method, path, body).await?;
        if !answer.is_success() {
            let problem = answer.problem();
            bail!(Refused {
                code: problem.code().to_owned(),
                detail: problem.detail,
            });
        }
        let wrong = || {
            format!("the attestor's answer to `{path}` is not JSON; see that it is of this version")
        };
        serde_json::from_slice(&answer.body).with_context(wrong)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()?
            .unwrap_or_default();
        let mut connection = self.connection.lock().await;
        if !connection.is_open() {
            *connection = Connection::open(&self.endpoint, &self.tls).await?;
        }
        let sent = connection.send(method, path, Some(&self.token), body.into());
        sent.await
            .with_context(|| format!("no answer to `{path}`; see that the attestor still runs"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_credential_names_its_attestor_unless_another_is_given() {
        let text = r#"{"server":"https://a:1","ca":"pem","token":"t","webhook":"https://a:1/w"}"#;
        let credential: Credential = serde_json::from_str(text).unwrap();
        assert_eq!(credential.endpoint(None).unwrap().url(), "https://a:1");
        let other = credential.endpoint(Some("https://b")).unwrap();
        assert_eq!(other.url(), "https://b");
        assert_eq!(credential.webhook_path().unwrap(), "/w");
    }

    #[test]
    fn what_cannot_be_read_says_where_one_is() {
        let error = Credential::read(Path::new("/nowhere/at/all"))
            .err()
            .unwrap();
        assert!(
            format!("{error:#}").contains("touchstone serve"),
            "{error:#}"
        );
    }
}
