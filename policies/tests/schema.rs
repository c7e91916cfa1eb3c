//! The JSON Schema against the reader of manifests: what one takes the other takes, as far as a schema can see.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use serde_json::Value;
use touchstone_policies::manifest::{PolicySet, SCHEMA};

const GERMANY_ONLY: &str = include_str!("../samples/germany-only/policy.yaml");
const ENCRYPTED_IMAGES: &str = include_str!("../samples/encrypted-images/policy.yaml");

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    let texts = text.split("\n---\n");
    texts
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

fn is_valid(text: &str) -> bool {
    let validator = validator();
    documents(text)
        .iter()
        .all(|document| validator.is_valid(document))
}

#[test]
fn every_sample_is_valid() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    let mut read = 0;
    for sample in std::fs::read_dir(samples).unwrap() {
        let path = sample.unwrap().path().join("policy.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        for document in documents(&text) {
            let faults: Vec<String> = validator()
                .iter_errors(&document)
                .map(|fault| fault.to_string())
                .collect();
            assert!(faults.is_empty(), "{}: {faults:?}", path.display());
            read += 1;
        }
    }
    assert!(read >= 6, "{read} manifests");
}

#[test]
fn a_broken_manifest_is_refused_by_schema_and_reader() {
    let changes = [
        ("kind: Region", "kind: Regio"),
        ("touchstone.dev/v1", "touchstone.dev/v2"),
        ("hosts: [\"*\"]", "hosts: []"),
        ("hosts: [\"*\"]", "host: [\"*\"]"),
        ("hosts: [\"*\"]", "hosts: [\"De-1\"]"),
        ("freshnessSeconds: 300", "freshnessSeconds: 5"),
        ("secureBoot: true", "secureBoot: maybe"),
        ("grade: L1", "grade: L2"),
        ("countries: [DE]", "countries: [Germany]"),
        ("version: 1", "version: -1"),
        ("tier: affirming", "tier: none"),
        ("namespaces: [payments]", "namespaces: []"),
        ("lifeCycle: Active", "lifeCycle: active"),
        ("    7: [", "    77: ["),
        ("    7: [\"7", "    7: [\"x"),
        ("  provenance:", "  origin:"),
        ("name: germany", "names: germany"),
    ];
    let of_images = [
        ("digests: required", "digests: optional"),
        ("encrypted: true", "encrypted: maybe"),
        ("registered: true", "register: true"),
        ("from: [registry.example/payments/]", "from: []"),
        (
            "from: [registry.example/payments/]",
            "from: [registry.example]",
        ),
        ("registry.example/payments/", "Registry.example/payments/"),
        ("terminationGraceSeconds: 5", "terminationGraceSeconds: -1"),
        (
            "terminationGraceSeconds: 5",
            "terminationGraceSeconds: 3601",
        ),
        ("terminationGraceSeconds: 5", "hold: sometimes"),
        (
            "namespaces: [payments]",
            "{namespaces: [a], serviceAccounts: []}",
        ),
        ("namespaces: [payments]", "{namespaces: [a], images: []}"),
        (
            "namespaces: [payments]",
            "{namespaces: [a], images: [nginx]}",
        ),
    ];
    let both = [
        (GERMANY_ONLY, &changes[..]),
        (ENCRYPTED_IMAGES, &of_images[..]),
    ];
    for (sample, changes) in both {
        assert!(PolicySet::parse(sample).is_ok() && is_valid(sample));
        for (good, bad) in changes {
            let text = sample.replacen(good, bad, 1);
            assert_ne!(text, sample, "{good}");
            assert!(PolicySet::parse(&text).is_err(), "the reader takes {bad}");
            assert!(!is_valid(&text), "the schema takes {bad}");
        }
    }
}

#[test]
fn what_the_reader_takes_beside_the_samples_the_schema_takes_too() {
    for more in [
        "hardware: true, runtime: {violations: refused}, reprovision: automatic",
        "runtime: true",
        "boot: {referenceValues: [r]}",
    ] {
        let text = format!(
            "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {{name: h}}\nspec: {{hosts: [a, 'b-*'], freshnessSeconds: 60, {more}}}\n---\n\
             apiVersion: touchstone.dev/v1\nkind: ReferenceValues\nmetadata: {{name: r}}\nspec: {{provenance: p, lifeCycle: Pending, startupLocality: 3, pcrs: {{7: ['{}']}}}}\n---\n\
             apiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {{name: g}}\nspec: {{version: 2, countries: [FR], except: [FR-974, HU]}}\n---\n\
             apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w}}\nspec: {{pod: {{namespaces: [a], serviceAccounts: [api], \
             images: ['127.0.0.1:5000/p/']}}, images: {{digests: resolved}}, host: {{tier: warning}}, placement: {{hold: true}}}}\n",
            "0".repeat(64)
        );
        PolicySet::parse(&text).unwrap();
        assert!(is_valid(&text), "{more}");
    }
}
