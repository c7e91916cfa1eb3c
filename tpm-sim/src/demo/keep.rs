//! Demos that are left running: a keeper in a session of its own owns all processes, and whoever asked
//! for it gets the shell back once there is something to try.
//!
//! The keeper runs the whole demo, since children cannot change their parent. Its standard input is a
//! socket to the caller: the caller's end before the release ends the demo, as Ctrl-C would.

mod words;

use std::env;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::runtime::Runtime;

use super::encrypted;
use super::machines;
use super::registry::{self, Entry};
use super::stages::Running;
use super::{FOLDER_PREFIX, interruption, process};
use crate::attestor::Attestor;
use crate::cli::Demo;

/// Seconds between rounds of a host.
pub(super) const INTERVAL: u32 = 30;
/// Longest that a demo may take to end.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Starts a keeper and waits until it releases us or has ended.
pub(super) fn start(options: Demo) -> anyhow::Result<ExitCode> {
    tell_of_others(options.encrypted)?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut arguments = vec!["demo", "--keep", "--keeper"];
    arguments.extend(options.swap.then_some("--swap"));
    arguments.extend(options.encrypted.then_some("--encrypted"));
    arguments.extend(options.kubernetes.then_some("--kubernetes"));
    arguments.extend(options.json.then_some("--json"));
    // In one statement, so that no copy of the keeper's end stays here: its end is our end of file.
    let mut keeper = Command::new(env::current_exe()?)
        .args(arguments)
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .context("cannot start the keeper")?;
    match ours.read(&mut [0])? {
        0 => Ok(match keeper.wait()?.code() {
            Some(0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A second one is no mistake, but whoever forgot the first should hear of it.
fn tell_of_others(encrypted: bool) -> anyhow::Result<()> {
    let on = match encrypted {
        true => "`tpm-sim on` will mean the new one, and ",
        false => "",
    };
    for other in registry::entries()?.iter().filter(|demo| demo.is_alive()) {
        eprintln!(
            "tpm-sim: demo {} runs already in `{}`; {on}`tpm-sim demo-stop` ends both",
            other.pid,
            other.folder.display()
        );
    }
    Ok(())
}

/// Ends every demo of this user that is kept.
pub(crate) fn stop() -> anyhow::Result<ExitCode> {
    let entries = registry::entries()?;
    if entries.is_empty() {
        println!("no demo is running");
    }
    for entry in entries {
        let was_alive = end(&entry)?;
        // What a keeper that was killed could not clear away.
        let name = entry.folder.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(FOLDER_PREFIX)) && entry.folder.is_dir() {
            encrypted::end_what_runs_in(&entry.folder)?;
            fs::remove_dir_all(&entry.folder)?;
        }
        entry.remove()?;
        match was_alive {
            true => println!("ended demo {}", entry.pid),
            false => println!("demo {} had ended already", entry.pid),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends one keeper; false if it was gone. A pidfd means the same process throughout, whoever gets the
/// number next.
fn end(entry: &Entry) -> anyhow::Result<bool> {
    let pid = Pid::from_raw(entry.pid).context("an entry without a pid")?;
    let Ok(keeper) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(false);
    };
    if !entry.is_alive() {
        return Ok(false);
    }
    pidfd_send_signal(&keeper, Signal::TERM)?;
    let patience = Timespec::try_from(STOP_MAX)?;
    // A pidfd becomes readable when its process ends (pidfd_open(2)).
    let ended = poll(&mut [PollFd::new(&keeper, PollFlags::IN)], Some(&patience))?;
    if ended == 0 {
        eprintln!("tpm-sim: demo {} does not end by itself", entry.pid);
        pidfd_send_signal(&keeper, Signal::KILL)?;
        poll(&mut [PollFd::new(&keeper, PollFlags::IN)], Some(&patience))?;
    }
    Ok(true)
}

/// Who asked for the demo and waits for its outcome.
pub(super) struct Caller(UnixStream);

impl Caller {
    /// Leaves the caller's session, so that what ends its terminal does not end the demo.
    pub(super) fn inherit() -> anyhow::Result<Self> {
        setsid().context("`--keeper` is for `tpm-sim demo --keep` alone")?;
        let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(true)?;
        Ok(Self(stream))
    }

    /// Until the caller has ended.
    pub(super) async fn gone(&self) -> anyhow::Result<()> {
        let stream = tokio::net::UnixStream::from_std(self.0.try_clone()?)?;
        loop {
            stream.readable().await?;
            match stream.try_read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => return Ok(()),
            }
        }
    }

    /// Lets go of the caller and of its terminal; from here on we write to `log`.
    fn release(mut self, log: &Path) -> anyhow::Result<()> {
        let log = File::create(log)?;
        dup2_stdout(&log)?;
        dup2_stderr(&log)?;
        dup2_stdin(File::open("/dev/null")?)?;
        self.0.write_all(&[1]).context("whoever asked has gone")
    }
}

/// Says what to try, lets go of the caller, and waits for the end. `begin` gives the words, and what runs on.
pub(super) fn hold<R>(
    folder: &TempDir,
    caller: Caller,
    json: bool,
    runtime: &Runtime,
    begin: impl Future<Output = anyhow::Result<(String, R)>>,
    wait: impl AsyncFnOnce(R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let entry = Entry::of_this_process(folder.path())?;
    entry.write()?;
    let held = runtime.block_on(async {
        let (words, running) = begin.await?;
        match json {
            true => eprintln!("{words}"),
            false => println!("{words}"),
        }
        caller.release(&folder.path().join("keeper.log"))?;
        wait(running).await
    });
    entry.remove()?;
    held
}

/// Lets agents of the three hosts attest on; what to try, and what runs.
pub(super) async fn begin(
    running: Running,
    folder: &Path,
) -> anyhow::Result<(String, (Running, Vec<Child>))> {
    let agents = match &running.containers {
        Some(_) => Vec::new(),
        None => running
            .hosts
            .iter()
            .map(|host| host.machine.keep_attesting(INTERVAL, None, None))
            .collect::<anyhow::Result<_>>()?,
    };
    if let Some(containers) = &running.containers {
        containers.workshop.offer().await?;
        machines::write(folder, running.attestor.console(), containers)?;
    }
    let words = words::what_to_try(&running, folder)?;
    Ok((words, (running, agents)))
}

/// Until we are told to end; then everything ends in order.
pub(super) async fn wait(running: (Running, Vec<Child>)) -> anyhow::Result<()> {
    let (mut running, agents) = running;
    until_told(&mut running.attestor).await?;
    end_agents(agents).await;
    running.stop().await
}

/// An attestor that somebody stopped ends nothing: hosts without one are something to see, and it can be started again.
pub(super) async fn until_told(attestor: &mut Attestor) -> anyhow::Result<()> {
    let again = attestor.again()?;
    let mut told = std::pin::pin!(interruption(None));
    tokio::select! {
        told = &mut told => told,
        ended = attestor.ended() => {
            if let Err(error) = ended {
                eprintln!("tpm-sim: {error:#}; the hosts go on without; to start it again: {again}");
            }
            told.await
        }
    }
}

/// One that ended before its time says why in its log; the others are to end all the same.
pub(super) async fn end_agents(agents: Vec<Child>) {
    for agent in agents {
        if let Err(error) = process::stop(agent, "an agent").await {
            eprintln!("{error:#}");
        }
    }
}
