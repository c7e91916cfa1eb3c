//! Which images are ours to purge: those with an encrypted layer that has the annotation of Touchstone's key provider.
//!
//! Where all are to go, it goes by the annotation's name alone, whether or not what stands there reads: such a purge must
//! miss nothing. Where leases are revoked, it goes by what the annotation says of key, version and layer.

use std::collections::BTreeSet;

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
/// How the media type of each encrypted layer ends (ocicrypt); runtimes decrypt no other.
const ENCRYPTED: &str = "+encrypted";

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
    /// From the lowest up: what annotations that read say it takes to open each. `None`: our provider does not wrap it.
    wrapped: Vec<Option<BTreeSet<RevokedLease>>>,
}

/// What holds the layers of an image in clear, from the lowest layer up that our provider wraps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clear<T> {
    /// Below the lowest layer that is to go: an image that stays may have them too.
    pub(super) shared: Vec<T>,
    /// What a layer decrypted to that is to go, and what is upon it: left, whoever else claims it.
    pub(super) decrypted: Vec<T>,
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
    /// What does not read in it is passed over: an image goes by its layers, whatever else it says.
    pub(super) fn read(json: &[u8]) -> Self {
        let Ok(written) = serde_json::from_slice::<Value>(json) else {
            return Self::Other;
        };
        let list = |name| written.get(name).and_then(Value::as_array).into_iter();
        let wrapped: Vec<_> = list("layers")
            .flatten()
            .map(|layer| Some(leases(ours(layer)?)))
            .collect();
        if !wrapped.is_empty() {
            let config = written.get("config").and_then(target);
            return Self::Image(Layers { config, wrapped });
        }
        let manifests: Vec<_> = list("manifests").flatten().filter_map(target).collect();
        match manifests.is_empty() {
            true => Self::Other,
            false => Self::Index(manifests),
        }
    }
}

fn target(descriptor: &Value) -> Option<OciDigest> {
    descriptor.get("digest")?.as_str()?.parse().ok()
}

/// What our provider wrote of a layer. A layer in clear is not decrypted, whatever annotation it has.
fn ours(layer: &Value) -> Option<&Value> {
    let kind = layer.get("mediaType")?.as_str()?;
    let written = layer.get("annotations")?.get(ANNOTATION)?;
    kind.ends_with(ENCRYPTED).then_some(written)
}

/// Several annotations stand with commas between them (ocicrypt).
fn leases(written: &Value) -> BTreeSet<RevokedLease> {
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
        self.lowest(which).is_some()
    }

    /// The lowest layer that is to go.
    fn lowest(&self, which: &Which) -> Option<usize> {
        let goes = |leases: &BTreeSet<RevokedLease>| match which {
            Which::All => true,
            Which::Leases(revoked) => !leases.is_disjoint(revoked),
        };
        let mut layers = self.wrapped.iter();
        layers.position(|layer| layer.as_ref().is_some_and(goes))
    }

    /// Takes a runtime's names for the layers, from the lowest up. Where it counts other layers than the manifest, as
    /// some do that hold nothing, all of them count as decrypted.
    pub(super) fn clear<T>(&self, mut chain: Vec<T>, which: &Which) -> Clear<T> {
        let first = self.wrapped.iter().position(Option::is_some);
        let (Some(first), Some(lowest)) = (first, self.lowest(which)) else {
            return Clear::decrypted(chain);
        };
        if chain.len() != self.wrapped.len() {
            return Clear::decrypted(chain);
        }
        let decrypted = chain.split_off(lowest);
        Clear {
            shared: chain.split_off(first),
            decrypted,
        }
    }
}

impl<T> Clear<T> {
    fn decrypted(chain: Vec<T>) -> Self {
        Self {
            shared: Vec::new(),
            decrypted: chain,
        }
    }
}

