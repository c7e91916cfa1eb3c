//! What every request works with: the database, the keys, and what is held in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;

use touchstone_evidence::finding::Finding;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::manifest::{ManifestError, PolicySet};

use crate::appraisal::Verdict;
use crate::audit::{Actor, Entry, Event};
use crate::budgets::Budgets;
use crate::clock;
use crate::commits::Commits;
use crate::follower;
use crate::heads::{HeadError, Heads};
use crate::keys::ServerKeys;
use crate::layer_keys::MasterKeyError;
use crate::leases::Giving;
use crate::log_key::{LogKey, LogKeyError};
use crate::logs::BootLogs;
use crate::metrics::Metrics;
use crate::policy;
use crate::refusals::{Folded, Refusals, Strangers};
use crate::result_keys::ResultKeyError;
use crate::store::{Store, StoreError, Tx};
use crate::trust_index::TrustIndex;
use crate::workloads::Workloads;

/// One running attestor.
pub(crate) struct Attestor {
    /// Whose nodes and workloads it decides about.
    pub(crate) cluster: ClusterName,
    pub(crate) store: Store,
    pub(crate) keys: ServerKeys,
    pub(crate) index: Arc<TrustIndex>,
    pub(crate) commits: Commits,
    pub(crate) giving: Giving,
    pub(crate) workloads: Workloads,
    pub(crate) logs: Arc<BootLogs>,
    pub(crate) heads: Heads,
    pub(crate) log_key: LogKey,
    pub(crate) refusals: Refusals,
    pub(crate) folded: Folded,
    /// Reviews that were not let in.
    pub(crate) strangers: Strangers,
    pub(crate) budgets: Budgets,
    pub(crate) metrics: Arc<Metrics>,
    /// Held while tags of a revoked location authority are taken back.
    pub(crate) sweeping: tokio::sync::Mutex<()>,
    /// Plans that may still begin.
    pub(crate) plans: tokio::sync::Semaphore,
    /// Simulators' roots are refused.
    pub(crate) production: bool,
}

/// Why the attestor cannot begin its work with this database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's key is missing, or another one.
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    /// The clock was set back.
    #[error(
        "the clock says {now}, but the audit log's last entry is of {last}; set the clock right, since \
         expired results would come back"
    )]
    ClockBehind {
        /// Seconds since 1970.
        now: i64,
        /// Seconds since 1970.
        last: i64,
    },
    /// The database is one of tests.
    #[error(
        "this database held a root of class `simulator`, so it cannot serve in production; start with an \
         empty database, or without --production"
    )]
    SimulatorRoot,
    /// The audit log is not the one whose heads were signed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The key of results.
    #[error(transparent)]
    ResultKey(#[from] ResultKeyError),
    /// The master key is not the one that the database was used with.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The manifests in the database do not read: another version of the software wrote them.
    #[error("the policy version {version} in the database is broken: {source}")]
    Policy {
        /// Which version.
        version: i64,
        /// What is wrong.
        source: ManifestError,
    },
}

impl Attestor {
    /// Reads what is held in memory out of the database. `folder` is where what must not be in it is kept.
    pub(crate) async fn open(
        folder: &Path,
        store: Store,
        mut keys: ServerKeys,
        cluster: ClusterName,
        production: bool,
    ) -> Result<Arc<Self>, OpenError> {
        if production {
            refuse_simulators(&store).await?;
        }
        let log_key = start_log(&store, folder).await?;
        let heads = match Heads::open(folder)? {
            Some(heads) => heads,
            None => resume(&store, folder).await?,
        };
        keys.result.begin(&store).await?;
        heads.advance(&mut store.read().await?).await?;
        log_key.settle(&store, &heads).await?;
        // Once it is known that the log is the right one: it may write an entry.
        keys.master.begin(&store).await?;
        let index = Arc::new(TrustIndex::of(&store, cluster.clone()));
        let mut tx = store.read().await?;
        let size = tx.log_size().await?;
        // What was revoked since is below what is followed from here on.
        keys.result.look(&tx.result_keys().await?)?;
        let begun = Instant::now();
        if let Some(policy) = tx.policy().await? {
            let set = PolicySet::parse(&policy.manifests).map_err(|source| OpenError::Policy {
                version: policy.version,
                source,
            })?;
            index.put_policies(0, Arc::new(set));
        }
        for mapped in tx.nodes().await? {
            index.put_node(0, mapped);
        }
        for record in tx.hosts().await? {
            if let Some(verdict) = Verdict::of(&record)? {
                index.put_host(
                    0,
                    verdict.standing(&record.host),
                    verdict.entry,
                    clock::now(),
                );
            }
        }
        index.confirm(size, begun);
        let follower = (Arc::clone(&index), Arc::clone(&keys.result));
        tokio::spawn(follower::run(store.clone(), follower.0, follower.1));
        tokio::spawn(store.clone().watch_writes());
        tokio::spawn(store.clone().write_back());
        let metrics = Arc::new(Metrics::new());
        let committer = (Arc::clone(&index), Arc::clone(&metrics));
        Ok(Arc::new(Self {
            giving: Giving::start(store.clone(), Arc::clone(&index), Arc::clone(&metrics)),
            workloads: Workloads::start(store.clone(), Arc::clone(&index), cluster.clone()),
            cluster,
            commits: Commits::start(store.clone(), committer.0, committer.1),
            logs: Arc::default(),
            heads,
            log_key,
            store,
            keys,
            index,
            refusals: Refusals::default(),
            folded: Folded::default(),
            strangers: Strangers::default(),
            budgets: Budgets::default(),
            metrics,
            sweeping: tokio::sync::Mutex::default(),
            plans: tokio::sync::Semaphore::new(policy::AT_ONCE),
            production,
        }))
    }
}

