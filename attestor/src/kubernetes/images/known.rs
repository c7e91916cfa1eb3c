//! What is known of one image, by the digest of its manifest.

use serde::Deserialize;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::oci_manifest::Manifest;

use crate::store::{ImageRecord, StoreError};

/// Read out of its manifest, which never says anything else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) config: OciDigest,
    /// The lowest first.
    pub(crate) layers: Vec<OciDigest>,
    /// Whether every layer is.
    pub(crate) encrypted: bool,
    /// Name of the credential that registered it; `None`: it is not registered.
    pub(crate) publisher: Option<String>,
}

/// A layer as the register keeps it.
#[derive(Deserialize)]
struct Layer {
    digest: OciDigest,
}

impl Known {
    /// As a registry has it.
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            config: manifest.config,
            layers: manifest.layers.iter().map(|layer| layer.digest).collect(),
            encrypted: manifest.is_encrypted(),
            publisher: None,
        }
    }

    /// As the register has it.
    pub(super) fn registered(image: ImageRecord) -> Result<Self, StoreError> {
        let layers: Vec<Layer> =
            serde_json::from_str(&image.layers).map_err(|_| StoreError::Malformed("image"))?;
        Ok(Self {
            config: image.config,
            layers: layers.iter().map(|layer| layer.digest).collect(),
            encrypted: image.encrypted,
            publisher: Some(image.publisher),
        })
    }
}
