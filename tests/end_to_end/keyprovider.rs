//! The key provider of build machines, as skopeo runs it and as it calls it: both transports, both forms.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use touchstone_evidence::keyprovider::grpc::{UNWRAP, WRAP, frame, parse};
use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::server::Server;

use crate::layer_keys::{LAYER, attestor, manifest, options, publisher, register};

fn keyprovider(credential: &str) -> Command {
    let mut command = programs::command(&programs::path("touchstone"));
    command.args(["keyprovider", "--credential", credential]);
    command
}

/// Runs it for one message, as ocicrypt does.
fn run(credential: &str, message: &Value) -> Output {
    let mut process = keyprovider(credential)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(message.to_string().as_bytes()).unwrap();
    drop(stdin);
    process.wait_with_output().unwrap()
}

fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

fn numbers(bytes: &[u8]) -> Value {
    bytes.to_vec().into()
}

fn bytes(written: &Value) -> Vec<u8> {
    match written {
        Value::String(text) => STANDARD.decode(text).unwrap(),
        numbers => serde_json::from_value(numbers.clone()).unwrap(),
    }
}

/// As ocicrypt asks for a layer to be wrapped.
fn message(key: &str, form: fn(&[u8]) -> Value) -> Value {
    json!({
        "op": "keywrap",
        "keywrapparams": {
            "ec": { "Parameters": { "touchstone": [form(key.as_bytes())] }, "DecryptConfig": { "Parameters": {} } },
            "optsdata": form(&options()),
        },
        "keyunwrapparams": { "dc": null, "annotation": null },
    })
}

fn said(output: &Output) -> String {
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The annotation is one that the attestor opens.
async fn assert_ours(server: &Server, credential: &str, answer: &Value) {
    let annotation = bytes(&answer["keywrapresults"]["annotation"]);
    let image = register(server, credential, &manifest(&[&annotation])).await;
    assert_eq!(image.unwrap()["layers"][0]["plain"], LAYER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_on_standard_input_is_answered_in_its_form() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    for form in [base64, numbers] {
        let output = run(&ci, &message("payments", form));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = answer["keywrapresults"]["annotation"].is_string();
        assert_eq!(text, form(b"x").is_string());
        assert_ours(&server, &ci, &answer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_to_do() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    let unknown = said(&run(&ci, &message("nobodys", base64)));
    assert!(
        unknown.contains("no key is called `nobodys`; `touchstone key list`"),
        "{unknown}"
    );
    let unnamed = said(&run(&ci, &message("No Name", base64)));
    assert!(
        unnamed.contains("names no key; a key has 1 to 63"),
        "{unnamed}"
    );
    let mut several = message("payments", base64);
    several["keywrapparams"]["ec"]["Parameters"] = json!({});
    let none = said(&run(&ci, &several));
    assert!(
        none.contains("--encryption-key provider:touchstone:KEY"),
        "{none}"
    );
    let unwrap = json!({ "op": "keyunwrap", "keyunwrapparams": { "annotation": base64(b"{}") } });
    let unwrap = said(&run(&ci, &unwrap));
    assert!(unwrap.contains("touchstone-agent keyprovider"), "{unwrap}");
    let file = server.folder().join("anna.json");
    let anna = file.to_str().unwrap();
    server.command(&[
        "credential",
        "create",
        "anna",
        "--role",
        "auditor",
        "--out",
        anna,
    ]);
    let role = said(&run(anna, &message("payments", base64)));
    assert!(
        role.contains("credential create NAME --role publisher"),
        "{role}"
    );
    let absent = said(&run("/nowhere/ci.json", &message("payments", base64)));
    assert!(absent.contains("there is no credential"), "{absent}");
    for output in [&unknown, &role] {
        assert!(
            !output.contains("aHVzaA"),
            "it tells the key of the layer: {output}"
        );
    }
}

/// The key provider as a service, which ends with the test.
struct Service {
    process: Child,
    socket: PathBuf,
}

impl Service {
    fn start(credential: &str, socket: &Path) -> Self {
        let process = keyprovider(credential)
            .arg("--socket")
            .arg(socket)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::fs::symlink_metadata(socket).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it does not listen"
            );
            std::thread::yield_now();
        }
        Self {
            process,
            socket: socket.to_owned(),
        }
    }

    async fn call(&self, path: &str, message: &[u8]) -> Response {
        let client = reqwest::Client::builder()
            .unix_socket(self.socket.clone())
            .http2_prior_knowledge()
            .build()
            .unwrap();
        client
            .request(Method::POST, format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(message.to_vec())
            .send()
            .await
            .unwrap()
    }

    /// Status and message of a call that is refused.
    async fn refusal(&self, path: &str, message: &[u8]) -> (String, String) {
        let answer = self.call(path, message).await;
        let word = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        (word("grpc-status"), word("grpc-message"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _status = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_the_socket_is_answered_in_its_form() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    let socket = server.folder().join("provider.sock");
    let service = Service::start(&ci, &socket);
    let mode = std::fs::symlink_metadata(&socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for form in [base64, numbers] {
        let json = message("payments", form).to_string();
        let answer = service.call(WRAP, &frame(json.as_bytes())).await;
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let body = answer.bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(parse(&body).unwrap()).unwrap();
        assert_ours(&server, &ci, &answer).await;
    }
    let json = message("nobodys", base64).to_string();
    let (status, said) = service.refusal(WRAP, &frame(json.as_bytes())).await;
    assert!(
        status == "7" && said.contains("no key is called `nobodys`"),
        "{said}"
    );
    let unwrap = json!({ "op": "keyunwrap", "keyunwrapparams": { "annotation": base64(b"{}") } });
    let unwrap = unwrap.to_string();
    let (status, said) = service.refusal(UNWRAP, &frame(unwrap.as_bytes())).await;
    assert!(
        status == "14" && said.contains("touchstone-agent keyprovider"),
        "{status} {said}"
    );
    let (status, _) = service.refusal(WRAP, &frame(b"hush")).await;
    assert_eq!(status, "3");
    let (status, _) = service.refusal(WRAP, b"no frame").await;
    assert_eq!(status, "3");
    let (status, _) = service.refusal("/nobody/Calls", &frame(b"")).await;
    assert_eq!(status, "12");
    let huge = vec![b' '; 1 << 20];
    let (status, _) = service.refusal(WRAP, &frame(&huge)).await;
    assert_eq!(status, "3");
}
