//! Which images are ours to purge: those with a layer whose manifest has the annotation of Touchstone's key provider.
//!
//! Where all are to go, it goes by the annotation's name alone, whether or not what stands there reads: such a purge must
//! miss nothing. Where leases are revoked, it goes by what the annotation says of key, version and layer.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use touchstone_evidence::annotation::Annotation;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::wire::RevokedLease;

use super::Which;

/// Largest manifest or configuration that is read, bytes: registries take no larger ones.
pub(super) const DOCUMENT_MAX: usize = 4 << 20;
/// Where ocicrypt puts what the key provider wrote.
const ANNOTATION: &str = "org.opencontainers.image.enc.keys.provider.touchstone";

/// What a document of an image's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// The manifest of an image.
    Image(Layers),
    /// Manifests of several platforms.
    Index(Vec<OciDigest>),
    /// Anything else.
    Other,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layers {
    pub(super) config: Option<OciDigest>,
    /// How many there are.
    pub(super) count: usize,
    /// The lowest that our provider wraps; those below it are in clear everywhere. `None`: it wraps none.
    first: Option<usize>,
    /// What annotations that read say they take.
    leases: BTreeSet<RevokedLease>,
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
    annotations: Option<BTreeMap<String, Value>>,
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
        if written.layers.is_empty() {
            return match written.manifests.is_empty() {
                true => Self::Other,
                false => Self::Index(written.manifests.iter().map(|one| one.digest).collect()),
            };
        }
        let ours: Vec<Option<&Value>> = written.layers.iter().map(Layer::ours).collect();
        Self::Image(Layers {
            config: written.config.map(|config| config.digest),
            count: ours.len(),
            first: ours.iter().position(Option::is_some),
            leases: ours.into_iter().flatten().flat_map(leases).collect(),
        })
    }
}

impl Layer {
    fn ours(&self) -> Option<&Value> {
        self.annotations.as_ref()?.get(ANNOTATION)
    }
}

/// Several annotations stand with commas between them (ocicrypt).
fn leases(written: &Value) -> Vec<RevokedLease> {
    let one = |text: &str| {
        let annotation = Annotation::parse(&STANDARD.decode(text).ok()?).ok()?;
        let bound = annotation.untrusted_binding();
        Some(RevokedLease {
            key: bound.key.clone(),
            key_version: bound.key_version,
            layer: bound.layer,
        })
    };
    let text = written.as_str().unwrap_or_default();
    text.split(',').filter_map(one).collect()
}

impl Layers {
    /// Whether the image is to go.
    pub(super) fn is_of(&self, which: &Which) -> bool {
        match which {
            Which::All => self.first.is_some(),
            Which::Leases(revoked) => !self.leases.is_disjoint(revoked),
        }
    }

    /// How many layers are below those that our provider wraps.
    pub(super) fn below(&self) -> usize {
        self.first.unwrap_or(0)
    }

    /// What containerd calls the snapshots that hold what was encrypted: the chain ids (OCI image-spec, "Layer
    /// ChainID") from the first such layer on; of an image in clear, all. `None`: the configuration does not read.
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
        Some(ids.skip(self.below()).collect())
    }
}

/// SHA-256, as image tools write it.
pub(super) fn digest(bytes: &[u8]) -> OciDigest {
    OciDigest(touchstone_evidence::digest::Sha256Digest(
        Sha256::digest(bytes).into(),
    ))
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: &serde_json::Value) -> Document {
        Document::read(json.to_string().as_bytes())
    }

    fn lease(key: &str) -> RevokedLease {
        RevokedLease {
            key: key.parse().unwrap(),
            key_version: 1,
            layer: digest(b"layer"),
        }
    }

    fn annotation(key: &str) -> String {
        let json = json!({
            "version": 1,
            "key": key,
            "key_version": 1,
            "layer": digest(b"layer"),
            "policy": "p",
            "nonce": "AAAAAAAAAAAAAAAA",
            "ciphertext": "AAAA",
        });
        STANDARD.encode(json.to_string())
    }

    #[test]
    fn ours_are_found_by_the_name_of_the_annotation() {
        let config = digest(b"config");
        let plain = json!({ "digest": digest(b"1") });
        let mut image = json!({ "config": { "digest": config }, "layers": [plain, plain] });
        let is_ours = |image: &serde_json::Value, which: &Which| match read(image) {
            Document::Image(layers) => layers.is_of(which),
            other => panic!("{other:?}"),
        };
        assert!(!is_ours(&image, &Which::All));
        image["layers"][1]["annotations"] = json!({ ANNOTATION: 7, "other": "x" });
        let ours = Layers {
            config: Some(config),
            count: 2,
            first: Some(1),
            leases: BTreeSet::new(),
        };
        assert_eq!(read(&image), Document::Image(ours));
        assert!(is_ours(&image, &Which::All));
        let jwe = json!({ "org.opencontainers.image.enc.keys.jwe": "x" });
        image["layers"][1]["annotations"] = jwe;
        assert!(!is_ours(&image, &Which::All));
        let index = json!({ "manifests": [{ "digest": config }] });
        assert_eq!(read(&index), Document::Index(vec![config]));
        assert_eq!(read(&json!({ "rootfs": {} })), Document::Other);
        assert_eq!(Document::read(b"\x1f\x8b"), Document::Other);
    }

    #[test]
    fn of_revoked_leases_only_the_images_with_their_layers_are_ours() {
        let revoked =
            |leases: &[&str]| Which::Leases(leases.iter().map(|key| lease(key)).collect());
        let several = format!("{},bm9uZQ==,{}", annotation("a"), annotation("b"));
        let annotations = json!({ ANNOTATION: several });
        let image = json!({ "layers": [{}, { "annotations": annotations }] });
        let Document::Image(layers) = read(&image) else {
            panic!("an image");
        };
        for (keys, ours) in [
            (&["a"][..], true),
            (&["x", "b"], true),
            (&["x"], false),
            (&[], false),
        ] {
            assert_eq!(layers.is_of(&revoked(keys)), ours, "{keys:?}");
        }
        let other = RevokedLease {
            key_version: 2,
            ..lease("a")
        };
        assert!(!layers.is_of(&Which::Leases([other].into())));
    }

    #[test]
    fn chains_begin_where_encryption_does() {
        let [a, b] = [digest(b"a"), digest(b"b")];
        let config = json!({ "rootfs": { "type": "layers", "diff_ids": [a, b] } }).to_string();
        let layers = |first| Layers {
            config: None,
            count: 2,
            first: Some(first),
            leases: BTreeSet::new(),
        };
        let both = digest(format!("{a} {b}").as_bytes());
        let chain = |first| layers(first).chain_ids(config.as_bytes());
        assert_eq!(chain(0), Some(vec![a, both]));
        assert_eq!(chain(1), Some(vec![both]));
        assert_eq!(layers(0).chain_ids(b"{}"), None);
    }
}
