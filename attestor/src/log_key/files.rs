//! The files of the log's key: `checkpoint.key`, and beside it the next one while the key is exchanged.
//!
//! A file holds 32 secret bytes in hexadecimal, and below them the log's name once the key was exchanged: the name is
//! that of the first key, and stays.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::transparency::CheckpointSigner;
use zeroize::Zeroizing;

use crate::keys::{self, KeyError};
use crate::kill_points::{self, Step};
use crate::random;

/// Where the keys are.
#[derive(Clone, Debug)]
pub(super) struct KeyFiles {
    folder: PathBuf,
}

impl KeyFiles {
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    fn current_path(&self) -> PathBuf {
        self.folder.join("checkpoint.key")
    }

    fn next_path(&self) -> PathBuf {
        self.folder.join("checkpoint.key.next")
    }

    /// The key that signs.
    pub(super) fn current(&self) -> Result<CheckpointSigner, KeyError> {
        let path = self.current_path();
        read(&path)?.ok_or(KeyError::Missing(path))
    }

    /// The key that is to sign, or was to when an exchange broke off.
    pub(super) fn next(&self) -> Result<Option<CheckpointSigner>, KeyError> {
        read(&self.next_path())
    }

    /// The key that signs, made if there is none: for a log that is new, and for no other.
    pub(super) fn current_or_new(&self) -> Result<CheckpointSigner, KeyError> {
        let path = self.current_path();
        if !path.exists() {
            write_new(&path, None)?;
        }
        self.current()
    }

    /// Makes the next key of the log called `name`. It is durable, and signs nothing yet.
    pub(super) fn make_next(&self, name: &str) -> Result<CheckpointSigner, KeyError> {
        let path = self.next_path();
        write_new(&path, Some(name))?;
        read(&path)?.ok_or(KeyError::Missing(path))
    }

    /// Puts the next key in the place of the one that signed so far, which is overwritten.
    pub(super) fn adopt_next(&self) -> Result<(), KeyError> {
        let (path, next) = (self.current_path(), self.next_path());
        overwrite(&path).map_err(|source| failed(&path, source))?;
        kill_points::pass(Step::Overwritten);
        keys::rename(&next, &path)
    }
}

fn failed(path: &Path, source: io::Error) -> KeyError {
    KeyError::File {
        path: path.to_owned(),
        source,
    }
}

fn write_new(path: &Path, name: Option<&str>) -> Result<(), KeyError> {
    let secret = Zeroizing::new(random::bytes::<32>()?);
    let mut text = Zeroizing::new(hex::encode(&secret[..]));
    if let Some(name) = name {
        // Room first: what grows leaves a copy behind.
        let mut longer = Zeroizing::new(String::with_capacity(text.len() + name.len() + 2));
        longer.push_str(&text);
        longer.push('\n');
        longer.push_str(name);
        longer.push('\n');
        text = longer;
    }
    keys::write_private(path, text.as_bytes())
}

fn read(path: &Path) -> Result<Option<CheckpointSigner>, KeyError> {
    if !path.exists() {
        return Ok(None);
    }
    let malformed = || KeyError::Malformed(path.to_owned());
    let text = Zeroizing::new(keys::read_private(path)?);
    let mut words = text.split_ascii_whitespace();
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(words.next().unwrap_or_default(), &mut secret[..])
        .map_err(|_| malformed())?;
    let key = SigningKey::from_bytes(&secret);
    // The name is the log's origin: two logs must not share one.
    let own_name = || {
        let id = Sha256Digest::of(key.verifying_key().as_bytes()).to_string();
        format!("touchstone-log-{}", id.get(..16).unwrap_or_default())
    };
    let name = words.next().map_or_else(own_name, str::to_owned);
    if words.next().is_some() {
        return Err(malformed());
    }
    let signer = CheckpointSigner::new(&name, key).map_err(|_| malformed())?;
    Ok(Some(signer))
}

/// Overwrites a secret where it stands: a file system that writes elsewhere keeps the old bytes all the same. No file
/// is no failure: somebody took it away before.
fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn the_next_key_has_the_name_of_the_first_and_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(folder.path());
        assert!(matches!(files.current(), Err(KeyError::Missing(_))));
        let first = files.current_or_new().unwrap();
        let name = first.verifier_key().name().to_owned();
        let next = files.make_next(&name).unwrap();
        assert_eq!(next.verifier_key().name(), name);
        assert_ne!(next.verifier_key(), first.verifier_key());
        // What held the first key is overwritten, whoever still has the file open.
        let old = File::open(files.current_path()).unwrap();
        let length = old.metadata().unwrap().len();
        files.adopt_next().unwrap();
        let mut held = Vec::new();
        io::Read::read_to_end(&mut &old, &mut held).unwrap();
        assert_eq!(held, vec![0; usize::try_from(length).unwrap()]);
        assert_eq!(files.current().unwrap().verifier_key(), next.verifier_key());
        assert!(files.next().unwrap().is_none());
        let mode = fs::metadata(files.current_path()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(folder.path());
        let secret = "07".repeat(32);
        for content in [
            "",
            "07",
            &"\0".repeat(64),
            &format!("{secret}\nname more"),
            &format!("{secret}\na+name"),
        ] {
            keys::write_private(&files.current_path(), content.as_bytes()).unwrap();
            let read = files.current_or_new();
            assert!(matches!(read, Err(KeyError::Malformed(_))), "{content}");
        }
        keys::write_private(&files.current_path(), secret.as_bytes()).unwrap();
        fs::set_permissions(files.current_path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(files.current(), Err(KeyError::Readable(_))));
    }
}
