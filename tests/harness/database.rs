//! The two databases: a file, and a PostgreSQL cluster of the test's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::disk::SmallDisk;
use crate::programs;

/// A database that is gone with the last clone of this value.
#[derive(Clone)]
pub enum Database {
    /// The embedded default.
    Sqlite,
    /// A cluster of its own.
    Postgres(Arc<Postgres>),
}

impl Database {
    /// The one that this suite is for, fresh: `end_to_end` is for SQLite, `on_postgresql` is the same tests for
    /// PostgreSQL. Without PostgreSQL they fail.
    #[must_use]
    pub fn under_test() -> Self {
        let suite = std::env::current_exe().unwrap();
        let name = suite.file_name().and_then(|name| name.to_str()).unwrap();
        match name.rsplit_once('-').map(|(suite, _)| suite) {
            Some("end_to_end") => Self::Sqlite,
            Some("on_postgresql") => Self::postgres(),
            _ => panic!("`{name}` is no suite of tests that is for a database"),
        }
    }

    /// The same as a list, for tests that begin anew with each.
    #[must_use]
    pub fn each_under_test() -> [Self; 1] {
        [Self::under_test()]
    }

    /// Both, each fresh: for what compares them.
    #[must_use]
    pub fn both() -> [Self; 2] {
        [Self::Sqlite, Self::postgres()]
    }

    /// PostgreSQL alone, whose rows a test can change.
    #[must_use]
    pub fn postgres() -> Self {
        Self::Postgres(Arc::new(Postgres::start()))
    }

    /// PostgreSQL alone, whose files are on a disk.
    #[must_use]
    pub fn postgres_on(disk: &SmallDisk) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("pg")
            .tempdir_in(disk.path());
        Self::Postgres(Arc::new(Postgres::start_in(folder.unwrap())))
    }

    /// The running cluster.
    #[must_use]
    pub fn cluster(&self) -> &Postgres {
        match self {
            Self::Postgres(cluster) => cluster,
            Self::Sqlite => panic!("SQLite is no process"),
        }
    }

    /// Changes rows behind the attestor's back: time that passes, or what a host cannot do.
    pub fn execute(&self, statement: &str) {
        let url = self.url().expect("SQLite has one writer, the attestor");
        let done = Command::new(tool("psql"))
            .args(["-q", "-v", "ON_ERROR_STOP=1", "-c", statement, &url])
            .status();
        assert!(done.unwrap().success(), "{statement}");
    }

    /// How many rows there are, such as `boot_logs` or `boot_logs WHERE …`.
    #[must_use]
    pub fn count(&self, rows: &str) -> u64 {
        let url = self.url().expect("SQLite is the attestor's alone");
        let statement = format!("SELECT count(*) FROM {rows}");
        let output = Command::new(tool("psql"))
            .args([
                "-q",
                "-t",
                "-A",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                &statement,
                &url,
            ])
            .output()
            .unwrap();
        let count = String::from_utf8(output.stdout).unwrap();
        count.trim().parse().expect(&statement)
    }

    /// What `touchstone serve --database` takes; `None`: the default.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(cluster) => Some(format!(
                "postgres://{}@127.0.0.1:{}/postgres",
                cluster.user, cluster.port
            )),
        }
    }

    /// PostgreSQL at another port of this machine, behind which it is reached too.
    #[must_use]
    pub fn url_at(&self, port: u16) -> String {
        let Self::Postgres(cluster) = self else {
            panic!("SQLite has no port");
        };
        format!("postgres://{}@127.0.0.1:{port}/postgres", cluster.user)
    }

    /// PostgreSQL's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Postgres(cluster) => cluster.port,
            Self::Sqlite => panic!("SQLite has no port"),
        }
    }

    /// For messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

/// A running cluster.
pub struct Postgres {
    server: Mutex<Child>,
    user: &'static str,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("touchstone-pg")
            .tempdir_in("/tmp");
        Self::start_in(folder.unwrap())
    }

    fn start_in(folder: TempDir) -> Self {
        let user = if is_root() { "postgres" } else { "touchstone" };
        if is_root() {
            let status = Command::new("chown").arg(user).arg(folder.path()).status();
            assert!(status.unwrap().success());
        }
        let made = as_user(&tool("initdb"))
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(["-U", user, "-A", "trust", "--no-sync"])
            .current_dir("/tmp")
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = free_port();
        let cluster = Self {
            server: Mutex::new(serve(folder.path(), port)),
            user,
            port,
            folder,
        };
        cluster.wait();
        cluster
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it at once, as if the power had failed.
    pub fn fail(&self) {
        let pid = i32::try_from(self.server.lock().unwrap().id())
            .ok()
            .and_then(Pid::from_raw);
        // "Immediate shutdown", after which it has to recover.
        kill_process(pid.unwrap(), Signal::QUIT).unwrap();
    }

    /// Starts it again after [`Postgres::fail`].
    pub fn start_again(&self) {
        let mut server = self.server.lock().unwrap();
        server.wait().unwrap();
        *server = serve(self.folder.path(), self.port);
        drop(server);
        self.wait();
    }

    /// Keeps a copy of its files as they are, as a standby has them that hears of nothing from now on. It fails for that,
    /// and comes back.
    pub fn keep_copy(&self) {
        self.fail();
        self.server.lock().unwrap().wait().unwrap();
        self.copy("data", "copy");
        self.start_again();
    }

    /// Fails, and the standby of [`Postgres::keep_copy`] takes over.
    pub fn fail_over(&self) {
        self.fail();
        self.server.lock().unwrap().wait().unwrap();
        std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.copy("copy", "data");
        self.start_again();
    }

    fn copy(&self, from: &str, to: &str) {
        let path = |name| self.folder.path().join(name);
        let mut copy = Command::new("cp");
        let copied = copy.arg("-a").arg(path(from)).arg(path(to)).status();
        assert!(copied.unwrap().success());
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let port = self.port.to_string();
        loop {
            let ready = Command::new(tool("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return;
            }
            assert!(
                self.server.lock().unwrap().try_wait().unwrap().is_none(),
                "PostgreSQL ended"
            );
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            std::thread::yield_now();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let server = self.server.get_mut().unwrap();
        let _ended_before = server.kill();
        let _status = server.wait();
    }
}

fn serve(folder: &Path, port: u16) -> Child {
    let port = port.to_string();
    as_user(&tool("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port, "-c", "listen_addresses=127.0.0.1"])
        // Processes are ended here, and never the machine.
        .args(["-c", "fsync=off", "-k"])
        .arg(folder)
        .current_dir("/tmp")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// PostgreSQL refuses to run as root.
fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn as_user(program: &Path) -> Command {
    let mut command = programs::command(Path::new("setpriv"));
    if is_root() {
        command.args([
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--clear-groups",
        ]);
    }
    // Changing the user clears the parent-death signal: it is set once more.
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A program of PostgreSQL. Debian keeps the server's out of the path. Without them the test is red: what was not run
/// on both databases is not known to work on both.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(versions);
    let found = folders
        .map(|folder| folder.join(name))
        .filter(|path| path.exists());
    found.last().unwrap_or_else(|| {
        panic!("PostgreSQL's `{name}` is missing, and no test is skipped for it; run `make deps`")
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
