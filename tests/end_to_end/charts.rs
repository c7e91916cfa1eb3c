//! The Helm chart as a real helm renders it, with several settings and for several Kubernetes: whether a server would
//! take it, whom it lets do what, and whether it fails closed.
//! Where helm could not be had, these tests say that they were skipped.

mod apart;
mod definitions;
mod helm;
mod rights;
mod schemas;
mod webhooks;

use std::process::Command;

use serde_json::Value;
use touchstone_kubernetes::config::{Config, PolicySource};
use touchstone_tests::containers::tool::deployed;

use helm::{Helm, Settings, several};
use schemas::Schemas;

#[test]
fn kubernetes_takes_every_object() {
    let (Some(helm), Some(schemas)) = (Helm::find(), Schemas::find()) else {
        return;
    };
    let mut taken = 0;
    for settings in several() {
        for object in helm.render(&settings) {
            // Whose schema is Prometheus' operator's.
            if object["kind"] == "ServiceMonitor" {
                continue;
            }
            let wrong = schemas.refusals(&object, settings.kubernetes);
            assert!(wrong.is_empty(), "{settings:?}\n{wrong:#?}\n{object:#}");
            // helm applies on the server's side, and older servers know no default of it there.
            let ports = object["spec"]["ports"].as_array().into_iter().flatten();
            ports.for_each(|port| assert_eq!(port["protocol"], "TCP", "{object:#}"));
            taken += 1;
        }
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn an_object_with_a_field_that_kubernetes_does_not_know_is_found() {
    let (Some(helm), Some(schemas)) = (Helm::find(), Schemas::find()) else {
        return;
    };
    let mut agent = helm.one(&Settings::default(), "DaemonSet", "touchstone-agent");
    agent["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always".into();
    assert_eq!(schemas.refusals(&agent, "1.33").len(), 1);
    agent["spec"]["template"]["spec"]["containers"] = "none".into();
    assert!(!schemas.refusals(&agent, "1.33").is_empty());
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let Some(helm) = Helm::find() else {
        return;
    };
    for (setting, why) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("replicas=3", "takes PostgreSQL"),
        ("agent.tpm.via=privileged", "/agent/tpm/via"),
        ("agent.tpm.via=resource", "/agent/tpm/resource"),
        ("webhooks.caBundle=ca.pem", "/webhooks/caBundle"),
        (
            "controller.breakerPercent=101",
            "/controller/breakerPercent",
        ),
    ] {
        let said = helm.refuse(&Settings::set(&[setting]));
        assert!(said.contains(why), "{setting}: {said}");
    }
    let said = helm.refuse(&Settings::with_webhooks(&["webhooks.secret="]));
    assert!(said.contains("give the secret of the URL"), "{said}");
}

#[test]
fn the_attestor_is_told_of_the_cluster_what_its_values_say() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let told = |values: &[&str]| {
        let settings = helm.one(&Settings::set(values), "ConfigMap", "touchstone");
        let text = settings["data"]["kubernetes.toml"].as_str().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        // As `touchstone serve` reads it.
        Config::read(file.path()).unwrap()
    };
    let usual = told(&[]);
    assert_eq!(format!("{usual:?}"), format!("{:?}", Config::default()));
    let other = told(&[
        "controller.taints.new=true",
        "controller.graceSeconds=60",
        "controller.policies=objects",
        "controller.cluster=west",
    ]);
    assert_eq!(other.cluster.as_str(), "west");
    assert!(other.taints.new && !usual.taints.new);
    assert_eq!(other.grace_seconds, 60);
    assert_eq!(other.policies, PolicySource::Objects);
}

#[test]
fn plain_manifests_are_what_the_chart_renders() {
    let Some(helm) = Helm::find() else {
        return;
    };
    let script = deployed("build/manifests.sh");
    let mut check = Command::new(script);
    let check = check.arg("--check").env("HELM", helm.program()).output();
    let check = check.unwrap();
    let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
    assert!(check.status.success(), "{said}");
    // The webhooks are written by hand.
    let text = std::fs::read_to_string(deployed("kubernetes/webhooks.yaml")).unwrap();
    let by_hand = helm::objects(&text);
    // For any server, also those that know no conditions.
    let mut oldest = Settings::with_webhooks(&["webhooks.nodes=false"]);
    oldest.kubernetes = "1.20";
    let rendered = helm.render(&oldest);
    let rendered = rendered
        .iter()
        .filter(|object| !object["webhooks"].is_null());
    let rendered: Vec<Value> = rendered.map(webhooks::without_caller).collect();
    assert_eq!(by_hand.len(), rendered.len());
    for object in by_hand.iter().map(webhooks::without_caller) {
        assert!(rendered.contains(&object), "{object:#}\n{rendered:#?}");
    }
}
