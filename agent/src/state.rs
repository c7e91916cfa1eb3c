//! The state folder: identity, keys not yet enrolled, next challenge and last outcome.
//!
//! Each is one JSON file of mode 0600. [`State`] holds the folder's lock and may write, [`Records`] reads.

mod leases;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::wire::{Challenge, RevokedLease};
use zeroize::Zeroizing;

use crate::identity::{Identity, Keys};
use crate::private_file;

pub(crate) use leases::keep_lease;

const IDENTITY: &str = "identity.json";
const DRAFT: &str = "draft.json";
const CHALLENGE: &str = "challenge.json";
const OUTCOME: &str = "outcome.json";
const LOCK: &str = "lock";

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is not there and cannot be made, or cannot be entered.
    #[error(
        "cannot use the state folder `{path}`; name another with `--state`, or run as a user who may write there"
    )]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// Others may enter the folder.
    #[error(
        "others may use the state folder `{path}` (mode {mode:04o}), which holds keys; look who could have written there, then `chmod 700` it"
    )]
    Exposed {
        /// Which folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },

    /// Another agent is at work.
    #[error(
        "another agent works with the state folder `{0}`; stop it first, or let it do the work"
    )]
    Busy(PathBuf),

    /// One of the files.
    #[error(transparent)]
    File(#[from] private_file::Error),

    /// A file that is not what the agent wrote.
    #[error(
        "`{path}` is damaged; restore it from a backup, since the attestor takes no other keys for this host"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
}

type Result<T> = std::result::Result<T, Error>;

/// What came of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The host, as enrolled.
    pub host: HostId,
    /// Seconds since 1970, by this host's clock.
    pub at: i64,
    /// The attestor's verdict.
    pub tier: TrustTier,
    /// Why it is not better.
    pub findings: Vec<Finding>,
    /// Leaf hash of the audit entry.
    pub entry: Sha256Digest,
    /// The signed result, compact JWS.
    pub result: String,
    /// Leases of this host that are revoked. Not kept: the attestor tells of them until they are purged.
    #[serde(skip)]
    pub revoked: Vec<RevokedLease>,
}

/// The folder, to read from.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
}

impl Records {
    /// Names the folder; it need not be there.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Who this host is, once enrolled.
    ///
    /// # Errors
    /// [`Error::File`] if others can read it, [`Error::Damaged`] if it is not what was written.
    pub fn identity(&self) -> Result<Option<Identity>> {
        self.read(IDENTITY)
    }

    /// Keys of an enrolment that has begun.
    ///
    /// # Errors
    /// As [`Records::identity`].
    pub fn draft(&self) -> Result<Option<Keys>> {
        self.read(DRAFT)
    }

    /// The challenge for the next round.
    ///
    /// # Errors
    /// As [`Records::identity`].
    pub fn challenge(&self) -> Result<Option<Challenge>> {
        self.read(CHALLENGE)
    }

    /// What the last round brought.
    ///
    /// # Errors
    /// As [`Records::identity`].
    pub fn outcome(&self) -> Result<Option<Outcome>> {
        self.read(OUTCOME)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.dir.join(name);
        let Some(bytes) = private_file::read(&path)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| Error::Damaged { path, source })
    }
}

/// Sees that nobody else may enter the folder.
pub(crate) fn closed_to_others(dir: &Path) -> Result<()> {
    let metadata = fs::metadata(dir).map_err(|source| Error::Folder {
        path: dir.to_owned(),
        source,
    })?;
    match private_file::others_may(&metadata) {
        Some(mode) => Err(Error::Exposed {
            path: dir.to_owned(),
            mode,
        }),
        None => Ok(()),
    }
}

/// The folder, locked against other agents until this is dropped.
#[derive(Debug)]
pub struct State {
    records: Records,
    _lock: File,
}

