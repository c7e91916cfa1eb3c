//! The fold of a list into PCR 10 (`ima_pcr_extend` in `ima_queue.c`), and the boot aggregate
//! (`ima_calc_boot_aggregate` in `ima_crypto.c`). This is the hot path: nothing is allocated for an entry.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};

use super::entry::{DigestAlgorithm, Entry, Subject, Template, legacy_hashed};
use super::parse::{ImaError, ImaList, Record};
use super::state::{Bank, BootAggregate, Extension, ImaTip, PcrDigest, QuotedPcrs};
use crate::digest::Sha256Digest;

/// The part of a list that gives a PCR value.
pub(super) struct Prefix<'a> {
    pub(super) proven: &'a [u8],
    pub(super) entries: u64,
    pub(super) violations: u64,
    pub(super) extension: Extension,
}

/// What replay onto a tip came to.
pub(super) enum Found<'a> {
    /// The quoted value, after these entries.
    Reached(Prefix<'a>),
    /// Another one, after the whole list.
    Missed(ImaTip),
}

/// Finds the prefix of `list` that takes PCR 10 from `start` to `quoted`.
pub(super) fn find_prefix<'a>(
    list: &ImaList<'a>,
    start: &ImaTip,
    quoted: PcrDigest,
) -> Result<Found<'a>, ImaError> {
    let (mut start, mut after) = (*start, *start);
    // The entries are checked by the first pass.
    let mut check = true;
    for extension in [Extension::TemplateHash, Extension::PaddedSha1] {
        let Some(value) = *start.value(extension) else {
            continue;
        };
        match fold(list, value, quoted, extension, check)? {
            Fold::Reached(prefix) => return Ok(Found::Reached(prefix)),
            Fold::Missed {
                value,
                entries,
                violations,
            } => {
                *after.value(extension) = Some(value);
                after.entries = start.entries.saturating_add(entries);
                after.violations = start.violations.saturating_add(violations);
            }
        }
        check = false;
    }
    after.offset_bytes = start.offset_bytes.saturating_add(list.length_bytes());
    Ok(Found::Missed(after))
}

enum Fold<'a> {
    Reached(Prefix<'a>),
    Missed {
        /// What the whole list comes to.
        value: PcrDigest,
        entries: u64,
        violations: u64,
    },
}

fn fold<'a>(
    list: &ImaList<'a>,
    mut value: PcrDigest,
    quoted: PcrDigest,
    extension: Extension,
    check: bool,
) -> Result<Fold<'a>, ImaError> {
    let mut records = list.records();
    let total = records.bytes_left();
    let (mut entries, mut violations) = (0_u64, 0_u64);
    while let Some(record) = records.next() {
        let record = record?;
        let legacy;
        let hashed = if record.template == Template::Ima {
            legacy = legacy_hashed(record.data).ok_or(ImaError::Path(record.number))?;
            &legacy[..]
        } else {
            record.data
        };
        if check {
            check_record(&record, hashed)?;
        }
        value = extend(value, &record, hashed, extension);
        entries = entries.saturating_add(1);
        violations = violations.saturating_add(u64::from(record.is_violation()));
        if value == quoted {
            return Ok(Fold::Reached(Prefix {
                proven: list.prefix(total.saturating_sub(records.bytes_left())),
                entries,
                violations,
                extension,
            }));
        }
    }
    Ok(Fold::Missed {
        value,
        entries,
        violations,
    })
}

fn check_record(record: &Record<'_>, hashed: &[u8]) -> Result<(), ImaError> {
    if record.is_violation() {
        return Ok(());
    }
    if sha1(hashed) != *record.template_hash {
        return Err(ImaError::TemplateHash(record.number));
    }
    // Only these two have the same fields.
    let ambiguous = matches!(record.template, Template::Sig | Template::Buf);
    if ambiguous && !record.entry()?.bears_out(record.template) {
        return Err(ImaError::Relabelled(record.number));
    }
    Ok(())
}

