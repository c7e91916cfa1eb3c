//! A host of the demo: what is planned for it, and the machine.

use std::path::{Path, PathBuf};

use serde_json::Value;
use touchstone_tpm_sim::swtpm::Authority;

use super::fleet::Plan;
use crate::machine::Machine;

/// A host under power.
pub(super) struct Host {
    pub(super) plan: Plan,
    pub(super) machine: Machine,
    join_token: PathBuf,
}

impl Host {
    /// Has its TPM made, switches it on and measures the boot into it. Blocks for one to two seconds.
    pub(super) fn boot(plan: Plan, folder: PathBuf, maker: &Authority) -> anyhow::Result<Self> {
        let join_token = folder.join("join-token");
        Ok(Self {
            plan,
            machine: Machine::boot(plan.name, plan.profile()?, folder, maker)?,
            join_token,
        })
    }

    /// Where its join token is to lie.
    pub(super) fn join_token(&self) -> &Path {
        &self.join_token
    }

    /// Enrols with the attestor that the join token names.
    pub(super) fn enrol(&self) -> impl Future<Output = anyhow::Result<Value>> + Send + 'static {
        self.machine.enrol(&self.join_token)
    }

    /// Attests once.
    pub(super) fn attest(&self) -> impl Future<Output = anyhow::Result<Value>> + Send + 'static {
        self.machine.attest()
    }
}
