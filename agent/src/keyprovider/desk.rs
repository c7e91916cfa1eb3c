//! One call after the other: what is asked, from which image it is, and the answer in the form of the question.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use touchstone_evidence::annotation::Annotation;
use touchstone_evidence::keyprovider::{Request, manifest_of, unwrapped};
use touchstone_evidence::oci_digest::OciDigest;
use zeroize::Zeroizing;

use super::release::{Question, Releases, Wanted, until};
use super::{Refusal, Waiting, content_store};
use crate::settings::KeyProviderSettings;

/// Calls that may wait. An image has a hundred layers at most, of which a runtime asks for a handful at once.
const PLACES: usize = 32;

/// Where calls wait for their turn: rounds of one host that run side by side overtake each other.
pub(crate) struct Desk {
    content_store: PathBuf,
    patience: Duration,
    places: Semaphore,
    turn: Semaphore,
    releases: watch::Sender<Option<Releases>>,
}

impl Desk {
    /// One that has nothing to ask with yet.
    pub(super) fn new(settings: &KeyProviderSettings) -> Self {
        Self {
            content_store: settings.content_store.clone(),
            patience: settings.patience,
            places: Semaphore::new(PLACES),
            turn: Semaphore::new(1),
            releases: watch::Sender::new(None),
        }
    }

    /// From now on keys are asked for.
    pub(super) fn open(&self, releases: Releases) {
        self.releases.send_replace(Some(releases));
    }

    /// From now on they are not, also for calls under way: nothing more is asked of the TPM.
    pub(super) fn close(&self) {
        self.releases.send_replace(None);
    }

    /// The answer to a message of ocicrypt's.
    pub(super) async fn answer(&self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let Request::Unwrap {
            annotation,
            parameters,
            form,
        } = Request::parse(message)?
        else {
            return Err(Refusal::Wrap);
        };
        let wanted = Wanted {
            annotation: Annotation::parse(&annotation)?,
            manifest: manifest_of(&parameters)?,
            written: annotation,
        };
        let bound = wanted.annotation.untrusted_binding().clone();
        let options = self.unwrap(wanted).await;
        match &options {
            Ok(_) => {
                tracing::info!(key.id = %bound.key, layer = %bound.layer, "a layer can be opened")
            }
            Err(refusal) => {
                let error: &dyn std::error::Error = refusal;
                tracing::warn!(key.id = %bound.key, layer = %bound.layer, error, "a layer stays closed");
            }
        }
        Ok(unwrapped(&options?, form))
    }

    async fn unwrap(&self, mut wanted: Wanted) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        self.ask(async {
            if wanted.manifest.is_none() {
                wanted.manifest = self.found(wanted.written.clone()).await;
            }
            wanted
        })
        .await
    }

    /// The answer to a question, which is put when its turn has come.
    pub(crate) async fn ask<Q: Question>(
        &self,
        question: impl Future<Output = Q> + Send,
    ) -> Result<Q::Key, Refusal> {
        let mut open = self.releases.subscribe();
        let releases = open.borrow().clone().ok_or(Refusal::NotReady)?;
        tokio::select! {
            key = self.ask_with(&releases, question) => key,
            _ = open.wait_for(Option::is_none) => Err(Refusal::NotReady),
        }
    }

    async fn ask_with<Q: Question>(
        &self,
        releases: &Releases,
        question: impl Future<Output = Q> + Send,
    ) -> Result<Q::Key, Refusal> {
        let place = self.places.try_acquire();
        let _place = place.map_err(|_| Refusal::Busy(PLACES))?;
        let deadline = Instant::now() + self.patience;
        let slow = |waiting| Refusal::Slow {
            waiting,
            patience: self.patience,
        };
        let turn = until(deadline, Waiting::Turn, self.turn.acquire()).await;
        let _turn = turn.map_err(slow)?.map_err(|_| Refusal::NotReady)?;
        releases.release(&question.await, deadline, &slow).await
    }

    /// The manifest in containerd's content store that the annotation stands in.
    async fn found(&self, annotation: Vec<u8>) -> Option<OciDigest> {
        let store = self.content_store.clone();
        let found = spawn_blocking(move || content_store::manifest_with(&store, &annotation)).await;
        found.ok().flatten()
    }
}