/// PCR 10 after one more record.
fn extend(value: PcrDigest, record: &Record<'_>, hashed: &[u8], extension: Extension) -> PcrDigest {
    match value {
        PcrDigest::Sha1(value) => {
            let measured = if record.is_violation() {
                &[0xff; 20]
            } else {
                record.template_hash
            };
            let mut both = [0; 40];
            let (front, rest) = both.split_at_mut(20);
            front.copy_from_slice(&value);
            rest.copy_from_slice(measured);
            PcrDigest::Sha1(sha1(&both))
        }
        PcrDigest::Sha256(value) => {
            PcrDigest::Sha256(value.extend(&measured_sha256(record, hashed, extension)))
        }
    }
}

/// What the kernel extends into the SHA-256 bank. Violations extend all ones (`ima_init_digests`).
fn measured_sha256(record: &Record<'_>, hashed: &[u8], extension: Extension) -> [u8; 32] {
    match extension {
        _ if record.is_violation() => [0xff; 32],
        Extension::TemplateHash => Sha256Digest::of(hashed).0,
        Extension::PaddedSha1 => {
            let mut padded = [0; 32];
            for (to, from) in padded.iter_mut().zip(record.template_hash) {
                *to = *from;
            }
            padded
        }
    }
}

/// What a kernel since 5.8 extended into the SHA-256 bank for `record`.
pub(super) fn extended_sha256(record: &Record<'_>) -> Option<Sha256Digest> {
    let legacy;
    let hashed = if record.template == Template::Ima {
        legacy = legacy_hashed(record.data)?;
        &legacy[..]
    } else {
        record.data
    };
    Some(Sha256Digest(measured_sha256(
        record,
        hashed,
        Extension::TemplateHash,
    )))
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut hash = [0; 20];
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}

/// Compares the first entry of a boot with the quoted PCRs. SHA-1 is over PCRs 0 to 7; other hashes
/// over 0 to 9 since Linux 5.8, and over 0 to 7 on kernels that took only half of that change.
pub(super) fn boot_aggregate(
    list: &ImaList<'_>,
    quoted: &QuotedPcrs,
) -> Result<BootAggregate, ImaError> {
    let first = list.records().next().ok_or(ImaError::NoBootAggregate)??;
    let Entry::Measured(first) = first.entry()? else {
        return Err(ImaError::NoBootAggregate);
    };
    if first.subject != Subject::BootAggregate {
        return Err(ImaError::NoBootAggregate);
    }
    let bank = quoted.pcr10().bank();
    match (first.algorithm, bank) {
        (DigestAlgorithm::Sha1, Bank::Sha1) | (DigestAlgorithm::Sha256, Bank::Sha256) => {}
        _ => return Ok(BootAggregate::BankUnquoted),
    }
    let to_7 = aggregate(bank, quoted.boot().get(..8).unwrap_or_default());
    let to_9 = aggregate(bank, quoted.boot());
    if first.digest == to_7.as_bytes() {
        return Ok(BootAggregate::PcrsTo7);
    }
    if first.digest == to_9.as_bytes() && bank != Bank::Sha1 {
        return Ok(BootAggregate::PcrsTo9);
    }
    let (expected, observed) = match bank {
        Bank::Sha1 => (to_7, first.digest.try_into().map(PcrDigest::Sha1).ok()),
        Bank::Sha256 => (to_9, first.digest.try_into().map(PcrDigest::Sha256).ok()),
    };
    Err(ImaError::BootAggregate {
        expected,
        observed: observed.unwrap_or_else(|| PcrDigest::zero(bank)),
    })
}

fn aggregate(bank: Bank, pcrs: &[PcrDigest]) -> PcrDigest {
    let parts: Vec<&[u8]> = pcrs.iter().map(PcrDigest::as_bytes).collect();
    match bank {
        Bank::Sha1 => PcrDigest::Sha1(sha1(&parts.concat())),
        Bank::Sha256 => PcrDigest::Sha256(Sha256Digest::of_parts(&parts)),
    }
}
