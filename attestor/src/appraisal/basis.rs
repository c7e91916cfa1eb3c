//! What a round was verified against. It must still be so when the round is committed: otherwise what
//! another round proved in the meantime would be passed over.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::ima::ImaState;

use super::RoundError;
use crate::store::{Boot, HostRecord, Identity, QuoteClock, Tx};

/// All that a verdict rests on of what is held about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    identity: Identity,
    last_quote: Option<QuoteClock>,
    boot_log: Option<Sha256Digest>,
    runtime: Option<ImaState>,
    boot: Option<Boot>,
}

impl Basis {
    /// What is held.
    pub(super) fn of(record: &HostRecord, boot: Option<&Boot>) -> Self {
        Self {
            identity: record.identity.clone(),
            last_quote: record.last_quote,
            boot_log: record.boot_log,
            runtime: record.runtime,
            boot: boot.cloned(),
        }
    }

    /// Refuses a round whose basis has moved. Writers come one after the other, so what is found here holds
    /// until `tx` ends.
    pub(super) async fn still_holds(&self, tx: &mut Tx, host: &HostId) -> Result<(), RoundError> {
        let record = tx.host(host).await?.ok_or(RoundError::Overtaken)?;
        let boot = tx.boot(host).await?;
        match Self::of(&record, boot.as_ref()) == *self {
            true => Ok(()),
            false => Err(RoundError::Overtaken),
        }
    }
}
