//! The register of images: what publishers say that they made, by the digest of its manifest.
//!
//! The manifest itself is sent, and everything is read out of it here; that a plain layer is in it is proven by opening
//! its annotation.

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::oci_manifest::{Manifest, ManifestError};

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::layer_keys::{self, LayerKeyError};
use crate::store::{ImageLayerKey, ImageRecord, StoreError};

/// Longest reference, bytes (OCI distribution-spec: a name has 255 at most, a tag 128).
const REFERENCE_MAX: usize = 512;

/// Why an image was not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("the reference of an image is one line of 1 to {REFERENCE_MAX} bytes")]
    Reference,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Key(#[from] LayerKeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Reference => "image-reference-malformed",
            Self::Manifest(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Store(_) => "internal",
        }
    }
}

/// A layer as the register shows it.
#[derive(Serialize)]
struct Shown {
    digest: OciDigest,
    encrypted: bool,
    /// The plain layer, where one of our keys wraps it.
    plain: Option<OciDigest>,
    /// Names of the keys that wrap it.
    keys: Vec<String>,
}

/// Registers the image whose manifest these bytes are; one that was registered before stays as it is.
pub(crate) async fn register(
    attestor: &Attestor,
    actor: &Actor,
    reference: String,
    manifest: &[u8],
) -> Result<ImageRecord, ImageError> {
    let fits = (1..=REFERENCE_MAX).contains(&reference.len());
    if !fits || reference.chars().any(char::is_control) {
        return Err(ImageError::Reference);
    }
    let read = Manifest::parse(manifest)?;
    let (shown, keys) = layers(attestor, &read).await?;
    let layers = serde_json::to_string(&shown).map_err(|_| StoreError::Malformed("image"))?;
    let image = ImageRecord {
        manifest: OciDigest(Sha256Digest::of(manifest)),
        reference,
        config: read.config,
        layers,
        encrypted: !shown.is_empty() && shown.iter().all(|layer| layer.encrypted),
        publisher: actor.credential().unwrap_or_default().to_owned(),
        registered_at: clock::now(),
    };
    let mut tx = attestor.store.write().await?;
    for key in &keys {
        layer_keys::still_usable(&mut tx, &key.key).await?;
    }
    if !tx.add_image(&image, &keys).await? {
        let before = tx.image(&image.manifest).await?;
        return Ok(before.ok_or(StoreError::Malformed("image"))?);
    }
    let event = Event::ImageRegistered {
        manifest: image.manifest,
        reference: image.reference.clone(),
        config: image.config,
        layers: read.layers.iter().map(|layer| layer.digest).collect(),
        encrypted: image.encrypted,
    };
    audit::append(&mut tx, &event, actor, image.registered_at).await?;
    tx.commit().await?;
    Ok(image)
}

/// The layers of an image, each with what its annotations prove. One that does not open refuses the image: nobody
/// could ever run it.
async fn layers(
    attestor: &Attestor,
    manifest: &Manifest,
) -> Result<(Vec<Shown>, Vec<ImageLayerKey>), ImageError> {
    let (mut shown, mut all) = (Vec::new(), Vec::new());
    for layer in &manifest.layers {
        let mut this = Shown {
            digest: layer.digest,
            encrypted: layer.encrypted,
            plain: None,
            keys: Vec::new(),
        };
        for annotation in &layer.untrusted_annotations {
            let (_, opened) = layer_keys::open(attestor, annotation).await?;
            let bound = opened.binding();
            this.plain = Some(bound.layer);
            this.keys.push(bound.key.to_string());
            all.push(ImageLayerKey {
                layer: bound.layer,
                key: bound.key.clone(),
                version: bound.key_version,
            });
        }
        shown.push(this);
    }
    Ok((shown, all))
}
