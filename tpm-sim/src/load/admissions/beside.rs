//! The webhook that only parses, as it is asked beside the attestor's.

use std::path::Path;

use anyhow::Context as _;

use super::AT_ONCE;
use super::webhook::Webhook;
use crate::operator::{Credential, Operator};
use crate::wire::Tls;

/// How it is asked, and asked what it spent.
pub(super) struct Beside {
    pub(super) webhook: Webhook,
    pub(super) metrics: Operator,
}

impl Beside {
    /// The one of the file that `tpm-sim-load parse` wrote.
    pub(super) async fn meet(path: &Path) -> anyhow::Result<Self> {
        let credential = Credential::read(path)?;
        let endpoint = credential.endpoint(None)?;
        let tls = Tls::pinned(&credential.ca);
        let tls = tls.with_context(|| format!("the CA in `{}` is broken", path.display()))?;
        Ok(Self {
            webhook: Webhook::of(&credential, &endpoint, &tls, AT_ONCE)?,
            metrics: Operator::connect(&credential, &endpoint, &tls).await?,
        })
    }
}
