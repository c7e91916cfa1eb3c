//! The files of the current CA and of the next one. Whatever is cut off, one pair that belongs together is in force.
//!
//! A next certificate is written after its key, and takes its place after it: alone it is one whose key is in force.

use std::path::Path;

use crate::keys::{self, KeyError, write_private};
use crate::tls::{Authority, TlsError};

const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";
const NEXT_KEY: &str = "ca.key.next";
const NEXT_CERTIFICATE: &str = "ca.pem.next";

/// Ends what was cut off: an announcement that nobody heard of, or half an exchange.
pub(super) fn recover(folder: &Path) -> Result<(), KeyError> {
    let (key, certificate) = (folder.join(NEXT_KEY), folder.join(NEXT_CERTIFICATE));
    match (key.exists(), certificate.exists()) {
        (true, false) => keys::remove(&key),
        (false, true) => keys::rename(&certificate, &folder.join(CERTIFICATE)),
        _ => Ok(()),
    }
}

/// The CA in force. One that is missing is made for a database that is new, and for no other: agents believe it alone.
pub(super) fn first(folder: &Path, new_database: bool) -> Result<Authority, TlsError> {
    let (key, certificate) = (folder.join(KEY), folder.join(CERTIFICATE));
    match (key.exists(), new_database) {
        (true, _) => {}
        (false, true) => write(&key, &certificate, &Authority::make()?)?,
        (false, false) => return Err(KeyError::Missing(key).into()),
    }
    current(folder)
}

/// The CA in force.
pub(super) fn current(folder: &Path) -> Result<Authority, TlsError> {
    Authority::read(&folder.join(KEY), &folder.join(CERTIFICATE))
}

/// The CA that is announced, if one is.
pub(super) fn next(folder: &Path) -> Result<Option<Authority>, TlsError> {
    let (key, certificate) = (folder.join(NEXT_KEY), folder.join(NEXT_CERTIFICATE));
    match key.exists() && certificate.exists() {
        true => Ok(Some(Authority::read(&key, &certificate)?)),
        false => Ok(None),
    }
}

pub(super) fn write_next(folder: &Path, next: &Authority) -> Result<(), TlsError> {
    write(&folder.join(NEXT_KEY), &folder.join(NEXT_CERTIFICATE), next)
}

fn write(key: &Path, certificate: &Path, authority: &Authority) -> Result<(), TlsError> {
    write_private(key, authority.key_pem().as_bytes())?;
    Ok(write_private(certificate, authority.pem().as_bytes())?)
}

pub(super) fn put_next_in_force(folder: &Path) -> Result<(), TlsError> {
    keys::rename(&folder.join(NEXT_KEY), &folder.join(KEY))?;
    Ok(keys::rename(
        &folder.join(NEXT_CERTIFICATE),
        &folder.join(CERTIFICATE),
    )?)
}
