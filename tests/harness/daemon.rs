//! `touchstone-agent run`: what it logs, what it takes, how it ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;
use crate::memory;
use crate::server::Server;

/// Far more than anything here takes, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent that runs until it is told to stop, or gives up.
pub struct Daemon {
    process: Child,
    log: Arc<Log>,
    /// Lines that were waited for, and those before them.
    passed: usize,
}

#[derive(Default)]
struct Log {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Daemon {
    /// The agent of `host`, which has no reason for a second round in this test but what happens to it.
    #[must_use]
    pub fn idle(host: &Host, server: &Server) -> Self {
        Self::start(host.agent_command(server, &["run", "--interval", "86400"]))
    }

    /// The agent of `host`, with a round every second or so.
    #[must_use]
    pub fn busy(host: &Host, server: &Server) -> Self {
        Self::start(host.agent_command(server, &["run", "--interval", "1"]))
    }

    /// Whatever `command` says, which is to be an agent.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut process = command
            .env("TOUCHSTONE_LOG", "info,touchstone_agent=debug")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let log = Arc::<Log>::default();
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                writer.said.lock().unwrap().lines.push(line);
                writer.more.notify_all();
            }
            writer.said.lock().unwrap().ended = true;
            writer.more.notify_all();
        });
        Self {
            process,
            log,
            passed: 0,
        }
    }

    /// The next line with `words` in it, after the last one that was waited for.
    pub fn wait_for(&mut self, words: &str) -> String {
        let passed = self.passed;
        let found = |said: &Said| {
            let mut lines = said.lines.iter().skip(passed);
            lines.position(|line| line.contains(words))
        };
        let said = self.log.said.lock().unwrap();
        let (said, _) = self
            .log
            .more
            .wait_timeout_while(said, PATIENCE, |said| !said.ended && found(said).is_none())
            .unwrap();
        let Some(at) = found(&said) else {
            panic!(
                "`{words}` was not said after line {passed} of:\n{}",
                said.lines.join("\n")
            );
        };
        self.passed = passed + at + 1;
        said.lines[passed + at].clone()
    }

    /// The next round, which is to end with this tier.
    pub fn wait_for_round(&mut self, tier: &str) {
        let line = self.wait_for(": attested ");
        assert!(line.contains(&format!("tier={tier}")), "{line}");
    }

    /// What it has said so far, or as its last words.
    #[must_use]
    pub fn said(&self) -> String {
        self.log.said.lock().unwrap().lines.join("\n")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Kills it, as a reboot does to everything.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Stops it in order.
    pub fn stop(self) {
        self.signal(Signal::TERM);
        let (code, said) = self.end();
        assert_eq!(code, Some(0), "{said}");
    }

    /// Waits until it has given up: its exit code, and all that it said.
    #[must_use]
    pub fn end(mut self) -> (Option<i32>, String) {
        let said = self.log.said.lock().unwrap();
        let (said, over) = self
            .log
            .more
            .wait_timeout_while(said, PATIENCE, |said| !said.ended)
            .unwrap();
        assert!(!over.timed_out(), "it goes on:\n{}", said.lines.join("\n"));
        let lines = said.lines.join("\n");
        drop(said);
        (self.process.wait().unwrap().code(), lines)
    }

    /// A line of `/proc/PID/status` in KiB, such as `VmRSS`.
    #[must_use]
    pub fn memory(&self, field: &str) -> u64 {
        memory::line(self.process.id(), field)
    }

    fn pid(&self) -> Pid {
        let pid = i32::try_from(self.process.id());
        pid.ok().and_then(Pid::from_raw).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _status = self.process.wait();
    }
}
