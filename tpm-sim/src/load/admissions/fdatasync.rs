//! How long the disk takes to make a small write durable, timed while the server is under load.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use crate::latency::{Latencies, Latency};

/// The file that is written to; it is removed at the end.
const FILE: &str = "tpm-sim-load.fdatasync";
/// From one probe to the next: often enough that a hundredth of them is more than one or two, and rare enough not to be
/// a load of its own.
const EVERY: Duration = Duration::from_millis(10);
/// A page, as a write-ahead log writes them.
const PAGE: [u8; 4096] = [0; 4096];
/// Pages of the file. They are written over, as those of such a log are: a file that grows is another matter, since the
/// file system's own log has to be written with it.
const PAGES: u64 = 256;

/// A probe under way.
pub(crate) struct Probe {
    path: PathBuf,
    stop: Sender<()>,
    thread: JoinHandle<std::io::Result<Latencies>>,
}

impl Probe {
    /// Begins to write to a file in `folder`.
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

    /// Ends it. `None`: it ended before the first write.
    pub(crate) fn finish(self) -> anyhow::Result<Option<Latency>> {
        drop(self.stop);
        let probed = self.thread.join();
        fs::remove_file(&self.path)?;
        let mut latencies = probed.map_err(|_| anyhow!("the probe of fdatasync broke"))??;
        Ok(latencies.percentiles())
    }
}

fn probe(mut file: File, stopped: &Receiver<()>) -> std::io::Result<Latencies> {
    for _ in 0..PAGES {
        file.write_all(&PAGE)?;
    }
    file.sync_all()?;
    let mut latencies = Latencies::default();
    for turn in 0.. {
        if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        if turn % PAGES == 0 {
            file.rewind()?;
        }
        file.write_all(&PAGE)?;
        let began = Instant::now();
        file.sync_data()?;
        latencies.add(began.elapsed());
    }
    Ok(latencies)
}
