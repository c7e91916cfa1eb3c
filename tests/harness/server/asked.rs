//! What it is asked: the operator's commands, and plain HTTP.

use std::process::Output;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Server;
use super::process::operator_file;
use crate::programs;

impl Server {
    /// The operator's credential.
    #[must_use]
    pub fn operator(&self) -> Value {
        operator_file(&self.data)
    }

    /// Runs `touchstone ARGUMENTS --json` as the operator and returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "touchstone {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The code with which `touchstone ARGUMENTS` is refused.
    #[must_use]
    pub fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} was not refused");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = said.rsplit("touchstone:").next().unwrap_or_default();
        code.trim_end().trim_end_matches(')').to_owned()
    }

    /// Runs `touchstone ARGUMENTS --json` as the operator.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        programs::command(&programs::path("touchstone"))
            .args(arguments)
            .arg("--json")
            .env("TOUCHSTONE_OPERATOR", self.data.join("operator.json"))
            .output()
            .unwrap()
    }

    /// GET as the operator.
    pub async fn get(&self, path: &str) -> Value {
        let token = self.operator()["token"].as_str().unwrap().to_owned();
        let (status, body) = self.send(Method::GET, path, Some(&token), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// GET as the operator, of what is not JSON.
    pub async fn text(&self, path: &str) -> String {
        let operator = self.operator();
        let url = format!("{}{path}", self.url);
        let request = client(&operator).get(url);
        let request = request.bearer_auth(operator["token"].as_str().unwrap());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    /// Any request, with any bearer token or none.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let url = match path.starts_with("https:") {
            true => path.to_owned(),
            false => format!("{}{path}", self.url),
        };
        send(&self.http, method, &url, token, body).await
    }

    /// The last audit entries' bodies, oldest first.
    #[must_use]
    pub fn audit_entries(&self) -> Vec<Value> {
        let output = self.run(&["audit", "export"]);
        assert!(output.status.success());
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                serde_json::from_str(line.get("entry")?.as_str()?).ok()
            })
            .collect()
    }
}

/// A client that believes the attestor's CA alone.
#[must_use]
pub fn client(operator: &Value) -> reqwest::Client {
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = operator["ca"].as_str().unwrap();
    reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca.as_bytes()).unwrap())
        .build()
        .unwrap()
}

/// A client of registries on this machine, which speak no TLS.
#[must_use]
pub fn plain_client() -> reqwest::Client {
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::new()
}

/// Sends one request; the body of the answer is JSON or its text.
pub async fn send(
    http: &reqwest::Client,
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> (StatusCode, Value) {
    let mut request = http.request(method, url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}