impl Attestor {
    /// Looks whether the log in the database is still the one whose heads were signed. If not, nothing is written
    /// any more. An exchange of its key that broke off is brought to its end.
    pub(crate) async fn check_log(&self) -> Result<(), LogKeyError> {
        let mut tx = self.store.read().await?;
        match self.heads.advance(&mut tx).await {
            Err(error) if error.is_divergence() => {
                self.store.fence();
                Err(error)?
            }
            outcome => outcome?,
        };
        drop(tx);
        self.log_key.settle(&self.store, &self.heads).await
    }
}

/// No head is kept here: the log is new, or an operator restored a database and took the head away. Then verdicts
/// may be of hosts that have been found out since, and say nothing until they are reached anew.
async fn resume(store: &Store, folder: &Path) -> Result<Heads, OpenError> {
    let mut tx = store.write().await?;
    let head = tx.frontier().await?.head();
    if head.size > 1 {
        let now = clock::now();
        for record in tx.hosts().await? {
            let Some(verdict) = Verdict::of(&record)?.filter(|held| held.tier != TrustTier::None)
            else {
                continue;
            };
            let voided = verdict.voided(Finding::new("log-resumed"));
            tx.void_verdict(&record.host, &voided.to_json()?).await?;
        }
        let (size, root) = (head.size, head.root);
        Entry::new(&Event::LogResumed { size, root }, &Actor::Attestor, now)?
            .append(&mut tx)
            .await?;
        tracing::warn!("the audit log goes on at entry {size}; no verdict from before counts");
        tx.commit().await?;
    }
    Ok(Heads::begin(folder))
}

/// A production attestor does not work with a database that ever held a simulator's root: hosts may be
/// enrolled under it, and whoever has the database knows of tests, not of machines.
async fn refuse_simulators(store: &Store) -> Result<(), OpenError> {
    match store.read().await?.simulator_root_since().await? {
        Some(_) => Err(OpenError::SimulatorRoot),
        None => Ok(()),
    }
}

/// The first entry of a log names the key that signs its heads: another key would make another log of
/// the same entries, but for one that it was exchanged for. The last entry tells the time: a clock behind it would
/// bring expired things back.
async fn start_log(store: &Store, folder: &Path) -> Result<LogKey, OpenError> {
    let mut tx = store.write().await?;
    let size = tx.frontier().await?.size();
    if let Some(last) = size.checked_sub(1) {
        let first = entry_at(&mut tx, 0).await?;
        let key = LogKey::load(folder, first.checkpoint_key.as_deref(), &mut tx).await?;
        let last = entry_at(&mut tx, last).await?;
        let now = clock::now();
        if now < last.time.saturating_sub(clock::TOLERANCE) {
            return Err(OpenError::ClockBehind {
                now,
                last: last.time,
            });
        }
        return Ok(key);
    }
    let key = LogKey::begin(folder)?;
    let event = Event::LogStarted {
        checkpoint_key: key.verifier_key().await,
    };
    Entry::new(&event, &Actor::Attestor, clock::now())?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(key)
}

/// What is looked at in an entry of the log.
#[derive(Deserialize)]
struct Glance {
    time: i64,
    checkpoint_key: Option<String>,
}

async fn entry_at(tx: &mut Tx, index: u64) -> Result<Glance, StoreError> {
    let entries = tx.entries(index).await?;
    entries
        .first()
        .and_then(|body| serde_json::from_slice(body).ok())
        .ok_or(StoreError::Malformed("audit entry"))
}
