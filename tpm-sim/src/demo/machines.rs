//! The machines of a kept demo with encrypted images: for each a file with the environment in which its commands run.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use touchstone_tpm_sim::containers::keys;
use touchstone_tpm_sim::containers::tool;

use super::encrypted::Containers;
use super::registry;
use crate::attestor::Console;

/// Variables that are set for a command, beside those of whoever runs it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Environment {
    pub(crate) variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Of this machine, in the kept demo that was started last.
    pub(crate) fn of(machine: &str) -> anyhow::Result<Self> {
        let mut demos = registry::entries()?;
        demos.retain(|demo| demo.is_alive() && folder(&demo.folder).is_dir());
        demos.sort_by_key(|demo| demo.started);
        let demo = demos.last().context(
            "no demo with encrypted images is running; start one with: make demo-encrypted KEEP=1",
        )?;
        let machines = folder(&demo.folder);
        let names = names(&machines)?;
        ensure!(
            names.iter().any(|name| name == machine),
            "no machine is called `{machine}`; there are {}",
            names.join(", ")
        );
        Ok(serde_json::from_slice(&fs::read(file(
            &machines, machine,
        ))?)?)
    }

    fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn and<T: AsRef<OsStr>>(self, variables: &[(&str, T)]) -> Self {
        variables
            .iter()
            .fold(self, |all, (name, value)| all.with(name, value.as_ref()))
    }
}

/// Writes a file for each machine.
pub(super) fn write(demo: &Path, console: &Console, containers: &Containers) -> anyhow::Result<()> {
    let machines = folder(demo);
    fs::create_dir(&machines)?;
    let any = || -> anyhow::Result<Environment> {
        Ok(Environment::default()
            .with("PATH", path(console)?)
            .with("REGISTRY", containers.workshop.address.clone()))
    };
    let keep = |name: &str, environment: &Environment| -> anyhow::Result<()> {
        let path = file(&machines, name);
        fs::write(path, serde_json::to_vec(environment)?)?;
        Ok(())
    };
    let operator = any()?.with("TOUCHSTONE_OPERATOR", &console.operator);
    keep("operator", &operator)?;
    let workshop = &containers.workshop;
    let build = any()?
        .with("HOME", &workshop.home)
        .with("TOUCHSTONE_OPERATOR", &workshop.credential)
        .with(keys::CONFIG, &workshop.provider.config);
    keep("build", &build)?;
    for node in &containers.nodes {
        let host = any()?
            .with(keys::CONFIG, &node.provider.config)
            .and(&node.settings);
        keep(node.name, &host.and(&node.podman.environment()))?;
    }
    Ok(())
}

/// Our programs, the container tools, and what else is there.
fn path(console: &Console) -> anyhow::Result<OsString> {
    let ours = console
        .touchstone
        .parent()
        .context("a program in no folder")?;
    let tools = tool::search_path();
    let all = [ours.to_owned()]
        .into_iter()
        .chain(env::split_paths(&tools));
    Ok(env::join_paths(all)?)
}

fn names(machines: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(machines)? {
        let path = file?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

fn folder(demo: &Path) -> PathBuf {
    demo.join("machines")
}

fn file(machines: &Path, name: &str) -> PathBuf {
    machines.join(name).with_extension("json")
}
