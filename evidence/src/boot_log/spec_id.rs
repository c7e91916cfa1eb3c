//! Which of the two forms a log has, from its first event: crypto-agile (PFP §10.2.2), announced by a
//! Spec ID Event03, or SHA-1 only (PFP §10.2.1; TCG EFI Platform §7), with another Spec ID or none.

use super::bank::Bank;
use super::kind;
use super::parse::BootLogError;
use crate::little_endian::LittleEndian;

/// What every Spec ID event begins with, up to its version; PFP §10.4.5.1.
pub(super) const SIGNATURE: &[u8] = b"Spec ID Event";
const AGILE: &[u8] = b"Spec ID Event03\0";
/// Of conventional BIOS and of TCG EFI Platform 1.2.
const LEGACY: [&[u8]; 2] = [b"Spec ID Event00\0", b"Spec ID Event02\0"];
/// Most banks: TPM 2.0 knows fewer hash algorithms than this.
const BANKS_MAX: u32 = 16;
const DIGEST_MAX: usize = 64;

/// How the events after the first are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `TCG_PCR_EVENT`: one SHA-1 digest.
    Legacy,
    /// `TCG_PCR_EVENT2`: digests of these banks, each with its size.
    Agile(Vec<(Bank, usize)>),
}

impl Form {
    /// Reads the Spec ID event if there is one. Returns the number of the next event as well.
    pub(super) fn read(reader: &mut LittleEndian<'_>) -> Result<(Self, usize), BootLogError> {
        let mut first = reader.clone();
        let head = (first.u32(), first.u32(), first.array::<20>());
        let (Some(pcr), Some(event_kind), Some(_digest)) = head else {
            return Err(BootLogError::Truncated);
        };
        let data = first.sized().ok_or(BootLogError::Truncated);
        if !data.as_ref().is_ok_and(|data| data.starts_with(SIGNATURE)) {
            // Agile events without their Spec ID, or after something else in its place.
            return match looks_agile(reader) || looks_agile(&first) {
                true => Err(BootLogError::NoSpecId),
                false => data.map(|_| (Self::Legacy, 0)),
            };
        }
        let data = data?;
        if pcr != 0 || event_kind != kind::NO_ACTION {
            return Err(BootLogError::SpecId);
        }
        *reader = first;
        if LEGACY.iter().any(|signature| data.starts_with(signature)) {
            return Ok((Self::Legacy, 1));
        }
        read_banks(data).map(|banks| (Self::Agile(banks), 1))
    }

    /// The banks that an event can have a digest of.
    pub(super) fn banks(&self) -> Vec<Bank> {
        match self {
            Self::Legacy => vec![Bank::Sha1],
            Self::Agile(banks) => banks.iter().map(|(bank, _)| *bank).collect(),
        }
    }
}

/// A `TCG_EfiSpecIdEvent`: banks, then vendor info to the end.
fn read_banks(data: &[u8]) -> Result<Vec<(Bank, usize)>, BootLogError> {
    let malformed = || BootLogError::SpecId;
    let mut spec = LittleEndian::new(data.strip_prefix(AGILE).ok_or_else(malformed)?);
    // Platform class, versions, errata and the size of UINTN.
    spec.bytes(8).ok_or_else(malformed)?;
    let count = spec.u32().ok_or_else(malformed)?;
    if !(1..=BANKS_MAX).contains(&count) {
        return Err(BootLogError::SpecId);
    }
    let mut banks: Vec<(Bank, usize)> = Vec::new();
    for _ in 0..count {
        let bank = Bank::of(spec.u16().ok_or_else(malformed)?);
        let size = usize::from(spec.u16().ok_or_else(malformed)?);
        let wrong = match bank.digest_size() {
            Some(right) => size != right,
            None => !(1..=DIGEST_MAX).contains(&size),
        };
        if wrong || banks.iter().any(|(other, _)| *other == bank) {
            return Err(BootLogError::SpecId);
        }
        banks.push((bank, size));
    }
    let vendor_size = usize::from(spec.u8().ok_or_else(malformed)?);
    spec.bytes(vendor_size).ok_or_else(malformed)?;
    if !spec.rest().is_empty() {
        return Err(BootLogError::SpecId);
    }
    Ok(banks)
}

/// Whether the next event has the crypto-agile layout: a small number of digests, the first of a known
/// algorithm. As the beginning of a SHA-1 digest that happens once in 2^40 logs.
fn looks_agile(reader: &LittleEndian<'_>) -> bool {
    let mut event = reader.clone();
    let mut look = || {
        event.bytes(8)?;
        let count = event.u32()?;
        let bank = Bank::of(event.u16()?);
        Some((1..=BANKS_MAX).contains(&count) && bank.digest_size().is_some())
    };
    look().unwrap_or(false)
}
