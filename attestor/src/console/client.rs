//! The HTTP client of the commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Certificate, Identity, Response, Url};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::credential_file::{CredentialFile, Shown};

/// For what is worked out for every host of a large fleet, or is as long as its history.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Asks one attestor.
pub(super) struct Client {
    http: reqwest::Client,
    credential: CredentialFile,
    file: PathBuf,
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

/// Whether the attestor refused, for whatever reason.
pub(super) fn is_refused(error: &anyhow::Error) -> bool {
    error.is::<Problem>()
}

impl Client {
    pub(super) fn new(file: &Path) -> anyhow::Result<Self> {
        let credential = CredentialFile::read(file)?;
        let ca = Certificate::from_pem_bundle(credential.ca.as_bytes())
            .context("the CA in the credential is broken")?;
        let http = reqwest::Client::builder()
            .tls_certs_only(ca)
            .https_only(true)
            .timeout(Duration::from_secs(60));
        let http = match &credential.shown {
            Shown::Token { .. } => http,
            Shown::Certificate { certificate, key } => {
                let pem = Zeroizing::new(format!("{certificate}{key}"));
                let identity = Identity::from_pem(pem.as_bytes());
                http.identity(identity.context("the certificate in the credential is broken")?)
            }
        };
        Ok(Self {
            http: http.build()?,
            credential,
            file: file.to_owned(),
        })
    }

    /// What the commands show.
    pub(super) fn credential(&self) -> &CredentialFile {
        &self.credential
    }

    /// The file that they are in.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get_text(path).await?)?)
    }

    /// [`Client::get`] with these parameters, whatever characters their values have.
    pub(super) async fn get_where(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let url = Url::parse_with_params(&self.url(path), parameters);
        let url = url.context("the server in the credential is no URL")?;
        Ok(serde_json::from_str(&self.send(self.http.get(url)).await?)?)
    }

    pub(super) async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        self.send(self.http.get(self.url(path))).await
    }

    /// An answer that is too long for memory, to be read part by part.
    pub(super) async fn get_parts(&self, path: &str) -> anyhow::Result<Response> {
        self.ask(self.http.get(self.url(path)).timeout(PATIENCE))
            .await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let text = self.send(self.http.post(self.url(path)).json(body)).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// [`Client::post`] of what takes the longer the more hosts there are.
    pub(super) async fn post_slowly(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(self.url(path)).json(body).timeout(PATIENCE);
        Ok(serde_json::from_str(&self.send(request).await?)?)
    }

    /// PUT of what takes the longer the more hosts there are.
    pub(super) async fn put_slowly(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.put(self.url(path)).json(body).timeout(PATIENCE);
        Ok(serde_json::from_str(&self.send(request).await?)?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.credential.server)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<String> {
        Ok(self.ask(request).await?.text().await?)
    }

    /// An answer that is no refusal, of which only the head was read.
    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
        let request = match &self.credential.shown {
            Shown::Token { token } => request.bearer_auth(token),
            Shown::Certificate { .. } => request,
        };
        let response = request.send().await.with_context(|| {
            format!(
                "no answer from the attestor at {} with the CA of the credential; see that `touchstone serve` \
                 runs there, with the folder that the credential came from",
                self.credential.server
            )
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match serde_json::from_str::<Problem>(&response.text().await?) {
            Ok(problem) => Err(problem.into()),
            Err(_) => bail!("the attestor answered {status}"),
        }
    }
}