/// What containerd calls the snapshots that hold an image's layers: the chain ids (OCI image-spec, "Layer ChainID"), from
/// the lowest up. `None`: the configuration does not read.
pub(super) fn chain_ids(config: &[u8]) -> Option<Vec<OciDigest>> {
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
    Some(ids.collect())
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
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";

    fn read(json: &serde_json::Value) -> Document {
        Document::read(json.to_string().as_bytes())
    }

    pub(in crate::purge) fn lease(key: &str) -> RevokedLease {
        RevokedLease {
            key: key.parse().unwrap(),
            key_version: 1,
            layer: digest(b"layer"),
        }
    }

    pub(in crate::purge) fn annotation(key: &str) -> String {
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
        image["layers"][1]["mediaType"] = json!(LAYER);
        image["layers"][1]["annotations"] = json!({ ANNOTATION: 7, "other": "x" });
        let ours = Layers {
            config: Some(config),
            wrapped: vec![None, Some(BTreeSet::new())],
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
    fn a_layer_in_clear_is_not_ours_by_an_annotation() {
        let of = |kind: &serde_json::Value| {
            let annotations = json!({ ANNOTATION: annotation("a") });
            let layer = json!({ "mediaType": kind, "annotations": annotations });
            match read(&json!({ "layers": [layer] })) {
                Document::Image(layers) => {
                    layers.is_of(&Which::All) || layers.is_of(&Which::Leases([lease("a")].into()))
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(of(&json!(LAYER)));
        let plain = LAYER.trim_end_matches("+encrypted");
        for kind in [json!(plain), json!("encrypted"), json!(7), json!(null)] {
            assert!(!of(&kind), "{kind}");
        }
    }

    #[test]
    fn an_image_is_ours_though_a_digest_in_it_is_of_another_algorithm() {
        let annotations = json!({ ANNOTATION: "x" });
        let layer = json!({ "mediaType": LAYER, "annotations": annotations });
        let sha512 = json!({ "digest": format!("sha512:{}", "0".repeat(128)) });
        for (key, odd) in [
            ("config", sha512.clone()),
            ("config", json!(7)),
            ("manifests", json!([sha512])),
            ("manifests", json!("x")),
        ] {
            let mut image = json!({ "layers": [layer] });
            image[key] = odd;
            let Document::Image(layers) = read(&image) else {
                panic!("{image}");
            };
            assert!(
                layers.is_of(&Which::All) && layers.config.is_none(),
                "{image}"
            );
        }
        let known = json!({ "digest": digest(b"known") });
        let index = json!({ "manifests": [{ "digest": "sha512:00" }, 7, known] });
        assert_eq!(read(&index), Document::Index(vec![digest(b"known")]));
    }

    #[test]
    fn of_revoked_leases_only_the_images_with_their_layers_are_ours() {
        let revoked =
            |leases: &[&str]| Which::Leases(leases.iter().map(|key| lease(key)).collect());
        let several = format!("{},bm9uZQ==,{}", annotation("a"), annotation("b"));
        let annotations = json!({ ANNOTATION: several });
        let wrapped = json!({ "mediaType": LAYER, "annotations": annotations });
        let image = json!({ "layers": [{}, wrapped] });
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
    fn chains_are_counted_from_the_lowest_layer_up() {
        let [a, b] = [digest(b"a"), digest(b"b")];
        let config = json!({ "rootfs": { "type": "layers", "diff_ids": [a, b] } }).to_string();
        let both = digest(format!("{a} {b}").as_bytes());
        assert_eq!(chain_ids(config.as_bytes()), Some(vec![a, both]));
        assert_eq!(chain_ids(b"{}"), None);
    }

    #[test]
    fn only_what_is_below_the_lowest_layer_that_goes_may_be_shared() {
        let layers = Layers {
            config: None,
            wrapped: vec![
                None,
                Some([lease("a")].into()),
                Some([lease("b")].into()),
                Some(BTreeSet::new()),
            ],
        };
        let clear = |which: &Which, chain: &[u8]| {
            let Clear { shared, decrypted } = layers.clear(chain.to_vec(), which);
            (shared, decrypted)
        };
        let of = |key| Which::Leases([lease(key)].into());
        let chain = [0, 1, 2, 3];
        assert_eq!(clear(&Which::All, &chain), (vec![], vec![1, 2, 3]));
        assert_eq!(clear(&of("a"), &chain), (vec![], vec![1, 2, 3]));
        assert_eq!(clear(&of("b"), &chain), (vec![1], vec![2, 3]));
        // Nobody can say which of these are below.
        assert_eq!(clear(&of("b"), &[0, 1, 2]), (vec![], vec![0, 1, 2]));
    }
}
