//! Look-ups of rounds in groups: those that wait while one is under way share the next.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use touchstone_evidence::location::AuthorityKey;

use crate::appraisal::RoundError;
use crate::store::{Asked, Held, Snapshot, Store, StoreError};

/// Most that are looked up together.
const GROUP_MAX: usize = 256;
/// Most that wait.
const WAITING_MAX: usize = 4096;

/// What was seen at one moment.
pub(crate) struct Seen {
    /// `None`: the TLS key is of no enrolled host.
    pub(crate) held: Option<Held>,
    pub(crate) authorities: Arc<[AuthorityKey]>,
}

struct Job(Asked, oneshot::Sender<Result<Seen, StoreError>>);

/// Hands look-ups to the task that does them.
pub(crate) struct Reads(mpsc::Sender<Job>);

impl Reads {
    /// Starts the task. It ends with the last handle.
    pub(crate) fn start(store: Store) -> Self {
        let (sender, mut waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            let mut jobs = Vec::with_capacity(GROUP_MAX);
            while waiting.recv_many(&mut jobs, GROUP_MAX).await > 0 {
                answer(&store, std::mem::take(&mut jobs)).await;
            }
        });
        Self(sender)
    }

    /// What is held about whoever asks.
    pub(crate) async fn look_up(&self, asked: Asked) -> Result<Seen, RoundError> {
        let (reply, seen) = oneshot::channel();
        let sent = self.0.try_send(Job(asked, reply));
        sent.map_err(|_| RoundError::Busy)?;
        Ok(seen.await.map_err(|_| RoundError::Cancelled)??)
    }
}

async fn answer(store: &Store, jobs: Vec<Job>) {
    let asked: Vec<Asked> = jobs.iter().map(|job| job.0.clone()).collect();
    match store.look_up(&asked).await {
        Ok(Snapshot {
            held, authorities, ..
        }) => {
            let authorities = authorities.iter().filter_map(AuthorityKey::from_bytes);
            let authorities: Arc<[AuthorityKey]> = authorities.collect();
            for (Job(_, reply), held) in jobs.into_iter().zip(held) {
                let authorities = Arc::clone(&authorities);
                let _gone = reply.send(Ok(Seen { held, authorities }));
            }
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a look-up failed");
            for Job(_, reply) in jobs {
                let _gone = reply.send(Err(StoreError::Unavailable));
            }
        }
    }
}
