//! Indexes (OCI image-spec v1.1 "Image Index", Docker's manifest lists): one name for the images of several platforms.

use super::fields::Told;
use super::written::Descriptor;
use super::{Content, ManifestError};
use crate::oci_digest::OciDigest;

/// An index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The manifests that it names, whatever their platforms.
    pub manifests: Vec<OciDigest>,
}

impl Index {
    /// Reads an index.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        match Content::parse(json)? {
            Content::Index(index) => Ok(index),
            Content::Image(_) => Err(ManifestError::Malformed("no manifests".to_owned())),
        }
    }

    pub(super) fn of(listed: Vec<Told<Descriptor>>) -> Result<Self, ManifestError> {
        let manifests = listed.into_iter().map(|one| one.alone()?.digest());
        Ok(Self {
            manifests: manifests.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(index: &Value) -> Result<Index, ManifestError> {
        Index::parse(&serde_json::to_vec(index).unwrap())
    }

    fn listed(byte: &str) -> Value {
        json!({ "mediaType": "m", "digest": format!("sha256:{}", byte.repeat(32)), "size": 7, "platform": {} })
    }

    #[test]
    fn every_manifest_of_an_index_is_named() {
        let index =
            parse(&json!({ "schemaVersion": 2, "manifests": [listed("01"), listed("02")] }));
        let digests: Vec<String> = index
            .unwrap()
            .manifests
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            digests.len() == 2 && digests[1].ends_with("0202"),
            "{digests:?}"
        );
    }

    #[test]
    fn what_may_be_an_image_too_is_no_index() {
        for (field, value) in [
            ("layers", json!([])),
            ("config", listed("01")),
            ("Layers", json!([])),
            ("Manifests", json!([])),
        ] {
            let refused = parse(&json!({ "manifests": [], field: value })).unwrap_err();
            assert_eq!(refused, ManifestError::Ambiguous(field.to_owned()));
        }
        let mut two = listed("01");
        two["Digest"] = listed("02")["digest"].clone();
        let refused = parse(&json!({ "manifests": [two] })).unwrap_err();
        assert_eq!(refused, ManifestError::Ambiguous("Digest".to_owned()));
    }

    #[test]
    fn an_index_without_manifests_or_with_too_many_is_refused() {
        let many = vec![listed("01"); 65];
        for wrong in [json!({}), json!([]), json!({ "manifests": many })] {
            let refused = parse(&wrong).unwrap_err();
            assert!(matches!(refused, ManifestError::Malformed(_)), "{refused}");
        }
    }
}
