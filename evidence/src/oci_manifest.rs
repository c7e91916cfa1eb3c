//! Image manifests (OCI image-spec v1.1 "Image Manifest"; Docker's version 2 is the same for what is read here): config,
//! layers, whether these are encrypted, and what Touchstone's key provider wrote beside them.

mod fields;
mod index;
mod written;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::oci_digest::OciDigest;
use fields::Told;
pub use index::Index;
use written::{Descriptor, Written};

/// Largest manifest, bytes: registries demand no more of each other (OCI distribution-spec, "Pushing Manifests").
pub const MANIFEST_MAX: usize = 4 << 20;
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
    /// It may be read in two ways.
    #[error(
        "the image's manifest can be read in two ways, by the field `{0}`; have it built again"
    )]
    Ambiguous(String),
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
            Self::TooLarge(_) | Self::Malformed(_) | Self::Ambiguous(_) | Self::Annotation(_) => {
                "image-manifest-malformed"
            }
            Self::Index => "image-index",
        }
    }
}

/// What a digest stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One image.
    Image(Manifest),
    /// Images of several platforms.
    Index(Index),
}

impl Content {
    /// Reads a manifest of either kind, once. One that might be of both is of none (CVE-2021-41190).
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let written = read(json)?.alone()?;
        let Some(manifests) = written.manifests else {
            return Manifest::of(written.config, written.layers.unwrap_or_default().0)
                .map(Self::Image);
        };
        let both = [
            ("config", written.config.is_some()),
            ("layers", written.layers.is_some()),
        ];
        match both.iter().find(|(_, there)| *there) {
            Some((name, _)) => Err(ManifestError::Ambiguous((*name).to_owned())),
            None => Index::of(manifests.0).map(Self::Index),
        }
    }
}

impl Manifest {
    /// Reads a manifest of one image.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        match Content::parse(json)? {
            Content::Image(manifest) => Ok(manifest),
            Content::Index(_) => Err(ManifestError::Index),
        }
    }

    fn of(
        config: Option<Told<Descriptor>>,
        layers: Vec<Told<Descriptor>>,
    ) -> Result<Self, ManifestError> {
        let config = config.ok_or_else(|| ManifestError::Malformed("no config".to_owned()))?;
        let layers = layers.into_iter().map(|one| layer(&one.alone()?));
        Ok(Self {
            config: config.alone()?.digest()?,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    /// Whether there is a layer, and each is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        !self.layers.is_empty() && self.layers.iter().all(|layer| layer.encrypted)
    }
}

fn read(json: &[u8]) -> Result<Told<Written>, ManifestError> {
    if json.len() > MANIFEST_MAX {
        return Err(ManifestError::TooLarge(json.len()));
    }
    serde_json::from_slice(json).map_err(|error| {
        // It may hold the manifest's own words.
        ManifestError::Malformed(error.to_string().chars().take(200).collect())
    })
}

fn layer(descriptor: &Descriptor) -> Result<Layer, ManifestError> {
    let digest = descriptor.digest()?;
    let annotations = descriptor.annotations.as_ref();
    let ours = annotations.and_then(|annotations| annotations.get(ANNOTATION));
    let mut untrusted_annotations = Vec::new();
    for one in ours.into_iter().flat_map(|text| text.split(',')) {
        let bytes = STANDARD.decode(one).ok();
        let bytes = bytes.filter(|_| untrusted_annotations.len() < WRAPPED_MAX);
        untrusted_annotations.push(bytes.ok_or(ManifestError::Annotation(digest))?);
    }
    Ok(Layer {
        digest,
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
    fn an_image_is_encrypted_if_it_has_layers_and_each_is() {
        let layer =
            |end: &str| json!({ "mediaType": format!("a+gzip{end}"), "digest": digest("01") });
        let encrypted = |layers: &[Value]| {
            let mut manifest = manifest(&layer(""));
            manifest["layers"] = json!(layers);
            parse(&manifest).unwrap().is_encrypted()
        };
        assert!(encrypted(&[layer("+encrypted"), layer("+encrypted")]));
        assert!(!encrypted(&[layer("+encrypted"), layer("")]));
        assert!(!encrypted(&[]));
    }

    /// Go's `encoding/json`, by which runtimes read manifests, takes a field whatever its case, and the last one of several.
    #[test]
    fn a_plain_layer_under_a_field_that_runtimes_read_is_seen() {
        let layer =
            |end: &str| json!({ "mediaType": format!("a+gzip{end}"), "digest": digest("01") });
        let mut good = manifest(&layer("+encrypted"));
        good["annotations"] = json!({ "Layers": "a" });
        assert!(parse(&good).unwrap().is_encrypted());
        for field in ["Layers", "LAYERS", "layer\u{17f}", "Config", "ManiFests"] {
            let mut two = good.clone();
            two[field] = json!([layer("")]);
            let refused = parse(&two).unwrap_err();
            assert_eq!(refused, ManifestError::Ambiguous(field.to_owned()));
            assert_eq!(refused.code(), "image-manifest-malformed");
        }
        for (part, field) in [
            ("/layers/0", "MediaType"),
            ("/config", "Digest"),
            ("/config", "DIGEST"),
        ] {
            let mut two = good.clone();
            two.pointer_mut(part).unwrap()[field] = json!(digest("02"));
            let refused = parse(&two).unwrap_err();
            assert_eq!(refused, ManifestError::Ambiguous(field.to_owned()));
        }
        // A field that is there twice is refused by the reader of JSON.
        let once = format!(r#"{{"layers":[],"config":{{"digest":"{}"}}"#, digest("0c"));
        assert!(Manifest::parse(format!("{once}}}").as_bytes()).is_ok());
        let twice = format!(r#"{once},"layers":[]}}"#);
        let refused = Manifest::parse(twice.as_bytes()).unwrap_err();
        assert!(refused.to_string().contains("duplicate field"), "{refused}");
    }

    #[test]
    fn an_object_of_more_fields_than_are_counted_is_refused() {
        let with = |count: usize, part: &str| {
            let mut manifest = manifest(&json!({ "digest": digest("01") }));
            let fields = manifest.pointer_mut(part).unwrap().as_object_mut().unwrap();
            while fields.len() < count {
                fields.insert(format!("f{}", fields.len()), json!({}));
            }
            parse(&manifest)
        };
        for part in ["", "/config", "/layers/0"] {
            assert!(with(256, part).is_ok(), "{part}");
            let refused = with(257, part).unwrap_err();
            assert!(
                refused.to_string().contains("more than 256 fields"),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_is_no_manifest_of_one_image_is_refused() {
        let index = json!({ "schemaVersion": 2, "manifests": [] });
        assert_eq!(parse(&index), Err(ManifestError::Index));
        for wrong in [
            json!([]),
            json!({ "layers": [] }),
            json!({ "config": {}, "layers": [] }),
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
