//! The HTTP client of the commands, and the operator's credential that it uses.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroize;

use crate::keys::{self, KeyError};

/// The operator's credential: whom to ask, whom to believe, what to show.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorFile {
    /// Base URL of the attestor.
    pub server: String,
    /// The attestor's CA, PEM.
    pub ca: String,
    /// The operator's bearer token.
    pub token: String,
    /// URL of the webhook with its secret, for the cluster's webhook configuration.
    pub webhook: String,
}

impl OperatorFile {
    /// Reads a credential that nobody but its owner may read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = keys::read_private(path).map_err(|error| match error {
            KeyError::File { source, .. } => unreadable(path, source),
            error => error.into(),
        })?;
        serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not an operator's credential", path.display()))
    }
}

/// Only where there is none is making one good advice: beside one that is merely out of reach, it
/// would be another attestor's.
fn unreadable(path: &Path, error: io::Error) -> anyhow::Error {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "there is no operator's credential `{shown}`; name it with --operator or TOUCHSTONE_OPERATOR, \
             or start the attestor with `touchstone serve`, which makes one"
        ),
        ErrorKind::PermissionDenied => anyhow!(
            "this user may not read the operator's credential `{shown}`; ask as its owner, or name one \
             of yours with --operator or TOUCHSTONE_OPERATOR"
        ),
        ErrorKind::IsADirectory => anyhow!(
            "`{shown}` is a folder; name the operator's credential in it, `operator.json`, with --operator \
             or TOUCHSTONE_OPERATOR"
        ),
        _ => anyhow::Error::new(error)
            .context(format!("cannot read the operator's credential `{shown}`")),
    }
}

impl Drop for OperatorFile {
    fn drop(&mut self) {
        self.token.zeroize();
        self.webhook.zeroize();
    }
}

/// Asks one attestor.
pub(super) struct Client {
    http: reqwest::Client,
    credential: OperatorFile,
}

/// A problem as the attestor sends it.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{detail} ({type})")]
struct Problem {
    r#type: String,
    detail: String,
}

/// Whether the attestor refused with this code.
pub(super) fn is_refusal(error: &anyhow::Error, code: &str) -> bool {
    let refusal = error.downcast_ref::<Problem>();
    let code_of = |problem: &Problem| problem.r#type.strip_prefix("touchstone:") == Some(code);
    refusal.is_some_and(code_of)
}

impl Client {
    pub(super) fn new(operator: &Path) -> anyhow::Result<Self> {
        let credential = OperatorFile::read(operator)?;
        let ca = reqwest::Certificate::from_pem(credential.ca.as_bytes())
            .context("the CA in the operator's credential is broken")?;
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .https_only(true)
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self { http, credential })
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get_text(path).await?)?)
    }

    pub(super) async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        self.send(self.http.get(self.url(path))).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let text = self.send(self.http.post(self.url(path)).json(body)).await?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let text = self.send(self.http.put(self.url(path)).json(body)).await?;
        Ok(serde_json::from_str(&text)?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.credential.server)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<String> {
        let response = request
            .bearer_auth(&self.credential.token)
            .send()
            .await
            .with_context(|| {
                format!(
                    "no answer from the attestor at {} with the CA of the operator's credential; see that \
                     `touchstone serve` runs there, with the folder that the credential came from",
                    self.credential.server
                )
            })?;
        let status = response.status();
        let text = response.text().await?;
        if status.is_success() {
            return Ok(text);
        }
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(problem.into()),
            Err(_) => bail!("the attestor answered {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    /// Permissions cannot be tried as root, so the kinds are.
    #[test]
    fn why_a_credential_cannot_be_read_is_told_apart() {
        for (kind, part, advice) in [
            (ErrorKind::NotFound, "there is no", true),
            (ErrorKind::PermissionDenied, "may not read", false),
            (ErrorKind::IsADirectory, "is a folder", false),
            (ErrorKind::InvalidData, "cannot read", false),
        ] {
            let said = format!("{:#}", unreadable(Path::new("x"), kind.into()));
            assert!(said.contains(part), "{said}");
            assert_eq!(said.contains("touchstone serve"), advice, "{said}");
        }
    }

    #[test]
    fn a_folder_is_no_credential() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder.path(), private).unwrap();
        let said = OperatorFile::read(folder.path()).err().unwrap().to_string();
        assert!(said.contains("is a folder"), "{said}");
    }
}
