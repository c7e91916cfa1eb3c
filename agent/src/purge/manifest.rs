//! Which images are ours to purge: those with a layer whose manifest has the annotation of Touchstone's key provider.
//!
//! It goes by the annotation's name alone, whether or not what stands there reads: a purge must miss nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use touchstone_evidence::oci_digest::OciDigest;

/// Largest manifest or configuration that is read, bytes: registries take no larger ones.
pub(super) const DOCUMENT_MAX: usize = 4 << 20;
/// Where ocicrypt puts what the key provider wrote.
const ANNOTATION: &str = "org.opencontainers.image.enc.keys.provider.touchstone";

/// What a document of an image's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// The manifest of an image with layers that our provider wraps.
    Ours(Layers),
    /// Manifests of several platforms.
    Index(Vec<OciDigest>),
    /// Anything else.
    Other,
}

/// Where in an image what was encrypted begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layers {
    pub(super) config: Option<OciDigest>,
    /// How many layers there are.
    pub(super) count: usize,
    /// The lowest that is wrapped; those below it are in clear everywhere.
    pub(super) first: usize,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    manifests: Vec<Target>,
    config: Option<Target>,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Target {
    digest: OciDigest,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(default)]
    annotations: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<OciDigest>,
}

impl Document {
    pub(super) fn read(json: &[u8]) -> Self {
        let Ok(written) = serde_json::from_slice::<Written>(json) else {
            return Self::Other;
        };
        let wrapped = |layer: &Layer| {
            let annotations = layer.annotations.as_ref();
            annotations.is_some_and(|annotations| annotations.contains_key(ANNOTATION))
        };
        match written.layers.iter().position(wrapped) {
            Some(first) => Self::Ours(Layers {
                config: written.config.map(|config| config.digest),
                count: written.layers.len(),
                first,
            }),
            None if written.manifests.is_empty() => Self::Other,
            None => Self::Index(written.manifests.iter().map(|one| one.digest).collect()),
        }
    }
}

impl Layers {
    /// What containerd calls the snapshots that hold what was encrypted: the chain ids (OCI image-spec, "Layer
    /// ChainID") from the first such layer on. `None`: the configuration does not read.
    pub(super) fn chain_ids(&self, config: &[u8]) -> Option<Vec<OciDigest>> {
        let config: Config = serde_json::from_slice(config).ok()?;
        let mut chain: Option<OciDigest> = None;
        let ids = config.rootfs.diff_ids.into_iter().map(|layer| {
            let id = match chain {
                None => layer,
                Some(below) => digest(format!("{below} {layer}").as_bytes()),
            };
            chain = Some(id);
            id
        });
        Some(ids.skip(self.first).collect())
    }
}

/// SHA-256, as image tools write it.
pub(super) fn digest(bytes: &[u8]) -> OciDigest {
    OciDigest(touchstone_evidence::digest::Sha256Digest(
        Sha256::digest(bytes).into(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: &serde_json::Value) -> Document {
        Document::read(json.to_string().as_bytes())
    }

    #[test]
    fn ours_are_found_by_the_name_of_the_annotation() {
        let config = digest(b"config");
        let plain = json!({ "digest": digest(b"1") });
        let mut image = json!({ "config": { "digest": config }, "layers": [plain, plain] });
        assert_eq!(read(&image), Document::Other);
        image["layers"][1]["annotations"] = json!({ ANNOTATION: 7, "other": "x" });
        let ours = Layers {
            config: Some(config),
            count: 2,
            first: 1,
        };
        assert_eq!(read(&image), Document::Ours(ours));
        let jwe = json!({ "org.opencontainers.image.enc.keys.jwe": "x" });
        image["layers"][1]["annotations"] = jwe;
        assert_eq!(read(&image), Document::Other);
        let index = json!({ "manifests": [{ "digest": config }] });
        assert_eq!(read(&index), Document::Index(vec![config]));
        assert_eq!(read(&json!({ "rootfs": {} })), Document::Other);
        assert_eq!(Document::read(b"\x1f\x8b"), Document::Other);
    }

    #[test]
    fn chains_begin_where_encryption_does() {
        let [a, b] = [digest(b"a"), digest(b"b")];
        let config = json!({ "rootfs": { "type": "layers", "diff_ids": [a, b] } }).to_string();
        let layers = |first| Layers {
            config: None,
            count: 2,
            first,
        };
        let both = digest(format!("{a} {b}").as_bytes());
        let chain = |first| layers(first).chain_ids(config.as_bytes());
        assert_eq!(chain(0), Some(vec![a, both]));
        assert_eq!(chain(1), Some(vec![both]));
        assert_eq!(layers(0).chain_ids(b"{}"), None);
    }
}
