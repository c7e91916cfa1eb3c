//! Image manifests (OCI image-spec v1.1 "Image Manifest"; Docker's version 2 is the same for what is read here): config,
//! layers, whether these are encrypted, and what Touchstone's key provider wrote beside them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::encoded::Few;
use crate::oci_digest::OciDigest;

/// Largest manifest, bytes: registries demand no more of each other (OCI distribution-spec, "Pushing Manifests").
pub const MANIFEST_MAX: usize = 4 << 20;
/// Most layers; storage drivers take 128 at most.
const LAYERS_MAX: usize = 512;
/// Most annotations of one layer by this provider: one for each key that it was encrypted for.
const WRAPPED_MAX: usize = 16;
/// Where ocicrypt puts what the provider answered, in base64; several stand with commas between them.
const ANNOTATION: &str = "org.opencontainers.image.enc.keys.provider.touchstone";
/// How media types of encrypted layers end (ocicrypt).
const ENCRYPTED: &str = "+encrypted";

/// A manifest of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its config.
    pub config: OciDigest,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What the registry holds: of an encrypted layer, the ciphertext.
    pub digest: OciDigest,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// What wrapping its key brought, once for each key; not proven.
    pub untrusted_annotations: Vec<Vec<u8>>,
}

/// Why a manifest is none of one image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than 4 MiB.
    #[error("the manifest has {0} bytes; at most {MANIFEST_MAX} are read")]
    TooLarge(usize),
    /// No JSON of that shape.
    #[error("the image's manifest cannot be read: {0}")]
    Malformed(String),
    /// It names manifests, one for each platform.
    #[error("this is an index of several images; register the manifest of each platform")]
    Index,
    /// What stands where the provider's annotation belongs is none.
    #[error("the annotation of layer `{0}` cannot be read; encrypt the image again")]
    Annotation(OciDigest),
}

impl ManifestError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) | Self::Malformed(_) | Self::Annotation(_) => {
                "image-manifest-malformed"
            }
            Self::Index => "image-index",
        }
    }
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Few<Descriptor, LAYERS_MAX>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: OciDigest,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > MANIFEST_MAX {
            return Err(ManifestError::TooLarge(json.len()));
        }
        let written: Written = serde_json::from_slice(json).map_err(|error| {
            // It may hold the manifest's own words.
            ManifestError::Malformed(error.to_string().chars().take(200).collect())
        })?;
        if written.manifests.is_some() {
            return Err(ManifestError::Index);
        }
        let config = written.config.map(|config| config.digest);
        let config = config.ok_or_else(|| ManifestError::Malformed("no config".to_owned()))?;
        let layers = written.layers.0.iter().map(layer);
        Ok(Self {
            config,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }
}

fn layer(descriptor: &Descriptor) -> Result<Layer, ManifestError> {
    let annotations = descriptor.annotations.as_ref();
    let ours = annotations.and_then(|annotations| annotations.get(ANNOTATION));
    let mut untrusted_annotations = Vec::new();
    for one in ours.into_iter().flat_map(|text| text.split(',')) {
        let bytes = STANDARD.decode(one).ok();
        let bytes = bytes.filter(|_| untrusted_annotations.len() < WRAPPED_MAX);
        untrusted_annotations.push(bytes.ok_or(ManifestError::Annotation(descriptor.digest))?);
    }
    Ok(Layer {
        digest: descriptor.digest,
        encrypted: descriptor.media_type.ends_with(ENCRYPTED),
        untrusted_annotations,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    fn manifest(layer: &Value) -> Value {
        json!({ "schemaVersion": 2, "config": { "digest": digest("0c") }, "layers": [layer] })
    }

    fn parse(manifest: &Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(&serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn layers_are_read_with_what_the_provider_wrote() {
        let plain = json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest("01") });
        let read = parse(&manifest(&plain)).unwrap();
        assert_eq!(read.config.to_string(), digest("0c"));
        assert!(!read.layers[0].encrypted && read.layers[0].untrusted_annotations.is_empty());
        let mut layer = plain;
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        layer["annotations"] = json!({ ANNOTATION: "YQ==,Yg==", "other": "x" });
        let read = parse(&manifest(&layer)).unwrap();
        assert!(read.layers[0].encrypted);
        assert_eq!(read.layers[0].untrusted_annotations, [b"a", b"b"]);
        layer["annotations"] = json!({ ANNOTATION: "not base64" });
        let refused = parse(&manifest(&layer)).unwrap_err();
        assert!(matches!(refused, ManifestError::Annotation(_)), "{refused}");
    }

    #[test]
    fn what_is_no_manifest_of_one_image_is_refused() {
        let index = json!({ "schemaVersion": 2, "manifests": [] });
        assert_eq!(parse(&index), Err(ManifestError::Index));
        for wrong in [
            json!([]),
            json!({ "layers": [] }),
            json!({ "config": { "digest": "sha512:00" } }),
            manifest(&json!({ "mediaType": 7, "digest": digest("01") })),
        ] {
            let refused = parse(&wrong).unwrap_err();
            assert!(matches!(refused, ManifestError::Malformed(_)), "{refused}");
        }
        let huge = vec![b' '; MANIFEST_MAX + 1];
        assert_eq!(
            Manifest::parse(&huge),
            Err(ManifestError::TooLarge(huge.len()))
        );
    }

    #[test]
    fn an_image_that_skopeo_encrypted_is_read() {
        let Some(corpus) = crate::corpus::folder("no recorded manifest was read") else {
            return;
        };
        let file = corpus.join("../recorded/ocicrypt/encrypted-manifest.json");
        let text = std::fs::read_to_string(file).unwrap();
        let read = Manifest::parse(text.as_bytes()).unwrap();
        assert!(read.layers.len() == 1 && read.layers[0].encrypted);
        // It is of another provider; under our name it is found.
        assert!(read.layers[0].untrusted_annotations.is_empty());
        let ours = text.replace("provider.attkp", "provider.touchstone");
        let read = Manifest::parse(ours.as_bytes()).unwrap();
        assert!(read.layers[0].untrusted_annotations[0].starts_with(b"{\"kid\""));
    }
}
