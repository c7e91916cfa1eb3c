//! Runs the programs of the project. The kernel kills them when this process ends, however it ends.
//!
//! It acts when the *thread* that forked ends ([`mortal`]). Invariant: children are started on the main
//! thread only, so the runtime is a current-thread one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use touchstone_tpm_sim::mortal;

/// Longest that a command may take: a round in an unoptimised build takes well under a second.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Longest that a program may take until it says that it is ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// From one look into a log to the next.
const LOOK: Duration = Duration::from_millis(20);
/// Longest that an orderly end may take.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A program of the project, which lies beside this one.
pub(crate) fn sibling(program: &str) -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("cannot tell where this program lies")?;
    let path = this.with_file_name(program);
    ensure!(
        path.is_file(),
        "`{}` is not there; build it with: cargo build --workspace --bins",
        path.display()
    );
    Ok(path)
}

/// One thread: see above.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
}

/// Until SIGINT or SIGTERM.
pub(crate) async fn told_to_end() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// A command that runs no longer than this process, silent, and with none of the user's settings.
pub(crate) fn command(program: &Path) -> Command {
    quiet(mortal::command(program))
}

/// A command that was made as [`mortal::command`] makes it, silent, and with none of the user's settings.
pub(crate) fn quiet(command: std::process::Command) -> Command {
    let mut command = Command::from(command);
    command
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env("TSS2_LOG", "all+none")
        .env("NO_PROXY", "127.0.0.1");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TOUCHSTONE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end, whatever that is.
pub(crate) async fn output(mut command: Command) -> anyhow::Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let words = words(&command);
    timeout(COMMAND_MAX, command.output())
        .await
        .with_context(|| format!("`{words}` takes longer than {COMMAND_MAX:?}"))?
        .with_context(|| format!("cannot run `{words}`"))
}

/// Runs a command to its end, which is to be a good one; what it printed.
pub(crate) async fn printed(command: Command) -> anyhow::Result<Vec<u8>> {
    let words = words(&command);
    let output = output(command).await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{words}` failed ({}): {}", output.status, said.trim());
    }
    Ok(output.stdout)
}

/// Runs a command to its end and reads the JSON that it prints.
pub(crate) async fn json(command: Command) -> anyhow::Result<Value> {
    let words = words(&command);
    serde_json::from_slice(&printed(command).await?)
        .with_context(|| format!("`{words}` does not answer with JSON"))
}

/// Waits until a log that somebody writes has a line with these words; that line.
pub(crate) async fn line_in(log: &Path, words: &str) -> anyhow::Result<String> {
    let line = async {
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            if let Some(line) = said.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            sleep(LOOK).await;
        }
    };
    timeout(READY_MAX, line).await.with_context(|| {
        format!(
            "`{words}` is not said after {READY_MAX:?}; see `{}`",
            log.display()
        )
    })
}

/// Asks a child to end and waits until it has.
pub(crate) async fn stop(mut child: Child, name: &str) -> anyhow::Result<()> {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
        .with_context(|| format!("{name} has ended before it was told to"))?;
    kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop {name}"))?;
    let status = timeout(STOP_MAX, child.wait())
        .await
        .with_context(|| format!("{name} does not end within {STOP_MAX:?} of SIGTERM"))??;
    ensure!(status.success(), "{name} ended badly: {status}");
    Ok(())
}

/// The command as somebody would type it: without what [`mortal`] puts before it, and without folders.
fn words(command: &Command) -> String {
    let words: Vec<_> = command
        .as_std()
        .get_args()
        .skip_while(|word| *word != "mortal")
        .skip(1)
        .map(|word| word.to_string_lossy())
        .collect();
    let words = words.join(" ");
    match words.split_once(' ') {
        Some((program, rest)) => {
            let name = program.rsplit('/').next().unwrap_or(program);
            format!("{name} {rest}")
        }
        None => words,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_command_is_named_with_what_it_said() {
        let mut command = command(Path::new("/bin/sh"));
        command.args(["-c", "echo wrong >&2; exit 3"]);
        let error = format!("{:#}", json(command).await.unwrap_err());
        assert!(error.starts_with("`sh -c"), "{error}");
        assert!(error.ends_with("(exit status: 3): wrong"), "{error}");
    }
}
