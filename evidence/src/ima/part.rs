//! A list that comes in parts, one a round: each message carries what follows what is proven, and a list
//! that is larger than one message is proven by the part that reaches the quoted PCR 10.

use super::ReplayedIma;
use super::parse::{ENTRIES_MAX, ImaError, ImaList, LIST_MAX, PART_FULL, PART_MAX};
use super::replay::{self, Found};
use super::state::{BootAggregate, Extension, ImaState, ImaTip, PcrDigest, QuotedPcrs};

/// What one message says of the list.
#[derive(Clone, Copy, Debug)]
pub struct ImaPart<'a> {
    /// Where in the kernel's list `bytes` stood.
    pub offset_bytes: u64,
    /// Whole entries.
    pub bytes: &'a [u8],
    /// Whether the list went on after `bytes` when it was read.
    pub more: bool,
}

/// What a part came to.
#[derive(Clone, Debug)]
pub enum Replay<'a> {
    /// It leads to the quoted PCR 10.
    Proven(ReplayedIma<'a>),
    /// It does not yet, and the list goes on. Nothing new is proven; the next part continues this state.
    Unfinished(ImaState),
}

impl<'a> ImaPart<'a> {
    /// Replays the part onto what is `kept` of this host's list, or onto a new boot where `kept` is of an
    /// earlier one or absent. Work is bounded by the part's length, not by that of the list; when PCR 10 did
    /// not move, nothing is parsed.
    ///
    /// An error leaves [`ImaState::proven`] of what was kept.
    pub fn verify(
        &self,
        kept: Option<&ImaState>,
        quoted: &QuotedPcrs,
    ) -> Result<Replay<'a>, ImaError> {
        if self.bytes.len() > PART_MAX {
            return Err(ImaError::PartTooLarge(self.bytes.len()));
        }
        let start = match kept {
            Some(kept) if kept.is_of_boot(quoted) => *kept,
            // Bytes before the offset would be of a boot that is over.
            Some(_) if self.offset_bytes > 0 => return Err(ImaError::OtherBoot),
            _ => ImaState::before_boot(quoted),
        };
        start.continues_at(self.offset_bytes, self.bytes.len(), quoted)?;
        if start.value == quoted.pcr10() {
            return ReplayedIma::unmoved(&start).map(Replay::Proven);
        }
        let list = ImaList::parse_from(self.offset_bytes, self.bytes)?;
        match replay::find_prefix(&list, &start.tip(), quoted.pcr10())? {
            Found::Reached(prefix) => {
                ReplayedIma::reached(&list, &start, quoted, &prefix).map(Replay::Proven)
            }
            Found::Missed(tip) if self.more => self
                .unfinished(&list, &start, tip, quoted)
                .map(Replay::Unfinished),
            Found::Missed(tip) => Err(tip.missed(quoted.pcr10())),
        }
    }

    /// The state that goes on after this part, as far as a host may go without a proof.
    fn unfinished(
        &self,
        list: &ImaList<'a>,
        start: &ImaState,
        mut tip: ImaTip,
        quoted: &QuotedPcrs,
    ) -> Result<ImaState, ImaError> {
        if self.bytes.len() < PART_FULL {
            return Err(ImaError::PartTooSmall(self.bytes.len()));
        }
        let unproven = tip.offset_bytes.saturating_sub(start.offset_bytes);
        let unproven = usize::try_from(unproven).unwrap_or(usize::MAX);
        if unproven > LIST_MAX {
            return Err(ImaError::TooLarge(unproven));
        }
        if tip.entries.saturating_sub(start.entries) > ENTRIES_MAX {
            return Err(ImaError::TooManyEntries);
        }
        if tip.boot_aggregate.is_none() {
            tip.boot_aggregate = Some(replay::boot_aggregate(list, quoted)?);
        }
        Ok(ImaState {
            unproven: Some(tip),
            ..*start
        })
    }
}

impl ImaTip {
    /// The refusal of a list that ends here.
    pub(super) fn missed(&self, quoted: PcrDigest) -> ImaError {
        let replayed = self.template_hash.or(self.padded_sha1);
        ImaError::Replay {
            quoted,
            replayed: replayed.unwrap_or_else(|| PcrDigest::zero(quoted.bank())),
        }
    }
}

/// A list that was proven up to the quoted PCR 10, in the numbers that policy may see. Only a
/// [`ReplayedIma`] makes one.
///
/// Not established here: what the entries say, and everything that [`ReplayedIma`] leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenRuntime(ImaState);

impl From<&ReplayedIma<'_>> for ProvenRuntime {
    fn from(replayed: &ReplayedIma<'_>) -> Self {
        Self(*replayed.state())
    }
}

impl ProvenRuntime {
    /// Entries since the boot began.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.0.entries
    }

    /// Entries at which the kernel could not say what was read. Which files they name is not proven.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.0.violations
    }

    /// How the list is tied to the boot that was quoted.
    #[must_use]
    pub fn boot_aggregate(&self) -> BootAggregate {
        // There is none without entries, and without entries no proof.
        self.0.boot_aggregate.unwrap_or(BootAggregate::BankUnquoted)
    }

    /// What the kernel extends. [`Extension::PaddedSha1`] is only as strong as SHA-1.
    #[must_use]
    pub fn extension(&self) -> Extension {
        self.0.extension.unwrap_or(Extension::PaddedSha1)
    }
}
