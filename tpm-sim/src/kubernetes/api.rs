//! A client of the API server, as one user. Paths are as in the API's reference, such as
//! `/api/v1/namespaces/payments/pods`; objects are JSON.

use std::fs;
use std::time::Duration;

use reqwest::{Certificate, Identity, Method, StatusCode};
use serde_json::Value;

use super::certificates::Pair;
use super::{Error, Result};

/// Longest that a request may take: a webhook that does not answer takes 3 s of it, a second one as much.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// RFC 7386.
const MERGE: &str = "application/merge-patch+json";

/// The API server, as one user sees it.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    server: String,
}

/// What the API server refused, in its words (`Status`).
#[derive(Clone, Debug, thiserror::Error)]
#[error("the API server refused ({status}): {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Such as `Forbidden` or `AlreadyExists`.
    pub reason: String,
    /// What went wrong; a webhook's own words are in it.
    pub message: String,
}

impl Api {
    /// The server at this URL, which has a certificate of `ca` (PEM), as the user of `pair`.
    pub(super) fn new(server: String, ca: &str, pair: &Pair) -> Result<Self> {
        // Another provider may be installed already: it does as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut identity = Vec::new();
        for file in [&pair.certificate, &pair.key] {
            identity.extend(fs::read(file).map_err(Error::file(file))?);
        }
        let http = reqwest::Client::builder()
            .tls_certs_only(Certificate::from_pem_bundle(ca.as_bytes())?)
            .identity(Identity::from_pem(&identity)?)
            .no_proxy()
            .timeout(ANSWER_MAX)
            .build()?;
        Ok(Self { http, server })
    }

    /// Whether it answers and says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let answer = self
            .http
            .get(format!("{}/readyz", self.server))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Reads an object or a list.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Http`]; so have the calls below.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// The same, or nothing if it is not there.
    ///
    /// # Errors
    /// As [`Api::get`], but for 404.
    pub async fn find(&self, path: &str) -> Result<Option<Value>> {
        match self.get(path).await {
            Err(Error::Refused(refusal)) if refusal.status == 404 => Ok(None),
            found => found.map(Some),
        }
    }

    /// Adds an object to a list.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let body = (object, "application/json");
        self.send(Method::POST, path, Some(body)).await
    }

    /// Merges `part` into an object; null takes a field away.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn patch(&self, path: &str, part: &Value) -> Result<Value> {
        self.send(Method::PATCH, path, Some((part, MERGE))).await
    }

    /// Deletes an object or a whole list, at once: there is no kubelet that would end anything in order.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn delete(&self, path: &str) -> Result<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}gracePeriodSeconds=0");
        self.send(Method::DELETE, &path, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&Value, &'static str)>,
    ) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if let Some((body, media)) = body {
            request = request.header("content-type", media).body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let object: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        match status.is_success() {
            true => Ok(object),
            false => Err(Refusal::of(status, &object).into()),
        }
    }
}

impl Refusal {
    fn of(status: StatusCode, said: &Value) -> Self {
        let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
        let message = match said {
            Value::String(text) => text.clone(),
            _ => text("message"),
        };
        Self {
            status: status.as_u16(),
            reason: text("reason"),
            message,
        }
    }
}
