//! What every request works with: the database, the keys, and what is held in memory.

use std::sync::Arc;

use touchstone_evidence::endorsement::EndorsementRoots;
use touchstone_policies::manifest::{ManifestError, PolicySet};

use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::keys::ServerKeys;
use crate::refusals::Refusals;
use crate::store::{Store, StoreError};
use crate::trust_index::TrustIndex;

/// One running attestor.
pub(crate) struct Attestor {
    pub(crate) store: Store,
    pub(crate) keys: ServerKeys,
    pub(crate) index: TrustIndex,
    pub(crate) refusals: Refusals,
}

/// Why the attestor cannot begin its work with this database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// Reads what is held in memory out of the database.
    pub(crate) async fn open(store: Store, keys: ServerKeys) -> Result<Arc<Self>, OpenError> {
        start_log(&store, &keys).await?;
        let index = TrustIndex::default();
        let mut tx = store.read().await?;
        if let Some(policy) = tx.policy().await? {
            let set = PolicySet::parse(&policy.manifests).map_err(|source| OpenError::Policy {
                version: policy.version,
                source,
            })?;
            index.put_policies(Arc::new(set));
        }
        for (node, host) in tx.nodes().await? {
            index.put_node(node, host);
        }
        for record in tx.hosts().await? {
            if let Some(verdict) = crate::appraisal::Verdict::of(&record)? {
                index.put_host(verdict.standing(&record.host), verdict.entry, clock::now());
            }
        }
        Ok(Arc::new(Self {
            store,
            keys,
            index,
            refusals: Refusals::default(),
        }))
    }

    /// The endorsement roots in force. Read from the database for each enrolment: enrolments are rare,
    /// and no replica may miss an import.
    pub(crate) async fn endorsement_roots(&self) -> Result<EndorsementRoots, StoreError> {
        let mut tx = self.store.read().await?;
        let mut roots = EndorsementRoots::new();
        for (class, pem) in tx.endorsement_bundles().await? {
            let class = crate::store::class(&class).ok_or(StoreError::Malformed("root class"))?;
            roots
                .add_pem(pem.as_bytes(), class, &[])
                .map_err(|_| StoreError::Malformed("endorsement bundle"))?;
        }
        Ok(roots)
    }
}

/// The first entry of a log names the key that signs its heads.
async fn start_log(store: &Store, keys: &ServerKeys) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    if tx.frontier().await?.size() > 0 {
        return Ok(());
    }
    let event = Event::LogStarted {
        checkpoint_key: keys.checkpoint.verifier_key().to_string(),
    };
    Entry::new(&event, Actor::Attestor, clock::now())?
        .append(&mut tx)
        .await?;
    tx.commit().await
}
