//! An attestor: `touchstone serve` on a database, from its start to its end.

mod asked;
mod process;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::database::Database;
use crate::disk::SmallDisk;
use crate::memory;
use crate::programs;
use crate::rows::Rows;
use process::{ANY_PORT, operator_file, run_in, serve, serve_in};

pub use asked::{client, plain_client, send};

/// What `touchstone kubernetes` needs of the attestor's folder (docs/operators/clusters.md).
pub const CLUSTER_FILES: [&str; 6] = [
    "ca.key",
    "ca.pem",
    "checkpoint.key",
    "head",
    "master.key",
    "result.key",
];

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
    /// A line of `/proc/PID/status` in KiB, such as `VmHWM`.
    #[must_use]
    pub fn memory(&self, field: &str) -> u64 {
        memory::line(self.process.id(), field)
    }

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
        let started = serve_in(env, &data, Some(database), ANY_PORT, &[]);
        self.another(started, data, folder)
    }

    /// One that was started on the same database, with a folder of its own.
    fn another(&self, (process, url): (Child, String), data: PathBuf, folder: TempDir) -> Self {
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

    /// `touchstone kubernetes` beside it, for the cluster of this file of settings.
    #[must_use]
    pub fn beside(&self, kubernetes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = self.folder_for_cluster(folder.path());
        let url = self.database.url().unwrap();
        let more = ["--kubernetes", kubernetes];
        let started = run_in("kubernetes", &[], &data, Some(&url), ANY_PORT, &more);
        self.another(started, data, folder)
    }

    /// Stops a `touchstone kubernetes` in order, and starts it again on the same data.
    pub fn serve_cluster_again(&mut self, kubernetes: &str) {
        self.stop();
        let url = self.database.url().unwrap();
        let more = ["--kubernetes", kubernetes];
        let started = run_in("kubernetes", &[], &self.data, Some(&url), ANY_PORT, &more);
        (self.process, self.url) = started;
    }

    /// A data folder for `touchstone kubernetes` in `parent`, as the documentation has it made.
    #[must_use]
    pub fn folder_for_cluster(&self, parent: &Path) -> PathBuf {
        use std::os::unix::fs::DirBuilderExt as _;
        let data = parent.join("data");
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).create(&data).unwrap();
        for name in CLUSTER_FILES {
            std::fs::copy(self.data.join(name), data.join(name)).unwrap();
        }
        data
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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _status = self.process.wait();
    }
}

fn owned(env: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = env.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
