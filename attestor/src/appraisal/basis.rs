//! What a round was verified against. It must still be so when the round is committed: otherwise what
//! another round proved in the meantime would be passed over.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::ImaState;

use crate::store::{Boot, Held, Identity, QuoteClock, TagState};

/// All that a verdict rests on of what is held about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    identity: Identity,
    firmware_version: Option<i64>,
    last_quote: Option<QuoteClock>,
    boot_log: Option<Sha256Digest>,
    runtime: Option<ImaState>,
    boot: Option<Boot>,
    eks: Vec<Sha256Digest>,
    tag: Option<(i64, Vec<u8>)>,
    tag_state: TagState,
}

impl Basis {
    /// What is held.
    pub(super) fn of(held: &Held) -> Self {
        let Held { record, .. } = held;
        Self {
            identity: record.identity.clone(),
            firmware_version: record.firmware_version,
            last_quote: record.last_quote,
            boot_log: record.boot_log,
            runtime: record.runtime,
            boot: held.boot.clone(),
            eks: held.eks.clone(),
            tag: held.tag.clone(),
            tag_state: held.tag_state.clone(),
        }
    }
}
