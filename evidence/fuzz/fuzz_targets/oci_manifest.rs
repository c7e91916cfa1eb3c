//! Image manifests as a registry holds them: what is read is bounded.

#![no_main]

use touchstone_evidence::oci_manifest::{Index, MANIFEST_MAX, Manifest};

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    if let Ok(index) = Index::parse(data) {
        // One text is either.
        assert!(index.manifests.len() <= 64 && Manifest::parse(data).is_err());
        return true;
    }
    let Ok(manifest) = Manifest::parse(data) else {
        return false;
    };
    assert!(data.len() <= MANIFEST_MAX && manifest.layers.len() <= 512);
    for layer in &manifest.layers {
        let held: usize = layer.untrusted_annotations.iter().map(Vec::len).sum();
        assert!(layer.untrusted_annotations.len() <= 16 && held <= data.len());
    }
    true
}
