//! The head that was signed last, outside of the database: so that a database which went back, or was exchanged,
//! is found out before another root is signed for the same size.
//!
//! What is kept is the right edge of the tree. Whatever stands in the database later must grow out of it: the
//! leaves since then are added to it, and must lead to what the database says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use touchstone_evidence::transparency::{Frontier, TreeHead};

use crate::keys::{self, KeyError};
use crate::store::{StoreError, Tx};

/// Why no head may be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("`{path}` cannot be read or written")]
    File { path: PathBuf, source: io::Error },
    #[error("`{0}` does not hold a head as this software writes it; restore it from the backup")]
    Malformed(PathBuf),
    #[error(
        "the database holds {seen} entries of the audit log, and a head of {signed} was signed: entries are lost. \
         Bring back the database that has them; for an older one on purpose, see docs/operators.md, Restore"
    )]
    Behind { signed: u64, seen: u64 },
    #[error(
        "the audit log in the database is another one than was signed up to entry {signed}; bring back the right \
         database"
    )]
    Forked { signed: u64 },
    #[error(transparent)]
    NotKept(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HeadError {
    /// Whether the database is not the one whose heads were signed.
    pub(crate) fn is_divergence(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::Forked { .. })
    }
}

/// The last head of this attestor, in a file of its own.
pub(crate) struct Heads {
    path: PathBuf,
    last: Mutex<Frontier>,
}

impl Heads {
    /// Reads `head` in `folder`. `None`: there is none, as at the first start.
    pub(crate) fn open(folder: &Path) -> Result<Option<Self>, HeadError> {
        let path = folder.join("head");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HeadError::File { path, source }),
        };
        let bytes = hex::decode(text.trim()).ok();
        let frontier = bytes.and_then(|bytes| Frontier::from_bytes(&bytes).ok());
        match frontier {
            Some(last) => Ok(Some(Self {
                path,
                last: Mutex::new(last),
            })),
            None => Err(HeadError::Malformed(path)),
        }
    }

    /// Begins with a log of which no head was signed here.
    pub(crate) fn begin(folder: &Path) -> Self {
        Self {
            path: folder.join("head"),
            last: Mutex::new(Frontier::empty()),
        }
    }

    /// The head that `tx` sees, kept before it is returned: it may be signed.
    pub(crate) async fn advance(&self, tx: &mut Tx) -> Result<TreeHead, HeadError> {
        let seen = tx.frontier().await?;
        let mut last = self.last.lock().await;
        let signed = last.size();
        if seen.size() < signed {
            let seen = seen.size();
            return Err(HeadError::Behind { signed, seen });
        }
        let grown = grow(tx, last.clone(), seen.size()).await?;
        if grown != seen {
            return Err(HeadError::Forked { signed });
        }
        if grown != *last || !self.path.exists() {
            let text = hex::encode(grown.to_bytes());
            let path = self.path.clone();
            let kept = spawn_blocking(move || keys::write_private(&path, text.as_bytes()));
            kept.await.map_err(|_| StoreError::Unavailable)??;
            *last = grown;
        }
        Ok(seen.head())
    }
}

/// `tree` with the leaves that `tx` sees after its own, until it has `size` of them, or as many as there are.
pub(crate) async fn grow(
    tx: &mut Tx,
    mut tree: Frontier,
    size: u64,
) -> Result<Frontier, StoreError> {
    while tree.size() < size {
        let leaves = tx.leaves(tree.size(), size).await?;
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves {
            tree.append(leaf)
                .map_err(|_| StoreError::Malformed("tree"))?;
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::Store;

    async fn log(folder: &Path, name: &str, entries: &[&str]) -> Store {
        let store = Store::open(&format!("sqlite:{}", folder.join(name).display())).await;
        let store = store.unwrap();
        let mut tx = store.write().await.unwrap();
        for entry in entries {
            tx.append(entry.as_bytes()).await.unwrap();
        }
        tx.commit().await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_log_grows_out_of_the_head_that_was_signed_or_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(Heads::open(folder).unwrap().is_none());
        let heads = Heads::begin(folder);
        let store = log(folder, "a", &["0", "1", "2"]).await;
        let head = heads
            .advance(&mut store.read().await.unwrap())
            .await
            .unwrap();
        assert_eq!(head.size, 3);
        // The same database, and one that grew out of it.
        let heads = Heads::open(folder).unwrap().unwrap();
        assert_eq!(
            heads
                .advance(&mut store.read().await.unwrap())
                .await
                .unwrap(),
            head
        );
        let grown = log(folder, "b", &["0", "1", "2", "3", "4"]).await;
        let head = heads
            .advance(&mut grown.read().await.unwrap())
            .await
            .unwrap();
        assert_eq!(head.size, 5);
        // One that went back, one that went back and on, and one of the same size.
        let heads = Heads::open(folder).unwrap().unwrap();
        let behind = heads.advance(&mut store.read().await.unwrap()).await;
        assert!(matches!(
            behind,
            Err(HeadError::Behind { signed: 5, seen: 3 })
        ));
        for (name, entries) in [
            ("c", &["0", "1", "2", "x", "y", "z"][..]),
            ("d", &["0", "1", "2", "3", "x"]),
        ] {
            let other = log(folder, name, entries).await;
            let forked = heads.advance(&mut other.read().await.unwrap()).await;
            assert!(
                matches!(forked, Err(HeadError::Forked { signed: 5 })),
                "{name}"
            );
        }
        // None of them moved it.
        let heads = Heads::open(folder).unwrap().unwrap();
        assert_eq!(
            heads
                .advance(&mut grown.read().await.unwrap())
                .await
                .unwrap(),
            head
        );
        fs::write(folder.join("head"), "00").unwrap();
        assert!(matches!(Heads::open(folder), Err(HeadError::Malformed(_))));
    }
}
