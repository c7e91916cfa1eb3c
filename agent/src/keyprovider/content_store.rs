//! containerd's content store: which manifest a layer's annotation stands in, for an unwrap names no image.
//!
//! What is found is the host's word. Whether such a manifest was registered is for the attestor to say.

use std::cmp::Reverse;
use std::fs::{self, DirEntry, File};
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::keyprovider::PROVIDER;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::oci_manifest::Manifest;

/// Largest blob that is looked at, bytes. Manifests of a hundred encrypted layers have a tenth of it.
const MANIFEST_MAX: u64 = 1 << 20;
/// Blobs whose names are read; a node with a thousand images has fewer.
const BLOBS_MAX: usize = 100_000;
/// Bytes that are read in all.
const READ_MAX: u64 = 64 << 20;

/// The newest manifest below `store` with `annotation` in it: what is being pulled has just been written.
pub(super) fn manifest_with(store: &Path, annotation: &[u8]) -> Option<OciDigest> {
    let blobs = fs::read_dir(store).ok()?.take(BLOBS_MAX);
    let mut blobs: Vec<Blob> = blobs
        .flatten()
        .filter_map(|entry| Blob::of(&entry))
        .collect();
    blobs.sort_by_key(|blob| Reverse(blob.written));
    let mut read = 0_u64;
    blobs
        .iter()
        .take_while(|blob| {
            read = read.saturating_add(blob.size);
            read <= READ_MAX
        })
        .find(|blob| blob.has(store, annotation))
        .map(|blob| blob.digest)
}

/// A blob that is small enough to be a manifest.
struct Blob {
    written: SystemTime,
    size: u64,
    digest: OciDigest,
}

impl Blob {
    fn of(entry: &DirEntry) -> Option<Self> {
        let digest = format!("sha256:{}", entry.file_name().to_str()?);
        let metadata = entry.metadata().ok()?;
        (metadata.is_file() && metadata.len() <= MANIFEST_MAX).then_some(())?;
        Some(Self {
            written: metadata.modified().ok()?,
            size: metadata.len(),
            digest: digest.parse().ok()?,
        })
    }

    /// Whether it is a manifest, of that digest, with `annotation` in it.
    fn has(&self, store: &Path, annotation: &[u8]) -> bool {
        let mut bytes = Vec::new();
        let file = File::open(store.join(self.digest.0.to_string()));
        let whole = file.and_then(|file| file.take(MANIFEST_MAX).read_to_end(&mut bytes));
        // Most blobs are not encrypted images' manifests, which is seen sooner than it is parsed.
        let ours = |bytes: &[u8]| {
            bytes
                .windows(PROVIDER.len())
                .any(|at| at == PROVIDER.as_bytes())
        };
        if whole.is_err() || !ours(&bytes) || Sha256Digest::of(&bytes) != self.digest.0 {
            return false;
        }
        let Ok(manifest) = Manifest::parse(&bytes) else {
            return false;
        };
        let annotations = |layer: &touchstone_evidence::oci_manifest::Layer| {
            layer
                .untrusted_annotations
                .iter()
                .any(|one| one == annotation)
        };
        manifest.layers.iter().any(annotations)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use std::time::Duration;

    use super::*;

    const ANNOTATION: &str = "org.opencontainers.image.enc.keys.provider.touchstone";

    /// Writes a manifest, `age` seconds old; its digest.
    fn keep(store: &Path, annotations: &str, config: u8, age: u64) -> OciDigest {
        let digest = |byte: u8| format!("sha256:{}", hex::encode([byte; 32]));
        let manifest = serde_json::json!({
            "config": { "digest": digest(config) },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+encrypted",
                "digest": digest(1),
                "annotations": { ANNOTATION: annotations },
            }],
        });
        write(store, manifest.to_string().as_bytes(), age)
    }

    fn write(store: &Path, bytes: &[u8], age: u64) -> OciDigest {
        let digest = Sha256Digest::of(bytes);
        let path = store.join(digest.to_string());
        fs::write(&path, bytes).unwrap();
        let written = SystemTime::now() - Duration::from_secs(age);
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(written).unwrap();
        OciDigest(digest)
    }

    #[test]
    fn the_newest_manifest_with_the_annotation_is_found() {
        let store = tempfile::tempdir().unwrap();
        let store = store.path();
        // `one` and `two`, in base64.
        let older = keep(store, "b25l,dHdv", 7, 60);
        keep(store, "dGhyZWU=", 8, 0);
        write(store, b"touchstone { not a manifest", 0);
        write(store, &vec![b'x'; (1 << 20) + 1], 0);
        fs::write(store.join("ingest"), "touchstone").unwrap();
        assert_eq!(manifest_with(store, b"two"), Some(older));
        let newer = keep(store, "b25l", 9, 10);
        assert_eq!(manifest_with(store, b"one"), Some(newer));
        assert_eq!(manifest_with(store, b"four"), None);
        assert_eq!(manifest_with(&store.join("nowhere"), b"one"), None);
    }

    #[test]
    fn a_blob_that_is_not_of_its_name_is_none() {
        let store = tempfile::tempdir().unwrap();
        let digest = keep(store.path(), "b25l", 7, 0);
        let path = store.path().join(digest.0.to_string());
        let mut bytes = fs::read(&path).unwrap();
        bytes.push(b'\n');
        fs::write(&path, bytes).unwrap();
        assert_eq!(manifest_with(store.path(), b"one"), None);
    }
}
