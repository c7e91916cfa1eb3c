//! Manifests of signatures as a registry holds them, and the keys of policies: what is read is bounded.

#![no_main]

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::publisher::{Candidate, PublisherKey};

touchstone_evidence_fuzz::target!(check);

const KEY: &str = "MCowBQYDK2VwAyEAR7zPrUV8jOKiIcgpmCoksMGSgTjgBcYEf7ilQO7qtWc=";

fn check(data: &[u8]) -> bool {
    let text = str::from_utf8(data);
    if text.is_ok_and(|text| PublisherKey::parse(text).is_ok()) {
        return true;
    }
    let Ok(found) = Candidate::parse_all(data) else {
        return false;
    };
    assert!(found.len() <= 16);
    let key = PublisherKey::parse(KEY).unwrap();
    let image = OciDigest(Sha256Digest::of(data));
    for candidate in found {
        // Nobody signed anything with this key.
        assert!(candidate.verify(data, &key, &image).is_err());
    }
    true
}
