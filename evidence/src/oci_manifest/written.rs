//! A manifest as it is written, whichever it is of: an image or an index.

use std::collections::BTreeMap;

use serde::de::MapAccess;

use super::ManifestError;
use super::fields::{Object, Told};
use crate::encoded::Few;
use crate::oci_digest::OciDigest;

/// Most layers; storage drivers take 128 at most.
const LAYERS_MAX: usize = 512;
/// Most manifests of one index; images for every platform of Go's have some twenty, and as many attestations.
const MANIFESTS_MAX: usize = 64;

/// Its top. A field that is `null` is not there.
#[derive(Default)]
pub(super) struct Written {
    pub(super) manifests: Option<Few<Told<Descriptor>, MANIFESTS_MAX>>,
    pub(super) config: Option<Told<Descriptor>>,
    pub(super) layers: Option<Few<Told<Descriptor>, LAYERS_MAX>>,
}

impl Object for Written {
    const FIELDS: &'static [&'static str] = &["manifests", "config", "layers"];

    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<(), A::Error> {
        match field {
            "manifests" => self.manifests = map.next_value()?,
            "config" => self.config = map.next_value()?,
            _ => self.layers = map.next_value()?,
        }
        Ok(())
    }
}

/// What names a blob or a manifest.
#[derive(Default)]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    digest: Option<OciDigest>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(super) fn digest(&self) -> Result<OciDigest, ManifestError> {
        let missing = || ManifestError::Malformed("missing field `digest`".to_owned());
        self.digest.ok_or_else(missing)
    }
}

impl Object for Descriptor {
    const FIELDS: &'static [&'static str] = &["mediaType", "digest", "annotations"];

    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<(), A::Error> {
        match field {
            "mediaType" => self.media_type = map.next_value()?,
            "digest" => self.digest = Some(map.next_value()?),
            _ => self.annotations = map.next_value()?,
        }
        Ok(())
    }
}
