//! Secrets of a host, as clients of Vault's transit engine ask for them: with curl on the agent's socket, and with the
//! agent's own command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::host::{self, Host};
use crate::server::Server;

/// An agent that serves.
pub struct Transit {
    /// The agent, with a round a day.
    pub daemon: Daemon,
    /// Where it serves.
    pub socket: PathBuf,
}

/// What whoever asked is told instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Of HTTP.
    pub status: u16,
    /// The only error there is.
    pub text: String,
}

impl Transit {
    /// The agent of an enrolled host, after its first round.
    #[must_use]
    pub fn start(host: &Host, server: &Server) -> Self {
        let mut transit = Self::begin(host, server, &[]);
        transit.daemon.wait_for(": attested ");
        transit
    }

    /// One that listens, whether it is enrolled or not.
    #[must_use]
    pub fn begin(host: &Host, server: &Server, more: &[&str]) -> Self {
        let mut command = host.agent_command(server, &[&["run"], more].concat());
        command.env("TOUCHSTONE_INTERVAL", "86400");
        let mut daemon = Daemon::start(command);
        daemon.wait_for("secrets are encrypted and decrypted on");
        let socket = host::transit(&host.settings(server));
        Self { daemon, socket }
    }

    /// Any request, by curl: the status and the JSON of the answer.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "120"])
            .args(["--request", method, "--header", "X-Vault-Token: none"])
            .args(["--data-binary", "@-", "--write-out", "\n%{http_code}"])
            .arg("--unix-socket")
            .arg(&self.socket)
            .arg(format!("http://localhost{path}"));
        let output = run(command, body);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let (json, status) = said.rsplit_once('\n').unwrap();
        let json = serde_json::from_str(json).unwrap_or_else(|_| panic!("no JSON: {said}"));
        (status.parse().unwrap(), json)
    }

    /// Encrypts by HTTP: the data of the answer.
    ///
    /// # Errors
    /// What whoever asked is told.
    pub fn encrypt(&self, key: &str, secret: &[u8], associated: &[u8]) -> Result<Value, Refused> {
        self.data(
            "encrypt",
            key,
            json!({
                "plaintext": STANDARD.encode(secret),
                "associated_data": STANDARD.encode(associated),
            }),
        )
    }

    /// Encrypts what is to be decrypted elsewhere.
    #[must_use]
    pub fn ciphertext(&self, key: &str, secret: &[u8]) -> String {
        let data = self.encrypt(key, secret, b"").unwrap();
        data["ciphertext"].as_str().unwrap().to_owned()
    }

    /// Decrypts by HTTP.
    ///
    /// # Errors
    /// What whoever asked is told.
    pub fn decrypt(
        &self,
        key: &str,
        ciphertext: &str,
        associated: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let data = self.data(
            "decrypt",
            key,
            json!({
                "ciphertext": ciphertext,
                "associated_data": STANDARD.encode(associated),
            }),
        )?;
        Ok(STANDARD
            .decode(data["plaintext"].as_str().unwrap())
            .unwrap())
    }

    fn data(&self, act: &str, key: &str, body: Value) -> Result<Value, Refused> {
        let path = format!("/v1/transit/{act}/{key}");
        let (status, answer) = self.call("POST", &path, body.to_string().as_bytes());
        if status == 200 {
            return Ok(answer["data"].clone());
        }
        Err(refused(status, &answer))
    }

    /// What is said to a request that is refused.
    #[must_use]
    pub fn refusal(&self, method: &str, path: &str, body: &[u8]) -> Refused {
        let (status, answer) = self.call(method, path, body);
        refused(status, &answer)
    }
}

fn refused(status: u16, answer: &Value) -> Refused {
    let errors = answer["errors"].as_array();
    let [text] = &errors.unwrap_or_else(|| panic!("no errors: {answer}"))[..] else {
        panic!("not one error: {answer}");
    };
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    let text = text.as_str().unwrap().to_owned();
    assert!(
        text.starts_with("touchstone: ") && !text.contains('\n'),
        "{text}"
    );
    Refused { status, text }
}

/// `touchstone-agent transit` with this on standard input.
#[must_use]
pub fn command(host: &Host, server: &Server, arguments: &[&str], input: &[u8]) -> Output {
    run(
        host.agent_command(server, &[&["transit"], arguments].concat()),
        input,
    )
}

/// A program with this on standard input.
#[must_use]
pub fn run(mut command: Command, input: &[u8]) -> Output {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses early does not read to the end.
    let _read = process.stdin.take().unwrap().write_all(input);
    process.wait_with_output().unwrap()
}
