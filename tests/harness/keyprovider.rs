//! The key provider of a host, as container runtimes call it: by gRPC on its socket, or as a program.

use std::io::Write as _;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use touchstone_evidence::keyprovider::grpc::{UNWRAP, frame, parse, text};

use crate::daemon::Daemon;
use crate::host::{self, Host};
use crate::server::Server;

/// How ocicrypt writes bytes: Go's as base64, Rust's as numbers.
pub type Form = fn(&[u8]) -> Value;

/// Go's.
#[must_use]
pub fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// Rust's.
#[must_use]
pub fn numbers(bytes: &[u8]) -> Value {
    bytes.to_vec().into()
}

/// What was written in either form.
#[must_use]
pub fn bytes(written: &Value) -> Vec<u8> {
    match written {
        Value::String(text) => STANDARD.decode(text).unwrap(),
        numbers => serde_json::from_value(numbers.clone()).unwrap(),
    }
}

/// As ocicrypt asks for a layer to be unwrapped.
#[must_use]
pub fn unwrap(annotation: &[u8], parameters: &[&str], form: Form) -> Vec<u8> {
    let parameters: Vec<Value> = parameters.iter().map(|one| form(one.as_bytes())).collect();
    let parameters = match parameters.is_empty() {
        true => Value::Null,
        false => json!({ "touchstone": parameters }),
    };
    let message = json!({
        "op": "keyunwrap",
        "keywrapparams": { "ec": null, "optsdata": null },
        "keyunwrapparams": { "dc": { "Parameters": parameters }, "annotation": form(annotation) },
    });
    message.to_string().into_bytes()
}

/// The options in an answer, which is in this form.
#[must_use]
pub fn options(answer: &[u8], form: Form) -> Vec<u8> {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    let options = &answer["keyunwrapresults"]["optsdata"];
    assert_eq!(options.is_string(), form(b"").is_string());
    bytes(options)
}

/// What a runtime is told instead of a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// gRPC's.
    pub status: u8,
    /// For who pulls.
    pub text: String,
}

impl Refused {
    /// The word for its status.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.status {
            7 => "permission-denied",
            14 => "unavailable",
            _ => "other",
        }
    }
}

/// An agent that serves.
pub struct KeyProvider {
    /// The agent, with a round a day unless it was told another interval.
    pub daemon: Daemon,
    /// Where it serves.
    pub desk: Desk,
}

/// A socket that is served.
#[derive(Clone)]
pub struct Desk {
    /// Its path.
    pub socket: PathBuf,
}

impl Deref for KeyProvider {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl KeyProvider {
    /// The agent of an enrolled host, after its first round.
    #[must_use]
    pub fn start(host: &Host, server: &Server) -> Self {
        Self::start_with(host, server, &[])
    }

    /// The same with more arguments.
    #[must_use]
    pub fn start_with(host: &Host, server: &Server, more: &[&str]) -> Self {
        let mut provider = Self::begin(host, server, more);
        provider.daemon.wait_for(": attested ");
        provider
    }

    /// One that listens, whether it is enrolled or not.
    #[must_use]
    pub fn begin(host: &Host, server: &Server, more: &[&str]) -> Self {
        let mut command = host.agent_command(server, &[&["run"], more].concat());
        command.env("TOUCHSTONE_INTERVAL", "86400");
        let mut daemon = Daemon::start(command);
        daemon.wait_for("the key provider listens");
        let socket = host::keyprovider(&host.settings(server));
        Self {
            daemon,
            desk: Desk { socket },
        }
    }
}

impl Desk {
    /// Any call of gRPC's.
    pub async fn call(&self, path: &str, body: &[u8]) -> Response {
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder()
            .unix_socket(self.socket.clone())
            .http2_prior_knowledge()
            .build()
            .unwrap();
        client
            .post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body.to_vec())
            .send()
            .await
            .unwrap()
    }

    /// The options of a layer.
    ///
    /// # Errors
    /// What the runtime is told.
    pub async fn unwrap(
        &self,
        annotation: &[u8],
        parameters: &[&str],
        form: Form,
    ) -> Result<Vec<u8>, Refused> {
        let message = unwrap(annotation, parameters, form);
        let answer = self.call(UNWRAP, &frame(&message)).await;
        refused(&answer)?;
        let body = answer.bytes().await.unwrap();
        Ok(options(parse(&body).unwrap(), form))
    }

    /// What is said to a call that is refused.
    pub async fn refusal(&self, path: &str, body: &[u8]) -> Refused {
        refused(&self.call(path, body).await).unwrap_err()
    }
}

/// A refusal is headers alone.
fn refused(answer: &Response) -> Result<(), Refused> {
    let Some(status) = answer.headers().get("grpc-status") else {
        return Ok(());
    };
    Err(Refused {
        status: status.to_str().unwrap().parse().unwrap(),
        text: text(answer.headers()["grpc-message"].as_bytes()),
    })
}

/// `touchstone-agent keyprovider` with this message, as ocicrypt runs it.
#[must_use]
pub fn program(host: &Host, server: &Server, message: &[u8]) -> Output {
    let mut command = host.agent_command(server, &["keyprovider"]);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses early does not read to the end.
    let _read = process.stdin.take().unwrap().write_all(message);
    process.wait_with_output().unwrap()
}
