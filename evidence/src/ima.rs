//! The kernel's measurement list (Linux `security/integrity/ima`, "IMA"): parse and replay.
//!
//! A list is only a claim. Its entries are proven up to the one whose extension gives the quoted
//! PCR 10, and only where the extended hash covers them: the PCR index and the template's name lie
//! outside it, and nothing at all of a violation is inside.

mod entry;
mod parse;
mod part;
mod replay;
mod state;
#[cfg(test)]
mod tests;

use parse::Records;
use replay::{Found, Prefix};

pub use entry::{DigestAlgorithm, Entry, ImaPath, Measured, PATH_MAX, Subject, TEMPLATE_DATA_MAX};
pub use parse::{ENTRIES_MAX, ImaError, ImaList, LIST_MAX, PART_FULL, PART_MAX, whole_entries};
pub use part::{ImaPart, ProvenRuntime, Replay};
pub use state::{
    Bank, BootAggregate, Extension, ImaState, ImaTip, NotAPcrDigest, PcrDigest, QuotedPcrs,
};

/// The PCR that IMA extends (`CONFIG_IMA_MEASURE_PCR_IDX`).
pub const IMA_PCR: u8 = 10;

/// Entries that reproduce the quoted PCR 10, and where they leave off.
///
/// Not established here: that the files are good, that a signature is valid, that the kernel's
/// policy measures what matters, or that the kernel is still the one that booted (kexec).
#[derive(Clone, Debug)]
pub struct ReplayedIma<'a> {
    proven: &'a [u8],
    begins_boot: bool,
    state: ImaState,
}

impl<'a> ReplayedIma<'a> {
    /// Replays `list` onto `start` up to the entry at which PCR 10 is as `quoted`, and where the list
    /// begins the boot, compares its boot aggregate. What follows is not proven and is left for
    /// the next round: the kernel appends before it extends, so a list read after the quote may run ahead.
    ///
    /// The first prefix that fits is the longest one too, unless extending ran in a circle.
    pub fn verify(
        list: &ImaList<'a>,
        start: &ImaState,
        quoted: &QuotedPcrs,
    ) -> Result<Self, ImaError> {
        let length = list.prefix(usize::MAX).len();
        start.continues_at(list.offset_bytes(), length, quoted)?;
        if start.value == quoted.pcr10() {
            return Self::unmoved(start);
        }
        match replay::find_prefix(list, &start.tip(), quoted.pcr10())? {
            Found::Reached(prefix) => Self::reached(list, start, quoted, &prefix),
            Found::Missed(tip) => Err(tip.missed(quoted.pcr10())),
        }
    }

    /// PCR 10 stands where it stood, so nothing was measured since.
    fn unmoved(start: &ImaState) -> Result<Self, ImaError> {
        if start.entries == 0 {
            return Err(ImaError::NothingMeasured);
        }
        Ok(Self {
            proven: &[],
            begins_boot: false,
            state: start.proven(),
        })
    }

    fn reached(
        list: &ImaList<'a>,
        start: &ImaState,
        quoted: &QuotedPcrs,
        prefix: &Prefix<'a>,
    ) -> Result<Self, ImaError> {
        let tip = start.tip();
        let bytes = u64::try_from(prefix.proven.len()).unwrap_or(u64::MAX);
        let state = ImaState {
            offset_bytes: tip.offset_bytes.saturating_add(bytes),
            entries: tip.entries.saturating_add(prefix.entries),
            violations: tip.violations.saturating_add(prefix.violations),
            value: quoted.pcr10(),
            extension: Some(prefix.extension),
            boot_aggregate: match tip.boot_aggregate {
                None => Some(replay::boot_aggregate(list, quoted)?),
                earlier => earlier,
            },
            unproven: None,
            ..*start
        };
        Ok(Self {
            proven: prefix.proven,
            begins_boot: tip.offset_bytes == 0,
            state,
        })
    }

    /// The proven entries in order. None is left out: each was parsed before.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        Records::new(self.proven, self.begins_boot).map_while(|record| record.ok()?.entry().ok())
    }

    /// Where the next round continues.
    #[must_use]
    pub fn state(&self) -> &ImaState {
        &self.state
    }
}
