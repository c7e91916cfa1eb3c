//! The thread that owns the TPM, and its end, which the last handle waits for.
//!
//! Invariant: a process that has dropped its handles has no thread left in the TPM's libraries, unless the
//! TPM does not answer. A thread that ends clears what OpenSSL kept for it; OpenSSL's exit handlers clear the
//! same for all threads. Where the two meet, memory is freed twice.

use std::sync::Mutex;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::visit::Owner;
use super::{Error, Result};

/// Calls that may wait for the TPM; more wait in their callers.
const QUEUE: usize = 16;

/// How long the last handle waits for a command that the TPM is at.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

/// A piece of work.
pub(super) type Job = Box<dyn FnOnce(&mut Owner) + Send>;

/// The thread as its handles see it.
#[derive(Debug)]
pub(super) struct Thread {
    /// Taken at the end: without a sender, the thread ends after what it is at.
    jobs: Option<mpsc::Sender<Job>>,
    /// In a lock for `Sync` alone.
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    pub(super) fn start(owner: Owner) -> Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let running = Builder::new()
            .name("tpm".to_owned())
            .spawn(move || serve(owner, queue))
            .map_err(Error::Thread)?;
        Ok(Self {
            jobs: Some(jobs),
            running: Mutex::new(Some(running)),
        })
    }

    /// Hands `job` over, as soon as there is room.
    pub(super) async fn give(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.as_ref().ok_or(Error::Gone)?;
        jobs.send(job).await.map_err(|_| Error::Gone)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.jobs = None;
        let running = self.running.get_mut().ok().and_then(Option::take);
        let Some(running) = running else { return };
        let latest = Instant::now() + PATIENCE;
        while !running.is_finished() && Instant::now() < latest {
            sleep(LOOK);
        }
        if running.is_finished() {
            // What it says of a panic was printed when it happened.
            let _ = running.join();
        }
    }
}

/// One job after the other until no handle is left.
fn serve(mut owner: Owner, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut owner);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// What a library keeps for a thread, and clears when that ends.
    struct Kept(Arc<AtomicBool>);

    impl Drop for Kept {
        fn drop(&mut self) {
            sleep(Duration::from_millis(50));
            self.0.store(true, Ordering::SeqCst);
        }
    }

    thread_local! {
        static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
    }

    fn started() -> Thread {
        // A name of a TPM is not looked at before it is visited.
        Thread::start(Owner::new("swtpm:host=127.0.0.1,port=1").unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_last_handle_waits_until_the_thread_has_cleared_what_it_kept() {
        let cleared = Arc::new(AtomicBool::new(false));
        let kept = Kept(Arc::clone(&cleared));
        let thread = started();
        let job: Job = Box::new(move |_| KEPT.set(Some(kept)));
        thread.give(job).await.unwrap();
        drop(thread);
        assert!(cleared.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_tpm_that_does_not_answer_does_not_keep_the_process() {
        let thread = started();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let job: Job = Box::new(move |_| assert!(held.recv().is_err()));
        thread.give(job).await.unwrap();
        let began = Instant::now();
        drop(thread);
        assert!(began.elapsed() >= PATIENCE);
        drop(hold);
    }
}
