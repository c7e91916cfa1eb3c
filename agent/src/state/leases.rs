//! What this host was given keys for: one lease for each key, layer and manifest, the last one. Whoever removes from a
//! host what it decrypted starts here; there is no secret in it.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::Lease;

use super::{Error, Records, Result};
use crate::private_file;

const FOLDER: &str = "leases";
const EXTENSION: &str = "json";

/// Keeps a lease in the state folder `state`, in place of an earlier one of the same. One writer at a time.
pub(crate) fn keep_lease(state: &Path, lease: &Lease) -> Result<()> {
    let folder = state.join(FOLDER);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::Folder {
                path: folder,
                source,
            });
        }
        _ => {}
    }
    let path = folder.join(name(lease));
    let bytes = serde_json::to_vec_pretty(lease).map_err(|source| Error::Damaged {
        path: path.clone(),
        source,
    })?;
    Ok(private_file::replace(&path, &bytes)?)
}

/// The same for a lease of the same key, layer and manifest.
fn name(lease: &Lease) -> String {
    let manifest = lease.manifest.map(|manifest| manifest.to_string());
    let of = [
        lease.key.as_str(),
        &lease.layer.to_string(),
        &manifest.unwrap_or_default(),
    ];
    // No part has a line break in it.
    format!("{}.{EXTENSION}", Sha256Digest::of(of.join("\n").as_bytes()))
}

impl Records {
    /// The leases that were opened, in no order; most of them are over, and what they opened may still lie here.
    ///
    /// # Errors
    /// As [`Records::identity`].
    pub fn leases(&self) -> Result<Vec<Lease>> {
        let folder = self.dir.join(FOLDER);
        let unusable = |source| Error::Folder {
            path: folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unusable(error)),
        };
        let mut leases = Vec::new();
        for entry in entries {
            let path = Path::new(FOLDER).join(entry.map_err(unusable)?.file_name());
            let record = path.extension().is_some_and(|found| found == EXTENSION);
            if let Some(name) = path.to_str().filter(|_| record) {
                leases.extend(self.read::<Lease>(name)?);
            }
        }
        Ok(leases)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_evidence::oci_digest::OciDigest;

    use super::*;

    fn lease(layer: u8, expires_at: i64) -> Lease {
        Lease {
            host: "de-1".parse().unwrap(),
            reset_count: 1,
            restart_count: 0,
            key: "payments".parse().unwrap(),
            key_version: 1,
            layer: OciDigest(Sha256Digest([layer; 32])),
            policy: "payments-eu".parse().unwrap(),
            manifest: None,
            issued_at: 1,
            expires_at,
            clock_end: 9,
            entry: Sha256Digest([3; 32]),
        }
    }

    #[test]
    fn the_last_lease_of_each_layer_is_kept() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::at(state.path());
        assert_eq!(records.leases().unwrap(), []);
        for kept in [lease(1, 100), lease(2, 100), lease(1, 200)] {
            keep_lease(state.path(), &kept).unwrap();
        }
        // A crash may leave one.
        fs::write(state.path().join("leases/x.new"), "{").unwrap();
        let mut leases = records.leases().unwrap();
        leases.sort_by_key(|lease| lease.layer);
        assert_eq!(leases, [lease(1, 200), lease(2, 100)]);
    }

    #[test]
    fn a_lease_that_cannot_be_kept_is_an_error() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FOLDER), "").unwrap();
        keep_lease(state.path(), &lease(1, 1)).unwrap_err();
    }
}
