//! The chart for a cluster apart: `touchstone kubernetes` in the place of `touchstone serve`, and all else the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use touchstone_tests::server::CLUSTER_FILES;

use super::helm::{APART, Helm, Settings};

fn attestor(helm: &Helm, values: &[&str]) -> Value {
    let set = helm.one(&Settings::set(values), "StatefulSet", "touchstone");
    set["spec"]["template"]["spec"].clone()
}

#[test]
fn a_cluster_apart_is_served_on_the_attestor_s_database_without_an_operator_s_credential() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let container = |values: &[&str]| attestor(&helm, values)["containers"][0].clone();
    let variables = |container: &Value| -> BTreeSet<String> {
        let all = container["env"].as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (apart, whole) = (container(APART), container(&APART[2..]));
    assert_eq!(apart["args"][0], "kubernetes");
    assert_eq!(whole["args"][0], "serve");
    let (apart, whole) = (variables(&apart), variables(&whole));
    for needed in ["TOUCHSTONE_DATABASE", "TOUCHSTONE_KUBERNETES"] {
        assert!(apart.contains(needed), "{apart:?}");
    }
    let left_out: Vec<&String> = whole.difference(&apart).collect();
    assert_eq!(left_out, ["TOUCHSTONE_OPERATOR"]);
}

#[test]
fn rights_webhooks_and_agents_of_a_cluster_apart_are_those_of_any() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let apart = helm.render(&Settings::with_webhooks(APART));
    let whole = helm.render(&Settings::with_webhooks(&APART[1..]));
    assert_eq!(apart.len(), whole.len());
    for (apart, whole) in apart.iter().zip(&whole) {
        let is_attestor = apart["kind"] == "StatefulSet";
        assert_eq!(apart != whole, is_attestor, "{apart:#}");
    }
}

#[test]
fn a_cluster_apart_without_what_it_works_on_is_refused() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let database = "takes the PostgreSQL database of its attestor";
    let name = "needs a name of its own";
    for (left_out, why) in [(1, name), (2, database), (3, database)] {
        let mut values = APART.to_vec();
        values.remove(left_out);
        let said = helm.refuse(&Settings::set(&values));
        assert!(said.contains(why), "{values:?}: {said}");
    }
    let values = [APART, &["controller.enabled=false"]].concat();
    let said = helm.refuse(&Settings::set(&values));
    assert!(said.contains(name), "{said}");
}

#[test]
fn keys_are_taken_from_the_secret_unless_an_operator_s_credential_is_among_them() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let pod = attestor(&helm, &[APART, &["replicas=2"]].concat());
    let script = pod["initContainers"][0]["command"][3].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (keys, volume) = (folder.path().join("keys"), folder.path().join("volume"));
    fs::create_dir(&keys).unwrap();
    fs::create_dir(&volume).unwrap();
    for name in CLUSTER_FILES {
        fs::write(keys.join(name), name).unwrap();
    }
    let operator = keys.join("operator.json");
    fs::write(&operator, "{}").unwrap();
    let run = |pod: &str| run(script, &keys, &volume, pod);
    let refusal = |pod: &str| {
        let refused = run(pod);
        assert!(!refused.status.success());
        String::from_utf8(refused.stdout).unwrap()
    };
    let said = refusal("touchstone-0");
    assert!(said.contains("operator.json"), "{said}");
    let copied = |name: &str| volume.join("data").join(name);
    assert!(CLUSTER_FILES.iter().all(|name| !copied(name).exists()));
    fs::remove_file(operator).unwrap();
    assert!(run("touchstone-0").status.success());
    // The first makes its own, and the second has to let in the same callers.
    let said = refusal("touchstone-1");
    assert!(said.contains("no file `webhook.key`"), "{said}");
    fs::write(keys.join("webhook.key"), "webhook.key").unwrap();
    assert!(run("touchstone-1").status.success());
    for name in CLUSTER_FILES {
        assert_eq!(fs::read_to_string(copied(name)).unwrap(), name);
    }
}

/// The script of the container that prepares the volume, with folders of ours in the place of its own.
fn run(script: &str, keys: &Path, volume: &Path, pod: &str) -> Output {
    let script = script
        .replace("/var/lib/touchstone", volume.to_str().unwrap())
        .replace("/keys", keys.to_str().unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-euc", &script]).env("POD", pod);
    shell.output().unwrap()
}
