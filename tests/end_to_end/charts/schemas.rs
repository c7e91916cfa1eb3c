//! Kubernetes' own JSON Schemas, in which no object has a field that a server does not know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use jsonschema::{Registry, Validator};
use serde_json::Value;

use super::helm::fetched;

/// What all schemas of a version refer to.
const DEFINITIONS: &str = "https://kubernetes.io/api/_definitions.json";

/// The schemas of several versions.
pub(super) struct Schemas {
    folder: PathBuf,
    read: Mutex<BTreeMap<PathBuf, Validator>>,
}

impl Schemas {
    /// `None`, and loud, where they could not be had.
    pub(super) fn find() -> Option<Self> {
        let folder = fetched("schemas")?;
        let read = Mutex::default();
        Some(Self { folder, read })
    }

    /// What a server of that version would say against it.
    pub(super) fn refusals(&self, object: &Value, kubernetes: &str) -> Vec<String> {
        let mut object = object.clone();
        let mut version = kubernetes;
        // No schemas are older than these. What is a beta before has the same shape in them.
        if kubernetes == "1.20" {
            version = "1.25";
            if object["apiVersion"] == "policy/v1beta1" {
                object["apiVersion"] = "policy/v1".into();
            }
        }
        let path = self.folder.join(version).join(file_name(&object));
        let mut read = self.read.lock().unwrap();
        let validator = read.entry(path.clone()).or_insert_with(|| open(&path));
        let errors = validator.iter_errors(&object);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }
}

/// `deployment-apps-v1.json`: the kind, and the version without the domain of its group.
fn file_name(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let version = object["apiVersion"].as_str().unwrap();
    let version = match version.split_once('/') {
        Some((group, version)) => {
            let group = group.split('.').next().unwrap();
            format!("{group}-{version}")
        }
        None => version.to_owned(),
    };
    format!("{kind}-{version}.json")
}

fn open(path: &PathBuf) -> Validator {
    let json = |path: &PathBuf| -> Value {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_slice(&bytes).unwrap()
    };
    let definitions = json(&path.with_file_name("_definitions.json"));
    let registry = Registry::new().add(DEFINITIONS, definitions).unwrap();
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options().with_registry(&registry);
    options.build(&json(path)).unwrap()
}
