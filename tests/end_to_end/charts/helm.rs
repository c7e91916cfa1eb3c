//! helm, which `make deps` fetches by package name, and the settings that it renders the chart with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use touchstone_tests::containers::tool::deployed;

/// The attestor's CA, as far as a chart looks at it.
pub(super) const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// A cluster beside an attestor that runs elsewhere.
pub(super) const APART: &[&str] = &[
    "apart=true",
    "controller.cluster=west",
    "database.secret=touchstone-database",
    "keys.secret=touchstone-keys",
];

/// What the chart is rendered with.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    values: Vec<String>,
    with_ca: bool,
    /// Version of Kubernetes.
    pub(super) kubernetes: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self::set(&[])
    }
}

impl Settings {
    /// These values besides the chart's own.
    pub(super) fn set(values: &[&str]) -> Self {
        Self {
            values: values.iter().map(|&value| value.to_owned()).collect(),
            with_ca: false,
            kubernetes: "1.33",
        }
    }

    /// With the webhooks.
    pub(super) fn with_webhooks(values: &[&str]) -> Self {
        Self {
            with_ca: true,
            ..Self::set(&[&["webhooks.secret=00ff", "webhooks.nodes=true"], values].concat())
        }
    }

    /// For another version of Kubernetes.
    pub(super) fn of(self, kubernetes: &'static str) -> Self {
        Self { kubernetes, ..self }
    }
}

/// Every shape that the chart has, for the oldest Kubernetes that it takes and for newer ones.
pub(super) fn several() -> Vec<Settings> {
    let three = [
        "replicas=3",
        "database.secret=touchstone-database",
        "keys.secret=touchstone-keys",
    ];
    let apart = [APART, &["replicas=2"]].concat();
    let shapes = [
        Settings::default(),
        Settings::set(&three),
        Settings::with_webhooks(&three),
        Settings::with_webhooks(&apart),
        Settings::with_webhooks(&["webhooks.mutating=false"]),
        Settings::with_webhooks(&["controller.policies=objects"]),
        Settings::with_webhooks(&["controller.enabled=false", "agent.tpm.via=broker"]),
        Settings::set(&[
            "agent.tpm.via=resource",
            "agent.tpm.resource=example.net/tpm",
            "agent.tpm.group=59",
            "agent.purge=/run/containerd/containerd.sock",
            "image.pullSecrets={one,other}",
        ]),
        Settings::set(&[
            "metrics.serviceMonitor.enabled=true",
            "networkPolicy.apiServers={10.0.0.0/28}",
            "networkPolicy.callers={192.0.2.0/24}",
            "networkPolicy.metricsNamespace=monitoring",
            "agent.enabled=false",
        ]),
    ];
    let versions = ["1.20", "1.28", "1.33", "1.37"];
    let each = |settings: Settings| versions.map(|version| settings.clone().of(version));
    shapes.into_iter().flat_map(each).collect()
}

/// The program.
pub(super) struct Helm(PathBuf);

impl Helm {
    /// `None`, and loud, where it could not be had.
    pub(super) fn find() -> Option<Self> {
        fetched("helm").map(Self)
    }

    /// Where it is.
    pub(super) fn program(&self) -> &Path {
        &self.0
    }

    /// What the chart renders, of which nothing is nameless or there twice.
    pub(super) fn render(&self, settings: &Settings) -> Vec<Value> {
        let output = self.template(settings);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{settings:?}: {said}");
        let objects = objects(str::from_utf8(&output.stdout).unwrap());
        let mut names: Vec<_> = objects.iter().map(name).collect();
        names.sort();
        let there = names.len();
        names.dedup();
        assert_eq!(names.len(), there, "{names:?}");
        objects
    }

    /// One object of it.
    pub(super) fn one(&self, settings: &Settings, kind: &str, called: &str) -> Value {
        let mut objects = self.render(settings).into_iter();
        let found = objects.find(|it| it["kind"] == kind && it["metadata"]["name"] == called);
        found.unwrap_or_else(|| panic!("no {kind} {called}"))
    }

    /// Why it renders nothing.
    pub(super) fn refuse(&self, settings: &Settings) -> String {
        let output = self.template(settings);
        assert!(!output.status.success(), "{settings:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn template(&self, settings: &Settings) -> Output {
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), CA).unwrap();
        let mut command = Command::new(&self.0);
        let chart = deployed("helm/touchstone");
        command.arg("template").arg("touchstone").arg(chart);
        command.args(["--namespace", "touchstone"]);
        command.args(["--kube-version", settings.kubernetes]);
        command.args(["--api-versions", "monitoring.coreos.com/v1"]);
        if settings.with_ca {
            let value = format!("webhooks.caBundle={}", ca.path().display());
            command.args(["--set-file", &value]);
        }
        for value in &settings.values {
            command.args(["--set", value]);
        }
        command.output().unwrap()
    }
}

/// What `make deps` fetched. `None`, and loud, where it could not be had.
pub(super) fn fetched(name: &str) -> Option<PathBuf> {
    // target/debug/deps/end_to_end-…
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let path = target.join("kubernetes-tools").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: `{}` is missing, so the chart is not tested; next: make deps",
        path.display()
    );
    None
}

/// The documents of a YAML text.
pub(super) fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let there = documents.into_iter().filter(|document| !document.is_null());
    there.collect()
}

fn name(object: &Value) -> String {
    let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
    assert!(kind.is_string() && name.is_string(), "{object:#}");
    format!("{kind} {} {name}", object["metadata"]["namespace"])
}
