//! One command of podman: with an environment of its own, within a time, and quiet.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::purge::Podman;

/// Until a command has ended: removing layers can mean gigabytes.
const PATIENCE: Duration = Duration::from_secs(300);
/// Most bytes that are kept of what it says.
const SAID_MAX: u64 = 4 << 10;
/// What podman finds its own programs in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What it may know of the agent's environment: where its configuration is.
const PASSED: [&str; 4] = [
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "HOME",
    "XDG_RUNTIME_DIR",
];

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub(in crate::purge) enum Error {
    #[error("cannot start `{program}`; name podman with `--podman`")]
    Start { program: String, source: io::Error },
    #[error("`podman {0}` did not end in time")]
    Slow(String),
    #[error("`podman {command}` failed: {said}")]
    Failed { command: String, said: String },
}

pub(super) async fn run(settings: &Podman, arguments: &[&str]) -> Result<(), Error> {
    let shown = arguments.join(" ");
    let mut command = Command::new(&settings.program);
    command
        .env_clear()
        .env("PATH", PATH)
        .envs(
            PASSED
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .arg("--root")
        .arg(&settings.root)
        .arg("--runroot")
        .arg(&settings.runroot)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ended = timeout(PATIENCE, whole(&mut command)).await;
    let ended = ended.map_err(|_| Error::Slow(shown.clone()))?;
    match ended {
        Ok(None) => Ok(()),
        Ok(Some(said)) => Err(Error::Failed {
            command: shown,
            said,
        }),
        Err(source) => Err(Error::Start {
            program: settings.program.display().to_string(),
            source,
        }),
    }
}

/// What it said, if it failed.
async fn whole(command: &mut Command) -> io::Result<Option<String>> {
    let mut process = command.spawn()?;
    let mut said = Vec::new();
    if let Some(stderr) = process.stderr.take() {
        let mut stderr = stderr.take(SAID_MAX);
        stderr.read_to_end(&mut said).await?;
        // The rest must not keep it from ending.
        tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await?;
    }
    let good = process.wait().await?.success();
    Ok((!good).then(|| String::from_utf8_lossy(&said).trim().to_owned()))
}
