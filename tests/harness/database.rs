//! The two databases: a file, and a PostgreSQL cluster of the test's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::programs;

/// A database that is gone with this value.
pub enum Database {
    /// The embedded default.
    Sqlite,
    /// A cluster of its own.
    Postgres(Postgres),
}

impl Database {
    /// Both kinds, each fresh. PostgreSQL is part of the tests' tools: without it the test fails.
    #[must_use]
    pub fn both() -> [Self; 2] {
        [Self::Sqlite, Self::Postgres(Postgres::start())]
    }

    /// PostgreSQL alone, whose rows a test can change.
    #[must_use]
    pub fn postgres() -> Self {
        Self::Postgres(Postgres::start())
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
    server: Child,
    user: &'static str,
    port: u16,
    _folder: TempDir,
}

impl Postgres {
    fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("touchstone-pg")
            .tempdir_in("/tmp")
            .unwrap();
        // PostgreSQL refuses to run as root.
        let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let user = if root { "postgres" } else { "touchstone" };
        let data = folder.path().join("data");
        if root {
            let status = Command::new("chown").arg(user).arg(folder.path()).status();
            assert!(status.unwrap().success());
        }
        let made = as_user(root, &tool("initdb"))
            .arg("-D")
            .arg(&data)
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
        let server = as_user(root, &tool("postgres"))
            .arg("-D")
            .arg(&data)
            .args([
                "-p",
                &port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-k",
            ])
            .arg(folder.path())
            .current_dir("/tmp")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut cluster = Self {
            server,
            user,
            port,
            _folder: folder,
        };
        cluster.wait();
        cluster
    }

    fn wait(&mut self) {
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
                self.server.try_wait().unwrap().is_none(),
                "PostgreSQL ended"
            );
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            std::thread::yield_now();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ended_before = self.server.kill();
        let _status = self.server.wait();
    }
}

fn as_user(root: bool, program: &Path) -> Command {
    let mut command = programs::command(Path::new("setpriv"));
    if root {
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

/// Debian keeps the server's programs out of the path.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
