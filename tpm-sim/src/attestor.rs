//! The attestor under demonstration, and the operator's command that speaks to it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::process;

/// Longest that the first start may take: it makes keys, a CA and a database.
const START_MAX: Duration = Duration::from_secs(30);

/// `touchstone serve`, with its data in a folder of its own.
pub(crate) struct Attestor {
    process: Child,
    /// Open, so that the server can go on writing to it.
    _stdout: BufReader<ChildStdout>,
    console: Console,
    /// What `serve` was told besides address and data.
    more: Vec<String>,
}

impl Attestor {
    /// Starts it on its embedded default and any free port, and waits until it answers. What it logs
    /// goes to `log`.
    pub(crate) async fn start(data: &Path, log: &Path) -> anyhow::Result<Self> {
        Self::start_with(data, log, Vec::new()).await
    }

    /// The same with more arguments.
    pub(crate) async fn start_with(
        data: &Path,
        log: &Path,
        more: Vec<String>,
    ) -> anyhow::Result<Self> {
        let touchstone = process::sibling("touchstone")?;
        let mut process = process::command(&touchstone)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(&more)
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
            .context("cannot start the attestor")?;
        let stdout = process
            .stdout
            .take()
            .context("the attestor has no output")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        timeout(START_MAX, stdout.read_line(&mut line))
            .await
            .with_context(|| format!("the attestor is not ready after {START_MAX:?}"))??;
        if !line.starts_with("listening on ") {
            let said = fs::read_to_string(log).unwrap_or_default();
            bail!("the attestor did not start: {}", said.trim());
        }
        Ok(Self {
            process,
            _stdout: stdout,
            console: Console {
                touchstone,
                operator: data.join("operator.json"),
            },
            more,
        })
    }

    /// The operator's command.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// How it is started again, on the same port, with the same data.
    pub(crate) fn again(&self) -> anyhow::Result<String> {
        let Console {
            touchstone,
            operator,
        } = &self.console;
        let server = Credential::read(operator)?.server;
        let (_, address) = server
            .split_once("://")
            .context("the attestor's URL has no scheme")?;
        let data = operator.parent().context("a file in no folder")?;
        let (touchstone, data) = (touchstone.display(), data.display());
        let serve = format!("{touchstone} serve --listen {address} --data {data}");
        let words = [serve].into_iter().chain(self.more.iter().cloned());
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    /// Until it ends by itself, which it never should.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let status = self.process.wait().await?;
        bail!("the attestor has ended: {status}")
    }

    /// An orderly end, unless it has ended.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        match self.process.try_wait()? {
            Some(_) => Ok(()),
            None => process::stop(self.process, "the attestor").await,
        }
    }
}

/// `touchstone`, with the credential that the attestor's first start wrote.
#[derive(Clone)]
pub(crate) struct Console {
    /// The program.
    pub(crate) touchstone: PathBuf,
    /// The credential.
    pub(crate) operator: PathBuf,
}

impl Console {
    /// Runs one command and returns its JSON.
    pub(crate) async fn run(&self, arguments: &[&dyn AsRef<OsStr>]) -> anyhow::Result<Value> {
        let mut command = process::command(&self.touchstone);
        for argument in arguments {
            command.arg(argument);
        }
        command.arg("--json").arg("--operator").arg(&self.operator);
        process::json(command).await
    }
}

/// What is needed of the operator's credential.
#[derive(Deserialize)]
pub(crate) struct Credential {
    /// Base URL of the attestor.
    pub(crate) server: String,
    /// Its CA, PEM.
    pub(crate) ca: String,
    /// The webhook, with its secret.
    pub(crate) webhook: String,
}

impl Credential {
    /// Reads it, or says what to name instead.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read(path).with_context(|| {
            format!(
                "cannot read the operator's credential `{shown}`; name with --operator the `operator.json` in the \
                 data folder of an attestor that runs, as `tpm-sim demo --keep` starts one"
            )
        })?;
        serde_json::from_slice(&text)
            .with_context(|| format!("`{shown}` is no operator's credential"))
    }
}
