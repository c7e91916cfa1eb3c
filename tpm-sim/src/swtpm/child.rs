//! Runs swtpm's programs. Those that stay are killed by the kernel when this process ends.
//!
//! The kernel does so when the *thread* that forked ends, not the process ([`mortal`](crate::mortal)), and
//! test threads and blocking pools end early; so one thread, which lasts as long as the process, starts
//! them all.

use std::env;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use super::{Error, Result};

/// Lines of a failed program's output that its error repeats.
const TAIL: usize = 6;

/// Where a program is.
pub(super) fn find(program: &'static str) -> Result<PathBuf> {
    env::var_os("PATH")
        .iter()
        .flat_map(env::split_paths)
        .map(|dir| dir.join(program))
        .find(|path| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .ok_or(Error::Missing { program })
}

/// Runs a [`mortal`] command to its end. Blocks.
pub(super) fn run(program: &'static str, mut command: Command) -> Result<()> {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(program, command)?
        .wait_with_output()
        .map_err(|source| started(program, source))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Failed {
        program,
        said: tail(&String::from_utf8_lossy(&said)),
    })
}

/// The last lines of what a program said, as one.
pub(super) fn tail(said: &str) -> String {
    let mut lines: Vec<_> = said.lines().rev().take(TAIL).map(str::trim).collect();
    lines.reverse();
    lines.join("; ")
}

/// A command that will run `program` as long as this process lives at most.
pub(super) fn mortal(program: &str) -> Command {
    crate::mortal::command(program)
}

/// Starts a [`mortal`] command, from the thread that outlives all others.
pub(super) fn spawn(program: &'static str, command: Command) -> Result<Child> {
    let (answer, answered) = mpsc::channel();
    let ended = || io::Error::other("the thread that starts children has ended");
    starter()
        .and_then(|starter| starter.send((command, answer)).map_err(|_| ended()))
        .and_then(|()| answered.recv().map_err(|_| ended())?)
        .map_err(|source| started(program, source))
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// The way to the starting thread, which never ends: the static keeps its channel open.
fn starter() -> io::Result<mpsc::Sender<Order>> {
    static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    if let Some(starter) = STARTER.get() {
        return Ok(starter.clone());
    }
    let (starter, orders) = mpsc::channel::<Order>();
    thread::Builder::new()
        .name("swtpm-starter".to_owned())
        .spawn(move || {
            for (mut command, answer) in orders {
                // Nobody waits only if the caller's thread was torn down: then the child must go too.
                if let Err(mpsc::SendError(Ok(mut orphan))) = answer.send(command.spawn()) {
                    let _ = orphan.kill();
                    let _ = orphan.wait();
                }
            }
        })?;
    // Of two that race, the loser's thread ends with its sender, having started nothing.
    Ok(STARTER.get_or_init(|| starter).clone())
}

fn started(program: &'static str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { program },
        _ => Error::Run { program, source },
    }
}
