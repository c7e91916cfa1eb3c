//! The CustomResourceDefinitions of policies: a cluster takes what the attestor takes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use touchstone_tests::containers::tool::deployed;

use super::helm::{Helm, objects};
use super::schemas::Schemas;

/// The schema by which a cluster judges objects of each kind.
fn definitions() -> Vec<(String, Value)> {
    let folder = std::fs::read_dir(deployed("helm/touchstone/crds")).unwrap();
    let files = folder.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let files: Vec<String> = files.collect();
    let definitions = files.iter().flat_map(|text| objects(text));
    let each = definitions.map(|definition| {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        (kind.to_owned(), definition)
    });
    each.collect()
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

#[test]
fn definitions_are_what_the_schema_of_manifests_says() {
    let check = Command::new("python3")
        .arg(deployed("build/crds.py"))
        .arg("--check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}

#[test]
fn every_definition_is_one_that_kubernetes_takes() {
    let (Some(_), Some(schemas)) = (Helm::find(), Schemas::find()) else {
        return;
    };
    let definitions = definitions();
    assert_eq!(definitions.len(), 5);
    for (kind, definition) in &definitions {
        for version in ["1.20", "1.33", "1.37"] {
            let wrong = schemas.refusals(definition, version);
            assert!(wrong.is_empty(), "{kind}: {wrong:#?}");
        }
        structural(schema(definition), kind);
    }
}

/// As the API server demands of a schema: each value has one type, and what is inside of an object is listed or of one
/// kind, not both.
fn structural(schema: &Value, at: &str) {
    assert!(schema["type"].is_string(), "{at} has no type: {schema:#}");
    let (named, others) = (&schema["properties"], &schema["additionalProperties"]);
    assert!(named.is_null() || others.is_null(), "{at}");
    for (name, inner) in named.as_object().into_iter().flatten() {
        structural(inner, &format!("{at}.{name}"));
    }
    for inner in [others, &schema["items"]] {
        if !inner.is_null() {
            structural(inner, &format!("{at}[]"));
        }
    }
}

#[test]
fn a_cluster_takes_every_sample_of_a_policy_and_refuses_what_is_no_policy() {
    let definitions = definitions();
    let mut taken = BTreeSet::new();
    for path in samples() {
        for manifest in objects(&std::fs::read_to_string(&path).unwrap()) {
            let kind = manifest["kind"].as_str().unwrap();
            let definition = definitions.iter().find(|(name, _)| name == kind).unwrap();
            let judge = jsonschema::draft202012::new(schema(&definition.1)).unwrap();
            let wrong: Vec<_> = judge
                .iter_errors(&manifest)
                .map(|it| it.to_string())
                .collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
            let mut wrong = manifest.clone();
            wrong["spec"] = json!({});
            assert!(!judge.is_valid(&wrong), "{kind}");
            taken.insert(kind.to_owned());
        }
    }
    // Every kind but the attestor's own.
    assert_eq!(taken.len(), definitions.len() - 1, "{taken:?}");
}

/// Texts of policies among the samples.
fn samples() -> Vec<PathBuf> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/samples");
    let mut folders: Vec<_> = std::fs::read_dir(samples)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("policy.yaml"))
        .filter(|path| path.exists())
        .collect();
    folders.sort();
    folders
}
