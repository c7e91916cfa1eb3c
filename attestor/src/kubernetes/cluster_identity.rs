//! Whether the API server is of the cluster that the settings name: the first one that was spoken to under that name.
//!
//! Until that is known, and once it is known to be another, nothing is decided in favour of a pod of a policy, no node is
//! linked and nothing is done in the cluster: what is kept under the name is of the other's nodes and workloads.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::{Cluster, ClusterError};
use touchstone_kubernetes::cluster_name::ClusterName;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::store::{Store, StoreError};

/// Between two looks, once it is known.
const PAUSE: Duration = Duration::from_secs(2);
/// Before that.
const SOON: Duration = Duration::from_millis(500);

/// After so many looks in a row that the API server refused nothing is known any more: who answers there may be another.
const REFUSALS_MAX: usize = 3;

/// What is known of the cluster that is served.
pub(crate) struct ClusterIdentity {
    known: watch::Sender<Known>,
    /// Whether it was told that a look was refused.
    complained: AtomicBool,
    /// Looks in a row that were refused.
    refused: AtomicUsize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Known {
    /// Nobody looked yet, or to no avail.
    Nothing,
    /// It is the one of the name, or none is configured.
    Same,
    /// It is another one.
    Another { bound: String, found: String },
}

/// Why a look told nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ClusterIdentity {
    /// Nothing is known yet of a cluster that is configured.
    pub(super) fn new(is_configured: bool) -> Self {
        let known = match is_configured {
            true => Known::Nothing,
            false => Known::Same,
        };
        Self {
            known: watch::Sender::new(known),
            complained: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        }
    }

    /// Looks again and again: a name in DNS may lead to another cluster tomorrow.
    pub(super) async fn keep_looking(&self, attestor: &Attestor, cluster: &Cluster) -> Infallible {
        loop {
            let pause = match *self.known.borrow() {
                Known::Nothing => SOON,
                Known::Same | Known::Another { .. } => PAUSE,
            };
            sleep(pause).await;
            self.look(attestor, cluster).await;
        }
    }

    /// Why nothing is decided in favour of anything in the cluster; `None`: it is the one that is meant.
    pub(crate) fn doubt(&self) -> Option<Finding> {
        match &*self.known.borrow() {
            Known::Same => None,
            Known::Nothing => Some(Finding::new("cluster-unconfirmed")),
            Known::Another { bound, found } => Some(
                Finding::new("cluster-replaced")
                    .expected(bound)
                    .observed(found),
            ),
        }
    }

    /// Waits until it is known to be the one that is meant.
    pub(super) async fn confirmed(&self) {
        let mut known = self.known.subscribe();
        let _never_dropped = known.wait_for(|known| *known == Known::Same).await;
    }

    /// Waits until it is not any more.
    pub(super) async fn lost(&self) {
        let mut known = self.known.subscribe();
        let _never_dropped = known.wait_for(|known| *known != Known::Same).await;
    }

    /// Looks once. That an API server is away, or the database, changes nothing.
    pub(crate) async fn look(&self, attestor: &Attestor, cluster: &Cluster) {
        match look(attestor, cluster).await {
            Ok(known) => {
                self.complained.store(false, Ordering::Relaxed);
                self.refused.store(0, Ordering::Relaxed);
                self.note(&known, &attestor.cluster);
            }
            Err(error) => {
                self.tell(&error);
                if matches!(&error, LookError::Cluster(error) if !error.is_absence()) {
                    self.is_refused();
                }
            }
        }
    }

    fn is_refused(&self) {
        let before = self.refused.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) >= REFUSALS_MAX && self.becomes(&Known::Nothing) {
            tracing::error!(
                "the API server does not let the attestor see any more which cluster it is of: nothing is done there until it does"
            );
        }
    }

    /// Tells a refusal once, until it is over; that the API server is away is told of it elsewhere.
    fn tell(&self, error: &LookError) {
        let absent = matches!(error, LookError::Cluster(error) if error.is_absence());
        let told = absent || self.complained.swap(true, Ordering::Relaxed);
        let error = error as &dyn std::error::Error;
        let what = "whether the API server is of the cluster of the settings is not known";
        match told {
            true => tracing::debug!(error, "{what}"),
            false => tracing::error!(error, "{what}"),
        }
    }

    /// Says whether that is news.
    fn becomes(&self, known: &Known) -> bool {
        self.known.send_if_modified(|held| {
            let is_news = held != known;
            held.clone_from(known);
            is_news
        })
    }

    fn note(&self, known: &Known, name: &ClusterName) {
        match known {
            _ if !self.becomes(known) => {}
            Known::Another { bound, found } => tracing::error!(
                "the API server is of the cluster {found}, and the name `{name}` is of the cluster {bound}: no pod of a policy is \
                 bound there, and nothing is done there; give it another name (`cluster` in the Kubernetes settings)"
            ),
            Known::Same => tracing::info!("the API server is of the cluster `{name}`"),
            Known::Nothing => {}
        }
    }
}

