//! The whole log as JSON Lines: header, entries with the handovers between them, checkpoint.
//!
//! All of it is of the moment in which it was begun: the head was signed then, and what is under a signed head never
//! changes. So it is read in parts as they are asked for, each by itself: memory holds a part and not the log, and no
//! transaction waits for a slow reader.

use std::iter::Peekable;
use std::mem;
use std::vec;

use touchstone_evidence::transparency::{checkpoint_line, entry_line, handover_line, header_line};

use crate::heads::Heads;
use crate::log_key::{LogKey, LogKeyError};
use crate::store::{KeyExchange, Store, StoreError};

/// An export that is under way.
pub(crate) struct Export {
    store: Store,
    /// Entries under the signed head.
    size: u64,
    /// Index of the next one.
    next: u64,
    exchanges: Peekable<vec::IntoIter<KeyExchange>>,
    /// What stands before the next entry and is not read yet.
    lines: String,
    /// The last line, until it is read.
    checkpoint: Option<String>,
}

impl Export {
    /// Signs the head of the log as it stands.
    pub(crate) async fn begin(
        store: &Store,
        heads: &Heads,
        key: &LogKey,
    ) -> Result<Self, LogKeyError> {
        let (mut tx, signer) = key.open(store, heads).await?;
        let head = heads.advance(&mut tx).await?;
        let exchanges = tx.key_exchanges().await?;
        let mut export = Self {
            store: store.clone(),
            size: head.size,
            next: 0,
            exchanges: exchanges.into_iter().peekable(),
            lines: String::new(),
            checkpoint: Some(checkpoint_line(&signer.sign(&head))),
        };
        export.line(&header_line(signer.verifier_key()));
        Ok(export)
    }

    /// The next lines, whole ones; `None` behind the checkpoint.
    pub(crate) async fn part(&mut self) -> Result<Option<String>, StoreError> {
        if self.next < self.size {
            self.page().await?;
        }
        if self.next == self.size
            && let Some(checkpoint) = self.checkpoint.take()
        {
            self.line(&checkpoint);
        }
        let part = mem::take(&mut self.lines);
        Ok((!part.is_empty()).then_some(part))
    }

    async fn page(&mut self) -> Result<(), StoreError> {
        let page = self.store.read().await?.entries(self.next).await?;
        if page.is_empty() {
            return Err(StoreError::Malformed("audit log: entries are missing"));
        }
        // The log may have grown beyond the head since.
        for (index, body) in (self.next..self.size).zip(page) {
            let body = String::from_utf8(body).map_err(|_| StoreError::Malformed("audit entry"))?;
            self.line(&entry_line(index, &body));
            if let Some(exchange) = self.exchanges.next_if(|exchange| exchange.entry == index) {
                let note = exchange.note.ok_or(StoreError::Malformed("handover"))?;
                self.line(&handover_line(&note));
            }
            self.next = index.saturating_add(1);
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        self.lines.push_str(line);
        self.lines.push('\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::ops::Range;
    use std::path::Path;

    use touchstone_evidence::transparency::{ExportTrust, verify_export};

    use super::*;
    use crate::store::PAGE;

    async fn append(store: &Store, numbers: Range<usize>) {
        let mut tx = store.write().await.unwrap();
        for number in numbers {
            let entry = format!("{{\"number\":{number}}}");
            tx.append(entry.as_bytes()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn begun(folder: &Path, entries: usize) -> (Store, Export) {
        let url = format!("sqlite:{}", folder.join("log").display());
        let store = Store::open(&url).await.unwrap();
        append(&store, 0..entries).await;
        let (heads, key) = (Heads::begin(folder), LogKey::begin(folder).unwrap());
        let export = Export::begin(&store, &heads, &key).await.unwrap();
        (store, export)
    }

    #[tokio::test]
    async fn a_log_comes_in_parts_of_a_page_as_it_was_when_it_was_begun() {
        let page = usize::try_from(PAGE).unwrap();
        for entries in [0, 1, page, page + 1, 2 * page + 7] {
            let folder = tempfile::tempdir().unwrap();
            let (store, mut export) = begun(folder.path(), entries).await;
            // What is committed later is not under the head.
            append(&store, entries..entries + 9).await;
            let mut whole = String::new();
            while let Some(part) = export.part().await.unwrap() {
                assert!(part.ends_with('\n') && part.lines().count() <= page + 2);
                whole.push_str(&part);
            }
            assert_eq!(whole.lines().count(), entries + 2);
            let verified = verify_export(whole.as_bytes(), ExportTrust::KeyInFile, &[]).unwrap();
            assert_eq!(verified.head().size, u64::try_from(entries).unwrap());
        }
    }

    #[tokio::test]
    async fn a_log_that_lacks_entries_is_not_exported() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, mut export) = begun(folder.path(), 2).await;
        export.size = 3;
        export.part().await.unwrap();
        assert!(matches!(export.part().await, Err(StoreError::Malformed(_))));
    }
}
