//! The attestor under load, ready for hosts: reached, with a policy in force.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::operator::{Credential, Operator};
use super::preparation;
use super::recording::Recording;
use super::wire::{Endpoint, Tls};

/// File descriptors besides the hosts' connections.
const OTHER_FILES: u64 = 64;

/// How to find it, and what hosts are to show.
pub(crate) struct Wanted<'a> {
    pub(crate) operator: &'a Path,
    pub(crate) server: Option<&'a str>,
    pub(crate) boot_log: Option<&'a Path>,
    /// Put a policy into force where there is none.
    pub(crate) policy: bool,
    pub(crate) tags: bool,
}

/// An attestor.
pub(crate) struct Subject {
    pub(crate) credential: Credential,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) tls: Tls,
    pub(crate) operator: Operator,
    pub(crate) recording: Recording,
    /// Whether the policy was put into force here; else there was one.
    pub(crate) policy_applied: bool,
}

impl Subject {
    /// Connects, and sees to the policy.
    pub(crate) async fn meet(wanted: Wanted<'_>) -> anyhow::Result<Self> {
        let credential = Credential::read(wanted.operator)?;
        let endpoint = credential.endpoint(wanted.server)?;
        let recording = Recording::choose(wanted.boot_log)?;
        let tls =
            Tls::pinned(&credential.ca).context("the CA in the operator's credential is broken")?;
        let operator = Operator::connect(&credential, &endpoint, &tls).await?;
        let policy = recording.policy(wanted.tags);
        let policy_applied = preparation::ensure_policy(&operator, &policy, wanted.policy).await?;
        Ok(Self {
            credential,
            endpoint,
            tls,
            operator,
            recording,
            policy_applied,
        })
    }
}

/// Raises the limit of open files as far as this user may.
pub(crate) fn allow_connections(connections: usize) -> anyhow::Result<()> {
    let wanted = connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "{connections} connections need {wanted} open files, and {} are allowed; raise that with `ulimit -Hn`, or give \
         a smaller --connections",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}