async fn look(attestor: &Attestor, cluster: &Cluster) -> Result<Known, LookError> {
    let found = cluster.uid().await?;
    let bound = bound(&attestor.store, &attestor.cluster, &found).await?;
    Ok(match bound == found {
        true => Known::Same,
        false => Known::Another { bound, found },
    })
}

/// The uid that `name` is bound to: `found`, where it was bound to none.
async fn bound(store: &Store, name: &ClusterName, found: &str) -> Result<String, StoreError> {
    if let Some(bound) = store.read().await?.cluster_uid(name).await? {
        return Ok(bound);
    }
    let now = clock::now();
    let mut tx = store.write().await?;
    if let Some(bound) = tx.cluster_uid(name).await? {
        return Ok(bound);
    }
    let event = Event::ClusterBound {
        cluster: name.clone(),
        uid: found.to_owned(),
    };
    tx.bind_cluster(name, found, now).await?;
    audit::append(&mut tx, &event, &Actor::Attestor, now).await?;
    tx.commit().await?;
    Ok(found.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn another() -> Known {
        Known::Another {
            bound: "u-1".to_owned(),
            found: "u-2".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_name_is_of_the_cluster_that_was_found_under_it_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let store = store.unwrap();
        let (here, west) = (ClusterName::default(), "west".parse().unwrap());
        for found in ["u-1", "u-2", "u-1"] {
            assert_eq!(bound(&store, &here, found).await.unwrap(), "u-1");
        }
        // Another name is free, also for the same cluster.
        assert_eq!(bound(&store, &west, "u-2").await.unwrap(), "u-2");
        let entries = store.read().await.unwrap().entries(0).await.unwrap();
        let told = entries.iter().map(|entry| String::from_utf8_lossy(entry));
        let told = told.filter(|entry| entry.contains("\"kind\":\"cluster-bound\""));
        assert_eq!(told.count(), 2);
    }

    #[test]
    fn what_is_not_known_is_in_doubt_and_so_is_another_cluster() {
        assert_eq!(ClusterIdentity::new(false).doubt(), None);
        let identity = ClusterIdentity::new(true);
        let code = |identity: &ClusterIdentity| identity.doubt().map(|doubt| doubt.code);
        assert_eq!(code(&identity).as_deref(), Some("cluster-unconfirmed"));
        assert!(identity.becomes(&Known::Same) && !identity.becomes(&Known::Same));
        assert_eq!(identity.doubt(), None);
        assert!(identity.becomes(&another()));
        let doubt = identity.doubt().unwrap();
        assert_eq!(doubt.code, "cluster-replaced");
        assert_eq!(
            (doubt.expected.as_deref(), doubt.observed.as_deref()),
            (Some("u-1"), Some("u-2"))
        );
    }

    #[test]
    fn whoever_answers_and_does_not_say_who_it_is_is_unknown_after_a_while() {
        let identity = ClusterIdentity::new(true);
        identity.becomes(&Known::Same);
        for _ in 1..REFUSALS_MAX {
            identity.is_refused();
        }
        assert_eq!(identity.doubt(), None);
        identity.is_refused();
        assert_eq!(identity.doubt().unwrap().code, "cluster-unconfirmed");
    }

    #[tokio::test]
    async fn whoever_works_in_a_cluster_is_told_that_it_is_another() {
        let identity = ClusterIdentity::new(true);
        let (confirmed, lost) = (identity.confirmed(), identity.lost());
        // Not known yet: nobody works.
        lost.await;
        identity.becomes(&Known::Same);
        confirmed.await;
        let lost = identity.lost();
        identity.becomes(&another());
        lost.await;
    }
}
