//! The secret in the webhook's path: which ones are let in, their exchange, and the end of the one before.
//!
//! Known here by their hashes; the secrets themselves are files of the data folder, and the current one is in the
//! operator's file.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use touchstone_evidence::digest::Sha256Digest;
use zeroize::Zeroizing;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::keys::{self, KeyError};
use crate::operator_file::{self, OperatorFileError};
use crate::store::StoreError;

/// The file of the secret that the webhook's URL has.
const CURRENT: &str = "webhook.key";
/// The file of the one before, while it is let in.
const BEFORE: &str = "webhook.key.before";
/// The file of one that is about to take its place.
const NEXT: &str = "webhook.key.next";

/// Why the secret was not exchanged or revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookSecretError {
    #[error(
        "the webhook's secret before this one is still let in; give API servers the current URL, then run \
         `touchstone keys revoke webhook`"
    )]
    NotRevoked,
    #[error(
        "only the current secret of the webhook is let in; put another in its place with `touchstone keys rotate \
         webhook`"
    )]
    NoneBefore,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    OperatorFile(#[from] OperatorFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WebhookSecretError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotRevoked => "webhook-not-revoked",
            Self::NoneBefore => "webhook-none-before",
            Self::Key(_) | Self::OperatorFile(_) | Self::Store(_) => "internal",
        }
    }
}

/// Hashes of what is let in.
#[derive(Clone, Copy)]
struct LetIn {
    current: Sha256Digest,
    before: Option<Sha256Digest>,
}

/// The secrets that are let in.
pub(crate) struct WebhookSecrets {
    folder: PathBuf,
    let_in: RwLock<LetIn>,
    /// One exchange at a time.
    exchange: Mutex<()>,
}

impl WebhookSecrets {
    /// Reads the secrets, or makes the first one. What an exchange left that was cut off is removed: nobody heard
    /// of it.
    pub(crate) fn load(folder: &Path) -> Result<Self, KeyError> {
        let current = hash(&path_segment(folder)?);
        let (before, next) = (folder.join(BEFORE), folder.join(NEXT));
        if next.exists() {
            keys::remove(&next)?;
        }
        let mut held = None;
        if before.exists() {
            held = Some(hash(&in_path(&before)?)).filter(|held| *held != current);
            if held.is_none() {
                keys::remove(&before)?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            let_in: RwLock::new(LetIn {
                current,
                before: held,
            }),
            exchange: Mutex::new(()),
        })
    }

    /// Whether `segment`, which stands in a path, is one of the secrets. It takes as long whatever it is like.
    pub(crate) fn lets_in(&self, segment: &str) -> bool {
        let hash = hash(segment);
        let LetIn { current, before } = self.let_in();
        let before = before.unwrap_or(current);
        bool::from(hash.0.ct_eq(&current.0) | hash.0.ct_eq(&before.0))
    }

    /// How many are let in: two between an exchange and the end of the one before.
    pub(crate) fn count(&self) -> u8 {
        1 + u8::from(self.let_in().before.is_some())
    }

    fn let_in(&self) -> LetIn {
        *self.let_in.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_in_now(&self, let_in: LetIn) {
        *self.let_in.write().unwrap_or_else(PoisonError::into_inner) = let_in;
    }
}

/// Makes a new secret for the webhook's URL, beside which the one before is let in. The log says it first: an
/// exchange that is cut off after that is one that did not take place, and its caller had no answer.
pub(crate) async fn rotate(attestor: &Attestor, actor: &Actor) -> Result<(), WebhookSecretError> {
    let secrets = &attestor.keys.webhook;
    let _alone = secrets.exchange.lock().await;
    let LetIn { current, before } = secrets.let_in();
    if before.is_some() {
        return Err(WebhookSecretError::NotRevoked);
    }
    let (next, file) = (secrets.folder.join(NEXT), secrets.folder.join(CURRENT));
    let made = block_in_place(|| {
        if next.exists() {
            keys::remove(&next)?;
        }
        let old = Zeroizing::new(keys::read_private(&file)?);
        keys::write_private(&secrets.folder.join(BEFORE), old.as_bytes())?;
        Ok::<_, KeyError>(hash(&in_path(&next)?))
    })?;
    let event = Event::WebhookRotated { cluster: None };
    audit::append_alone(&attestor.store, &event, actor, clock::now()).await?;
    block_in_place(|| keys::rename(&next, &file))?;
    secrets.let_in_now(LetIn {
        current: made,
        before: Some(current),
    });
    Ok(block_in_place(|| operator_file::update(&attestor.keys))?)
}

/// Lets in the current secret alone.
pub(crate) async fn revoke(attestor: &Attestor, actor: &Actor) -> Result<(), WebhookSecretError> {
    let secrets = &attestor.keys.webhook;
    let _alone = secrets.exchange.lock().await;
    let before = secrets.folder.join(BEFORE);
    let LetIn { current, .. } = secrets.let_in();
    // By the file too: one that could not be removed before would come back with the next start.
    if secrets.count() == 1 && !before.exists() {
        return Err(WebhookSecretError::NoneBefore);
    }
    audit::append_alone(&attestor.store, &Event::WebhookRevoked, actor, clock::now()).await?;
    secrets.let_in_now(LetIn {
        current,
        before: None,
    });
    match before.exists() {
        true => Ok(block_in_place(|| keys::remove(&before))?),
        false => Ok(()),
    }
}

/// The secret part of the webhook's path, as text.
pub(crate) fn path_segment(folder: &Path) -> Result<Zeroizing<String>, KeyError> {
    in_path(&folder.join(CURRENT))
}

fn in_path(file: &Path) -> Result<Zeroizing<String>, KeyError> {
    Ok(Zeroizing::new(hex::encode(&keys::secret(file)?[..])))
}

fn hash(segment: &str) -> Sha256Digest {
    Sha256Digest::of(segment.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn an_exchange_that_was_cut_off_leaves_the_secret_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let first = path_segment(folder.path()).unwrap();
        let old = keys::read_private(&folder.path().join(CURRENT)).unwrap();
        keys::write_private(&folder.path().join(BEFORE), old.as_bytes()).unwrap();
        let never = in_path(&folder.path().join(NEXT)).unwrap();
        let secrets = WebhookSecrets::load(folder.path()).unwrap();
        assert!(secrets.lets_in(&first) && !secrets.lets_in(&never));
        assert_eq!(secrets.count(), 1);
        assert!(!folder.path().join(BEFORE).exists() && !folder.path().join(NEXT).exists());
    }

    #[test]
    fn both_secrets_are_let_in_also_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = path_segment(folder.path()).unwrap();
        let before = in_path(&folder.path().join(BEFORE)).unwrap();
        let secrets = WebhookSecrets::load(folder.path()).unwrap();
        assert!(secrets.lets_in(&first) && secrets.lets_in(&before));
        assert!(!secrets.lets_in("") && secrets.count() == 2);
    }
}