impl State {
    /// Makes the folder where it is missing, and locks it.
    ///
    /// # Errors
    /// [`Error::Busy`] while another agent has it, [`Error::Exposed`] if others may enter it, [`Error::File`]
    /// if they can read a file in it.
    pub fn open(dir: &Path) -> Result<Self> {
        let unusable = |source| Error::Folder {
            path: dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(unusable)?;
        closed_to_others(dir)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK))
            .map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Busy(dir.to_owned()),
            TryLockError::Error(source) => unusable(source),
        })?;
        for name in [IDENTITY, DRAFT, CHALLENGE, OUTCOME] {
            private_file::read(&dir.join(name))?;
        }
        Ok(Self {
            records: Records::at(dir),
            _lock: lock,
        })
    }

    /// What is in it.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Keeps the keys of an enrolment that begins.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn keep_draft(&self, keys: &Keys) -> Result<()> {
        self.write(DRAFT, keys)
    }

    /// Forgets them.
    ///
    /// # Errors
    /// [`Error::File`] if the file stays.
    pub fn drop_draft(&self) -> Result<()> {
        Ok(private_file::remove(&self.records.dir.join(DRAFT))?)
    }

    /// Keeps a completed enrolment in one step, then tidies up what was before it.
    ///
    /// # Errors
    /// [`Error::File`]; a repeated enrolment ends in the same state.
    pub fn keep_identity(&self, identity: &Identity, challenge: &Challenge) -> Result<()> {
        self.write(IDENTITY, identity)?;
        self.drop_draft()?;
        private_file::remove(&self.records.dir.join(OUTCOME))?;
        self.keep_challenge(challenge)
    }

    /// Keeps what changed about an enrolled host, and nothing else.
    ///
    /// # Errors
    /// [`Error::File`]; the old identity is kept then.
    pub fn replace_identity(&self, identity: &Identity) -> Result<()> {
        self.write(IDENTITY, identity)
    }

    /// Keeps the challenge for the next round.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn keep_challenge(&self, challenge: &Challenge) -> Result<()> {
        self.write(CHALLENGE, challenge)
    }

    /// Keeps what a round brought.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn keep_outcome(&self, outcome: &Outcome) -> Result<()> {
        self.write(OUTCOME, outcome)
    }

    fn write(&self, name: &str, record: &impl Serialize) -> Result<()> {
        let path = self.records.dir.join(name);
        let bytes = serde_json::to_vec_pretty(record).map_err(|source| Error::Damaged {
            path: path.clone(),
            source,
        })?;
        Ok(private_file::replace(&path, &Zeroizing::new(bytes))?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use crate::tls::TlsKey;
    use crate::tpm::AkBlob;
    use std::os::unix::fs::PermissionsExt as _;
    use touchstone_evidence::pcr::PcrSelection;

    /// A folder as the agent makes it, and what removes it.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        (dir, folder)
    }

    fn keys() -> Keys {
        let ak = AkBlob {
            public: vec![1, 2],
            private: vec![3, 4],
            ek: crate::tpm::EkReference::default(),
        };
        Keys::new(TlsKey::generate().unwrap(), ak)
    }

    fn identity() -> Identity {
        Identity {
            host: "de-1".parse().unwrap(),
            server: "https://attestor:8443".to_owned(),
            ca: "pem".to_owned(),
            keys: keys(),
        }
    }

    fn challenge() -> Challenge {
        Challenge {
            nonce: vec![7; 32].into(),
            pcrs: PcrSelection::DEFAULT,
            expires_at: 1,
            known_boot_log: None,
            runtime: None,
            location_tag: None,
        }
    }

    #[test]
    fn an_enrolment_outlives_the_agent_and_ends_its_draft() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let state = State::open(&folder).unwrap();
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(state.records().identity().unwrap().is_none());
        state.keep_draft(&keys()).unwrap();
        let enrolled = identity();
        state.keep_identity(&enrolled, &challenge()).unwrap();
        drop(state);

        let state = State::open(&folder).unwrap();
        let records = state.records();
        let back = records.identity().unwrap().unwrap();
        assert_eq!(
            (back.host.as_str(), back.keys.ak()),
            ("de-1", enrolled.keys.ak())
        );
        assert_eq!(records.challenge().unwrap(), Some(challenge()));
        assert!(records.draft().unwrap().is_none());
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{file:?}");
        }
    }

    #[test]
    fn one_agent_at_a_time() {
        let (_dir, folder) = folder();
        let state = State::open(&folder).unwrap();
        assert!(matches!(State::open(&folder), Err(Error::Busy(_))));
        drop(state);
        State::open(&folder).unwrap();
    }

    #[test]
    fn it_does_not_start_with_keys_that_others_can_read() {
        let (_dir, folder) = folder();
        let state = State::open(&folder).unwrap();
        state.keep_identity(&identity(), &challenge()).unwrap();
        drop(state);
        let file = folder.join(IDENTITY);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = State::open(&folder).unwrap_err().to_string();
        assert!(
            error.contains("mode 0644") && error.contains("chmod 600"),
            "{error}"
        );
    }

    #[test]
    fn it_does_not_start_in_a_folder_that_others_may_enter() {
        let (_dir, folder) = folder();
        drop(State::open(&folder).unwrap());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o710)).unwrap();
        let error = State::open(&folder).unwrap_err().to_string();
        assert!(
            error.contains("mode 0710") && error.contains("chmod 700"),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_file_is_named() {
        let (_dir, folder) = folder();
        let state = State::open(&folder).unwrap();
        private_file::replace(&folder.join(IDENTITY), b"{").unwrap();
        let error = state.records().identity().unwrap_err();
        assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with(IDENTITY)));
    }
}
