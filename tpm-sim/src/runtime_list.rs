//! A simulated host's runtime measurement list: what a kernel with IMA keeps of what it measured, in a file
//! of the kernel's binary form (`ima_measurements_show` in `ima_fs.c`), and in PCR 10.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use touchstone_evidence::ima::{IMA_PCR, ImaError, ImaList};

use crate::swtpm::{self, Bank, Event, RunningTpm};

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list's file.
    #[error("`{}` cannot be written", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The TPM.
    #[error(transparent)]
    Swtpm(#[from] swtpm::Error),
    /// The bytes are no list, so that nobody can say what a kernel extended for them.
    #[error("the entries to measure are no runtime list")]
    List(#[from] ImaError),
}

/// The list of one host.
#[derive(Clone, Debug)]
pub struct RuntimeList(PathBuf);

impl RuntimeList {
    /// The list that is kept in `path`.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Begins the list of a new boot with the entries of `recorded`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn begin(&self, tpm: &RunningTpm, recorded: &[u8]) -> Result<(), Error> {
        fs::write(&self.0, b"").map_err(|source| self.failed(source))?;
        self.measure(tpm, recorded)
    }

    /// Adds entries: the kernel appends to the list before it extends PCR 10.
    ///
    /// # Errors
    /// [`Error`].
    pub fn measure(&self, tpm: &RunningTpm, entries: &[u8]) -> Result<(), Error> {
        let extends = extends(entries)?;
        self.append(entries)?;
        Ok(tpm.replay(&extends)?)
    }

    /// Appends to the file alone, as if the kernel were about to extend.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn append(&self, entries: &[u8]) -> Result<(), Error> {
        let append = || {
            File::options()
                .append(true)
                .open(&self.0)?
                .write_all(entries)
        };
        append().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::File {
            path: self.0.clone(),
            source,
        }
    }
}

/// What a kernel since 5.8 extends for `entries`.
///
/// # Errors
/// That they are no list.
pub fn extends(entries: &[u8]) -> Result<Vec<Event>, ImaError> {
    let list = ImaList::parse(entries)?;
    let extends = list.untrusted_extends();
    Ok(extends
        .map(|digest| (IMA_PCR, vec![(Bank::Sha256, digest.0.to_vec())]))
        .collect())
}

/// An entry for a file with these contents (template `ima-ng`).
#[must_use]
pub fn file(path: &str, contents: &[u8]) -> Vec<u8> {
    let digest = digest(&SHA256, contents);
    let label = [b"sha256:\0", digest.as_ref()].concat();
    record("ima-ng", &[&label, format!("{path}\0").as_bytes()])
}

/// An entry for a file that was open for writing when it was measured: a violation.
#[must_use]
pub fn violation(path: &str) -> Vec<u8> {
    let mut record = record(
        "ima-ng",
        &[
            &[&b"sha256:\0"[..], &[0; 32]].concat(),
            format!("{path}\0").as_bytes(),
        ],
    );
    record[4..24].fill(0);
    record
}

/// An entry of a template whose fields have lengths, with its template hash.
#[must_use]
pub fn record(template: &str, fields: &[&[u8]]) -> Vec<u8> {
    let data: Vec<u8> = fields.iter().flat_map(|field| sized(field)).collect();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &data);
    [
        &u32::from(IMA_PCR).to_le_bytes(),
        hash.as_ref(),
        &sized(template.as_bytes()),
        &sized(&data),
    ]
    .concat()
}

/// An entry of the template `ima`: a SHA-1 digest and a name, hashed with zeros up to 256 bytes.
#[must_use]
pub fn legacy(digest_of_file: &[u8; 20], name: &str) -> Vec<u8> {
    let mut hashed = [&digest_of_file[..], name.as_bytes()].concat();
    hashed.resize(276, 0);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &hashed);
    [
        &u32::from(IMA_PCR).to_le_bytes(),
        hash.as_ref(),
        &sized(b"ima"),
        digest_of_file,
        &sized(name.as_bytes()),
    ]
    .concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), bytes].concat()
}
