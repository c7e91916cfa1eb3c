//! One `ReferenceValues` in a text of manifests, put in the place of another.

use serde::Deserialize;

use super::ManifestError;
use super::stream::parts;

/// What says which manifest a document is.
#[derive(Deserialize)]
struct Named {
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

/// `text` with `manifest`, which is a `ReferenceValues` called `name`, in the place of those of that name, or behind
/// all others. The rest stays as it was written.
pub fn with_reference(text: &str, name: &str, manifest: &str) -> Result<String, ManifestError> {
    let mut kept: Vec<&str> = parts(text)
        .map(|part| part.text.trim_end())
        .filter(|document| !document.is_empty() && !is_reference(document, name))
        .collect();
    kept.push(manifest.trim_end());
    let text = format!("{}\n", kept.join("\n---\n"));
    super::PolicySet::parse(&text)?;
    Ok(text)
}

fn is_reference(document: &str, name: &str) -> bool {
    let named = serde_saphyr::from_str::<Named>(document);
    named.is_ok_and(|named| named.kind == "ReferenceValues" && named.metadata.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::PolicySet;

    #[test]
    fn values_take_the_place_of_those_of_their_name_and_of_nothing_else() {
        let text = include_str!("../../samples/germany-only/policy.yaml");
        let values = |name: &str, digit: &str| {
            format!(
                "apiVersion: touchstone.dev/v1\nkind: ReferenceValues\nmetadata: {{name: {name}}}\nspec: {{provenance: p, lifeCycle: Active, pcrs: {{7: ['{}']}}}}\n",
                digit.repeat(64)
            )
        };
        let name = "debian-12-shim-grub";
        let replaced = with_reference(text, name, &values(name, "a")).unwrap();
        let set = PolicySet::parse(&replaced).unwrap();
        assert_eq!(set.references.len(), 1);
        assert_eq!(set.references[name].provenance, "p");
        assert!(replaced.starts_with("# Pods of `payments`"), "{replaced}");
        let added = with_reference(text, "other", &values("other", "b")).unwrap();
        let set = PolicySet::parse(&added).unwrap();
        assert_eq!(set.references.keys().collect::<Vec<_>>(), [name, "other"]);
        assert_ne!(set.references[name].provenance, "p");
        // Values of another name do not make up for those that are missing.
        let renamed = text.replace("name: \"debian", "name: \"other");
        assert!(with_reference(&renamed, "x", &values("x", "c")).is_err());
    }
}
