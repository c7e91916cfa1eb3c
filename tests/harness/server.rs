//! An attestor: `touchstone serve` on a database, its operator's commands, and plain HTTP to it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;

use crate::database::Database;
use crate::disk::SmallDisk;
use crate::programs;
use crate::rows::Rows;

/// A running attestor.
pub struct Server {
    process: Child,
    /// Base URL.
    pub url: String,
    data: PathBuf,
    /// It lives as long as who needs it.
    database: Database,
    /// What is in its environment, also after it was started again.
    env: Vec<(String, String)>,
    _folder: TempDir,
    http: reqwest::Client,
}

impl Server {
    /// Starts one on `database`, with an empty data folder.
    #[must_use]
    pub fn start(database: &Database) -> Self {
        Self::start_with(database, &[])
    }

    /// Starts one with more arguments.
    #[must_use]
    pub fn start_with(database: &Database, more: &[&str]) -> Self {
        Self::start_at(database, ANY_PORT, more)
    }

    /// Starts one at an address of its own choice, with an empty data folder.
    #[must_use]
    pub fn start_at(database: &Database, address: &str, more: &[&str]) -> Self {
        Self::start_at_in(&[], database, address, more)
    }

    /// Starts one that always has this in its environment.
    #[must_use]
    pub fn start_in(env: &[(&str, &str)], database: &Database, more: &[&str]) -> Self {
        Self::start_at_in(env, database, ANY_PORT, more)
    }

    fn start_at_in(
        env: &[(&str, &str)],
        database: &Database,
        address: &str,
        more: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Made by the attestor itself, with the mode that it demands.
        let data = folder.path().join("data");
        let (process, url) = serve_in(env, &data, database.url().as_deref(), address, more);
        let http = client(&operator_file(&data));
        Self {
            process,
            url,
            data,
            database: database.clone(),
            env: owned(env),
            _folder: folder,
            http,
        }
    }

