//! Indexes (OCI image-spec v1.1 "Image Index", Docker's manifest lists): one name for the images of several platforms.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fields::Fields;
use super::{ManifestError, read};
use crate::encoded::Few;
use crate::oci_digest::OciDigest;

/// Most manifests of one index; images for every platform of Go's have some twenty, and as many attestations.
const MANIFESTS_MAX: usize = 64;

/// An index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The manifests that it names, whatever their platforms.
    pub manifests: Vec<OciDigest>,
}

#[derive(Deserialize)]
struct Written {
    manifests: Few<Listed, MANIFESTS_MAX>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

/// The same once more, for the names of fields.
#[derive(Deserialize)]
struct Named {
    manifests: Few<Fields, MANIFESTS_MAX>,
}

#[derive(Deserialize)]
struct Listed {
    digest: OciDigest,
}

impl Index {
    /// Reads an index. One that might be an image as well is none (CVE-2021-41190).
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let written: Written = read(json)?;
        read::<Fields>(json)?.check(&["manifests", "config", "layers"])?;
        for listed in &read::<Named>(json)?.manifests.0 {
            listed.check(&["digest"])?;
        }
        let both = [("config", &written.config), ("layers", &written.layers)];
        if let Some((name, _)) = both.iter().find(|(_, field)| field.is_some()) {
            return Err(ManifestError::Ambiguous((*name).to_owned()));
        }
        let manifests = written.manifests.0.iter();
        Ok(Self {
            manifests: manifests.map(|listed| listed.digest).collect(),
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
        for field in ["layers", "config", "Layers", "Manifests"] {
            let refused = parse(&json!({ "manifests": [], field: [] })).unwrap_err();
            assert_eq!(refused, ManifestError::Ambiguous(field.to_owned()));
        }
        let mut two = listed("01");
        two["Digest"] = listed("02")["digest"].clone();
        let refused = parse(&json!({ "manifests": [two] })).unwrap_err();
        assert_eq!(refused, ManifestError::Ambiguous("Digest".to_owned()));
    }

    #[test]
    fn an_index_without_manifests_or_with_too_many_is_refused() {
        let many = vec![listed("01"); MANIFESTS_MAX + 1];
        for wrong in [json!({}), json!([]), json!({ "manifests": many })] {
            let refused = parse(&wrong).unwrap_err();
            assert!(matches!(refused, ManifestError::Malformed(_)), "{refused}");
        }
    }
}
