//! The attestor's own keys, each in a file of mode 0600, each for one purpose: results, the CA of its TLS
//! certificate, the webhook's secret path. The key of the audit log is in `log_key`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use touchstone_evidence::digest::Sha256Digest;
use zeroize::Zeroizing;

use crate::duty::Duty;
use crate::layer_keys::MasterKey;
use crate::random::{self, NoRandomness};
use crate::result_keys::ResultKeys;
use crate::server_ca::ServerCa;
use crate::store::StoreError;
use crate::webhook_secret::WebhookSecrets;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file cannot be read or written.
    #[error("`{path}` cannot be read or written")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner can read it.
    #[error(
        "`{0}` can be read by others; run `chmod 600` on it, and make a new key if it was exposed"
    )]
    Readable(PathBuf),
    /// It does not hold a key.
    #[error("`{0}` does not hold a key as this software writes it")]
    Malformed(PathBuf),
    /// It is gone, although there is a log that was begun with it.
    #[error("`{0}` is missing, and the database was used with it; restore it from the backup")]
    Missing(PathBuf),
    /// No randomness for a new key.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// The keys of a running attestor, but for that of the audit log.
pub(crate) struct ServerKeys {
    /// Where their files are.
    pub(crate) folder: PathBuf,
    pub(crate) result: Arc<ResultKeys>,
    pub(crate) webhook: WebhookSecrets,
    /// TLS keys (SHA-256 of SubjectPublicKeyInfo) that may call the webhook.
    pub(crate) webhook_callers: Vec<Sha256Digest>,
    /// Issues the TLS certificate; join tokens carry its own.
    pub(crate) ca: ServerCa,
    /// What keys of encrypted layers are encrypted under.
    pub(crate) master: MasterKey,
    /// Where agents reach the attestor.
    pub(crate) server_url: String,
    /// Held while the operator's file is written.
    pub(crate) file: Mutex<()>,
}

impl ServerKeys {
    /// Loads the signing keys out of `folder`. What is not there is made for a database that is new, and
    /// for no other: results must not change their key unseen. A cluster apart has a webhook secret of its own.
    pub(crate) fn load(
        folder: &Path,
        new_database: bool,
        duty: Duty,
        ca: ServerCa,
        server_url: String,
        webhook_callers: Vec<Sha256Digest>,
        master: MasterKey,
    ) -> Result<Self, KeyError> {
        for name in ["result.key", "webhook.key"] {
            let path = folder.join(name);
            let is_its_own = duty == Duty::Cluster && name == "webhook.key";
            if !new_database && !is_its_own && !path.exists() {
                return Err(KeyError::Missing(path));
            }
        }
        let result = Arc::new(ResultKeys::load(folder)?);
        Ok(Self {
            folder: folder.to_owned(),
            result,
            webhook: WebhookSecrets::load(folder)?,
            webhook_callers,
            ca,
            master,
            server_url,
            file: Mutex::new(()),
        })
    }
}

/// 32 secret bytes, as hexadecimal digits in a file of mode 0600; made when the file is not there.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    if !path.exists() {
        let fresh = Zeroizing::new(random::bytes::<32>()?);
        write_private(path, hex::encode(&fresh[..]).as_bytes())?;
    }
    let text = Zeroizing::new(read_private(path)?);
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut bytes[..])
        .map_err(|_| KeyError::Malformed(path.to_owned()))?;
    Ok(bytes)
}

/// Reads a file that nobody but its owner may read, and that holds text.
pub(crate) fn read_private(path: &Path) -> Result<String, KeyError> {
    let bytes = read_private_bytes(path)?;
    let text = str::from_utf8(&bytes).map_err(|_| KeyError::Malformed(path.to_owned()))?;
    Ok(text.to_owned())
}

/// Reads a file that nobody but its owner may read.
pub(crate) fn read_private_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let failed = |source| KeyError::File {
        path: path.to_owned(),
        source,
    };
    // Opened once: what is looked at is what is read.
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyError::Readable(path.to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Writes a file of mode 0600 whole or not at all: beside it first, then renamed over it.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let failed = |source| KeyError::File {
        path: path.to_owned(),
        source,
    };
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".touchstone-new");
    let unfinished = PathBuf::from(unfinished);
    let _absent = fs::remove_file(&unfinished);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    rename(&unfinished, path)
}

/// Puts one file in the place of another, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), KeyError> {
    let failed = |source| KeyError::File {
        path: to.to_owned(),
        source,
    };
    fs::rename(from, to).map_err(failed)?;
    // Until the folder is on disk, a power cut may bring the old name back.
    sync_folder_of(to).map_err(failed)
}

/// Deletes a file, durably.
pub(crate) fn remove(path: &Path) -> Result<(), KeyError> {
    let failed = |source| KeyError::File {
        path: path.to_owned(),
        source,
    };
    fs::remove_file(path).map_err(failed)?;
    sync_folder_of(path).map_err(failed)
}

/// Runs what waits for the disk on a thread that may wait.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| StoreError::Unavailable)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent();
    match folder.filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_stays_and_is_refused_once_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.key");
        let first = secret(&path).unwrap();
        assert_eq!(*first, *secret(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(secret(&path), Err(KeyError::Readable(_))));
    }

    #[test]
    fn a_broken_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.key");
        write_private(&path, b"short").unwrap();
        assert!(matches!(secret(&path), Err(KeyError::Malformed(_))));
    }
}