    /// Starts one whose data folder is made on a disk.
    #[must_use]
    pub fn start_on(database: &Database, disk: &SmallDisk) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = disk.path().join("data");
        let (process, url) = serve(&data, database, ANY_PORT, &[]);
        let http = client(&operator_file(&data));
        Self {
            process,
            url,
            data,
            database: database.clone(),
            env: Vec::new(),
            _folder: folder,
            http,
        }
    }

    /// Another one with the same keys on the same database, reached at `database`.
    #[must_use]
    pub fn replica(&self, database: &str) -> Self {
        self.replica_at(&[], database)
    }

    /// Another one with the same keys on the same database, in another environment.
    #[must_use]
    pub fn replica_in(&self, env: &[(&str, &str)]) -> Self {
        self.replica_at(env, &self.database.url().unwrap())
    }

    fn replica_at(&self, env: &[(&str, &str)], database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut copy = Command::new("cp");
        let copied = copy.arg("-a").arg(&self.data).arg(&data).status();
        assert!(copied.unwrap().success());
        let (process, url) = serve_in(env, &data, Some(database), ANY_PORT, &[]);
        let http = client(&operator_file(&data));
        Self {
            process,
            url,
            data,
            database: self.database.clone(),
            env: Vec::new(),
            _folder: folder,
            http,
        }
    }

    /// Waits until it stopped itself.
    pub fn wait_until_stopped(&self) {
        let pid = i32::try_from(self.process.id());
        let pid = pid.ok().and_then(Pid::from_raw);
        let status = waitpid(pid, WaitOptions::UNTRACED).unwrap();
        assert!(
            status.is_some_and(|(_, status)| status.stopped()),
            "{status:?}"
        );
    }

    /// Starts it again at the same address, after it died, and lets it die at a step of a commit.
    pub fn restart_to_die(&mut self, database: &Database, kill_point: &str) {
        self.process.wait().unwrap();
        self.restart_in(&[("TOUCHSTONE_KILL_POINT", kill_point)], database);
    }

    /// Stops it in order and starts it again at the same address in another environment.
    pub fn restart_in(&mut self, env: &[(&str, &str)], database: &Database) {
        self.stop();
        let address = self.url.trim_start_matches("https://").to_owned();
        let (process, url) = serve_in(env, &self.data, database.url().as_deref(), &address, &[]);
        self.process = process;
        assert_eq!(self.url, url);
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id());
        kill_process(pid.ok().and_then(Pid::from_raw).unwrap(), signal).unwrap();
    }

    /// Stops it in order and starts it again on the same data.
    #[must_use]
    pub fn restart(mut self, database: &Database) -> Self {
        self.stop();
        let (process, url) = serve(&self.data, database, ANY_PORT, &[]);
        self.process = process;
        self.url = url;
        self
    }

    /// Stops it in order and starts it again at the same address with more arguments: hosts stay enrolled.
    pub fn restart_with(&mut self, database: &Database, more: &[&str]) {
        self.stop();
        let address = self.url.trim_start_matches("https://").to_owned();
        let (process, url) = serve_in(
            &self.env(),
            &self.data,
            database.url().as_deref(),
            &address,
            more,
        );
        self.process = process;
        assert_eq!(self.url, url);
    }

    /// SIGTERM, and waits for the end; nothing if it has ended.
    pub fn stop(&mut self) {
        if self.process.try_wait().unwrap().is_some() {
            return;
        }
        self.signal(Signal::TERM);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "the attestor did not end well: {status}");
    }

    /// What `touchstone serve` says that will not start on the data of this one, which was stopped.
    #[must_use]
    pub fn refusal_to_start(&self, database: &Database, more: &[&str]) -> String {
        self.failed_start(database, more).1
    }

    /// The same after the exit code of it.
    #[must_use]
    pub fn failed_start(&self, database: &Database, more: &[&str]) -> (i32, String) {
        let mut command = programs::command(&programs::path("touchstone"));
        command
            .args(["serve", "--listen", ANY_PORT, "--data"])
            .arg(&self.data)
            .args(more)
            .env("RUST_LOG", "warn")
            .envs(self.env());
        if let Some(url) = database.url() {
            command.env("TOUCHSTONE_DATABASE", url);
        }
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first line says that it serves; a server that refuses to has none.
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        if !line.is_empty() {
            process.kill().unwrap();
        }
        let output = process.wait_with_output().unwrap();
        assert!(line.is_empty() && !output.status.success(), "it serves");
        let code = output.status.code().unwrap();
        (code, String::from_utf8(output.stderr).unwrap())
    }

    fn env(&self) -> Vec<(&str, &str)> {
        let pairs = self.env.iter();
        pairs.map(|(name, value)| (&**name, &**value)).collect()
    }

    /// The id of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The database that it was started with first.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// Changes rows behind the attestor's back: time that passes, or what a host cannot do.
    pub async fn execute(&self, statements: &str) {
        let rows = Rows::of(&self.database, &self.data).await;
        rows.execute(statements).await;
        rows.close().await;
    }

    /// How many rows there are, such as `boot_logs` or `boot_logs WHERE …`.
    pub async fn count(&self, rows: &str) -> i64 {
        let held = Rows::of(&self.database, &self.data).await;
        let count = held.number(&format!("SELECT count(*) FROM {rows}")).await;
        held.close().await;
        count
    }

    /// The folder of its keys.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.data
    }

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

    /// Writes `content` to a file of the data folder and returns its path.
    #[must_use]
    pub fn file(&self, name: &str, content: &str) -> String {
        let path: PathBuf = self.data.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a file that its owner alone may read.
    pub fn write_private(&self, path: &Path, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _status = self.process.wait();
    }
}

/// Wherever there is room.
const ANY_PORT: &str = "127.0.0.1:0";

fn owned(env: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = env.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn serve(data: &Path, database: &Database, listen: &str, more: &[&str]) -> (Child, String) {
    serve_on(data, database.url().as_deref(), listen, more)
}

fn serve_on(data: &Path, database: Option<&str>, listen: &str, more: &[&str]) -> (Child, String) {
    serve_in(&[], data, database, listen, more)
}

fn serve_in(
    env: &[(&str, &str)],
    data: &Path,
    database: Option<&str>,
    listen: &str,
    more: &[&str],
) -> (Child, String) {
    let mut command = programs::command(&programs::path("touchstone"));
    command
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .args(more)
        .env("RUST_LOG", "warn")
        .envs(env.iter().copied())
        .stdout(Stdio::piped());
    if let Some(url) = database {
        command.env("TOUCHSTONE_DATABASE", url);
    }
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap_or_else(|| panic!("the attestor did not start on {database:?}"))
        .to_owned();
    (process, url)
}

fn operator_file(data: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(data.join("operator.json")).unwrap()).unwrap()
}
