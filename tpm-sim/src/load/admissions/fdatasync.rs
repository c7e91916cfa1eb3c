//! How long the disk takes to make a small append durable, timed while the server is under load.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use crate::latency::{Latencies, Latency};

/// The file that is appended to; it is removed at the end.
const FILE: &str = "tpm-sim-load.fdatasync";
/// From one probe to the next: rare enough not to be a load of its own.
const EVERY: Duration = Duration::from_millis(100);
/// A page, as a write-ahead log appends them.
const APPEND: [u8; 4096] = [0; 4096];

/// A probe under way.
pub(crate) struct Probe {
    path: PathBuf,
    stop: Sender<()>,
    thread: JoinHandle<std::io::Result<Latencies>>,
}

impl Probe {
    /// Begins to append to a file in `folder`.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let file = File::create(&path).with_context(|| {
            format!(
                "cannot make `{}`; name with --fdatasync-in a folder that you may write to, on the disk of the \
                 attestor's data",
                path.display()
            )
        })?;
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || probe(file, &stopped));
        Ok(Self { path, stop, thread })
    }

    /// Ends it. `None`: it ended before the first append.
    pub(crate) fn finish(self) -> anyhow::Result<Option<Latency>> {
        drop(self.stop);
        let probed = self.thread.join();
        fs::remove_file(&self.path)?;
        let mut latencies = probed.map_err(|_| anyhow!("the probe of fdatasync broke"))??;
        Ok(latencies.percentiles())
    }
}

fn probe(mut file: File, stopped: &Receiver<()>) -> std::io::Result<Latencies> {
    let mut latencies = Latencies::default();
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        file.write_all(&APPEND)?;
        let began = Instant::now();
        file.sync_data()?;
        latencies.add(began.elapsed());
    }
    Ok(latencies)
}
