//! Bytes to events, crypto-agile form (PFP §10.2.2), and the fold of their digests.

use std::collections::BTreeMap;

use super::read::LittleEndian;
use super::{Event, kind};
use crate::digest::Sha256Digest;
use crate::finding::Finding;

/// Largest log that is read. Real logs are 10 to 80 KB; a log with large option ROM lists stays below 1 MiB.
pub const LOG_MAX: usize = 1 << 20;
/// Most events. Real logs hold 50 to 300.
const EVENTS_MAX: usize = 8192;
/// Most banks: TPM 2.0 knows fewer hash algorithms than this.
const BANKS_MAX: u32 = 16;
const ALG_SHA256: u16 = 0x000b;
const SPEC_ID_SIGNATURE: &[u8] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";

/// Bytes that are not an event log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootLogError {
    /// More than [`LOG_MAX`] bytes.
    #[error("the log has {0} bytes; at most {LOG_MAX} are read")]
    TooLarge(usize),
    /// A field reaches past the end.
    #[error("the log ends inside an event")]
    Truncated,
    /// More events than any firmware writes.
    #[error("the log has more than {EVENTS_MAX} events")]
    TooManyEvents,
    /// The first event is not a Spec ID event of the crypto-agile form.
    #[error("the log does not begin with a Spec ID Event03")]
    NoSpecId,
    /// The log declares no SHA-256 bank.
    #[error("the log has no SHA-256 digests")]
    NoSha256,
    /// Digests of an event are not exactly those of the declared banks.
    #[error("event {0} does not carry one digest of each declared bank")]
    Digests(usize),
    /// A PCR that does not exist.
    #[error("event {event} names PCR {pcr}")]
    NoSuchPcr {
        /// Position in the log.
        event: usize,
        /// The number.
        pcr: u32,
    },
    /// StartupLocality twice, late, for another PCR or with a locality that cannot start a TPM.
    #[error("event {0} is a misplaced or malformed StartupLocality")]
    StartupLocality(usize),
}

impl BootLogError {
    /// The error as a finding.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let code = match self {
            Self::TooLarge(_) => "boot-log-too-large",
            Self::Truncated => "boot-log-truncated",
            Self::TooManyEvents => "boot-log-too-many-events",
            Self::NoSpecId => "boot-log-spec-id-missing",
            Self::NoSha256 => "boot-log-bank-missing",
            Self::Digests(_) => "boot-log-digests-malformed",
            Self::NoSuchPcr { .. } => "boot-log-pcr-unknown",
            Self::StartupLocality(_) => "boot-log-startup-locality",
        };
        Finding::new(code).observed(self)
    }
}

/// A parsed log. Nothing in it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootLog {
    events: Vec<Event>,
    startup_locality: u8,
}

impl BootLog {
    /// Parses the whole of `bytes`; padding of only 0x00 or only 0xFF after the last event is allowed,
    /// since firmware hands out fixed-size buffers.
    pub fn parse(bytes: &[u8]) -> Result<Self, BootLogError> {
        if bytes.len() > LOG_MAX {
            return Err(BootLogError::TooLarge(bytes.len()));
        }
        let mut reader = LittleEndian::new(bytes);
        let banks = read_spec_id(&mut reader)?;
        let mut log = Self {
            events: Vec::new(),
            startup_locality: 0,
        };
        let mut locality_seen = false;
        for number in 1.. {
            if is_padding(reader.rest()) {
                return Ok(log);
            }
            if number > EVENTS_MAX {
                break;
            }
            let (pcr, event) = read_event(&mut reader, &banks, number)?;
            if event.untrusted_kind == kind::NO_ACTION {
                if event.untrusted_data.starts_with(STARTUP_LOCALITY) {
                    log.read_startup_locality(pcr, &event, locality_seen)?;
                    locality_seen = true;
                }
                continue;
            }
            log.events.push(event);
        }
        Err(BootLogError::TooManyEvents)
    }

    /// The extended events in order: what a machine that booted so put into its PCRs.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The locality that PCR 0 starts from.
    #[must_use]
    pub fn startup_locality(&self) -> u8 {
        self.startup_locality
    }

    /// What the digests make of each PCR that has events.
    #[must_use]
    pub fn replay(&self) -> BTreeMap<u8, Sha256Digest> {
        let mut values = BTreeMap::new();
        let mut start = [0; 32];
        start[31] = self.startup_locality;
        values.insert(0, Sha256Digest(start));
        for event in &self.events {
            let value = values.entry(event.pcr).or_insert(Sha256Digest::ZERO);
            *value = value.extend(&event.digest.0);
        }
        values
    }

    pub(super) fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// PFP §10.4.5.3: one event, for PCR 0, before anything is measured into it.
    fn read_startup_locality(
        &mut self,
        pcr: u32,
        event: &Event,
        seen: bool,
    ) -> Result<(), BootLogError> {
        let misplaced = seen || pcr != 0 || self.events.iter().any(|earlier| earlier.pcr == 0);
        match event.untrusted_data.strip_prefix(STARTUP_LOCALITY) {
            Some(&[locality @ (0 | 3 | 4)]) if !misplaced => {
                self.startup_locality = locality;
                Ok(())
            }
            _ => Err(BootLogError::StartupLocality(event.number)),
        }
    }
}

/// The first event, in the SHA-1 form: a `TCG_EfiSpecIdEvent` (PFP §10.4.5.1). Returns each bank's
/// algorithm and digest size.
fn read_spec_id(reader: &mut LittleEndian<'_>) -> Result<Vec<(u16, usize)>, BootLogError> {
    let (pcr, event_kind) = (reader.u32()?, reader.u32()?);
    let _unused_digest = reader.bytes(20)?;
    let data = reader.sized()?;
    if pcr != 0 || event_kind != kind::NO_ACTION || !data.starts_with(SPEC_ID_SIGNATURE) {
        return Err(BootLogError::NoSpecId);
    }
    let mut spec = LittleEndian::new(data);
    // Signature, platform class, versions, errata and the size of UINTN.
    spec.bytes(24)?;
    let count = spec.u32()?;
    if !(1..=BANKS_MAX).contains(&count) {
        return Err(BootLogError::NoSpecId);
    }
    let mut banks = Vec::new();
    for _ in 0..count {
        let algorithm = spec.u16()?;
        let size = usize::from(spec.u16()?);
        if size == 0 || size > 64 || banks.iter().any(|(other, _)| *other == algorithm) {
            return Err(BootLogError::NoSpecId);
        }
        banks.push((algorithm, size));
    }
    let vendor_size = usize::from(spec.u8()?);
    spec.bytes(vendor_size)?;
    if !banks.contains(&(ALG_SHA256, 32)) {
        return Err(BootLogError::NoSha256);
    }
    Ok(banks)
}

/// A `TCG_PCR_EVENT2`. The PCR is given apart too, since NO_ACTION events may name none.
fn read_event(
    reader: &mut LittleEndian<'_>,
    banks: &[(u16, usize)],
    number: usize,
) -> Result<(u32, Event), BootLogError> {
    let pcr = reader.u32()?;
    let untrusted_kind = reader.u32()?;
    let count = usize::try_from(reader.u32()?).map_err(|_| BootLogError::Digests(number))?;
    if count != banks.len() {
        return Err(BootLogError::Digests(number));
    }
    let mut left = banks.to_vec();
    let mut sha256 = None;
    for _ in 0..count {
        let algorithm = reader.u16()?;
        let at = left
            .iter()
            .position(|(bank, _)| *bank == algorithm)
            .ok_or(BootLogError::Digests(number))?;
        let (_, size) = left.swap_remove(at);
        let digest = reader.bytes(size)?;
        if algorithm == ALG_SHA256 {
            sha256 = Sha256Digest::try_from(digest).ok();
        }
    }
    let event = Event {
        number,
        pcr: match u8::try_from(pcr) {
            Ok(index) if index < 24 => index,
            // PFP §10.2.3: some NO_ACTION events name PCR 0xFFFFFFFF; they are never extended.
            _ if untrusted_kind == kind::NO_ACTION => 0,
            _ => return Err(BootLogError::NoSuchPcr { event: number, pcr }),
        },
        untrusted_kind,
        digest: sha256.ok_or(BootLogError::Digests(number))?,
        untrusted_data: reader.sized()?.to_vec(),
    };
    Ok((pcr, event))
}

fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0) || rest.iter().all(|byte| *byte == 0xff)
}

#[cfg(test)]
impl BootLog {
    /// The log with one event left out.
    pub(crate) fn without(mut self, at: usize) -> Self {
        self.events.remove(at);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Vec<u8> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tpm-sim/profiles/shim_sb/bios.bin"
        );
        std::fs::read(path).unwrap()
    }

    /// An event of the SHA-256 bank.
    fn event(pcr: u32, kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(pcr.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(ALG_SHA256.to_le_bytes());
        bytes.extend([0; 32]);
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(data);
        bytes
    }

    /// The Spec ID event of our own boots: 32 bytes of header, 33 of data.
    fn header() -> Vec<u8> {
        recorded()[..65].to_vec()
    }

    fn locality(value: u8) -> Vec<u8> {
        event(0, kind::NO_ACTION, &[STARTUP_LOCALITY, &[value]].concat())
    }

    #[test]
    fn a_cut_log_is_at_most_a_shorter_log() {
        let bytes = recorded();
        let whole = BootLog::parse(&bytes).unwrap();
        let mut parsed = 0;
        for length in 0..bytes.len() {
            // Between events, or after zeros of the next one that look like padding. Replay catches both.
            if let Ok(cut) = BootLog::parse(&bytes[..length]) {
                assert!(cut.events.len() < whole.events.len());
                assert!(whole.events.starts_with(&cut.events));
                parsed += 1;
            }
        }
        assert!(parsed < 2 * whole.events.len());
    }

    #[test]
    fn padding_is_of_one_kind() {
        for pad in [0u8, 0xff] {
            let padded = [recorded(), vec![pad; 999]].concat();
            assert_eq!(BootLog::parse(&padded), BootLog::parse(&recorded()));
        }
        let mixed = [recorded(), vec![0xff; 99], vec![1; 99]].concat();
        assert!(BootLog::parse(&mixed).is_err());
    }

    #[test]
    fn the_startup_locality_begins_pcr_0_once_and_first() {
        let log = |parts: &[Vec<u8>]| BootLog::parse(&[header(), parts.concat()].concat());
        let separator = event(0, 4, &[0; 4]);
        let started = log(&[locality(3), separator.clone()]).unwrap();
        assert_eq!(started.startup_locality(), 3);
        let without = log(std::slice::from_ref(&separator)).unwrap();
        assert_ne!(started.replay()[&0], without.replay()[&0]);
        let elsewhere = event(1, kind::NO_ACTION, &[STARTUP_LOCALITY, &[3]].concat());
        for wrong in [
            vec![locality(3), locality(3)],
            vec![separator, locality(3)],
            vec![locality(1)],
            vec![elsewhere],
        ] {
            assert!(matches!(log(&wrong), Err(BootLogError::StartupLocality(_))));
        }
    }

    #[test]
    fn work_is_bounded() {
        assert_eq!(
            BootLog::parse(&vec![0; LOG_MAX + 1]),
            Err(BootLogError::TooLarge(LOG_MAX + 1))
        );
        let many = [header(), event(0, 4, &[]).repeat(EVENTS_MAX + 1)].concat();
        assert_eq!(BootLog::parse(&many), Err(BootLogError::TooManyEvents));
        let mut huge = event(0, 4, &[]);
        let length = huge.len();
        huge[length - 4..].fill(0xff);
        let huge = [header(), huge].concat();
        assert_eq!(BootLog::parse(&huge), Err(BootLogError::Truncated));
        let unknown = [header(), event(24, 4, &[])].concat();
        assert_eq!(
            BootLog::parse(&unknown),
            Err(BootLogError::NoSuchPcr { event: 1, pcr: 24 })
        );
        assert_eq!(BootLog::parse(b""), Err(BootLogError::Truncated));
    }

    #[test]
    fn the_first_event_declares_the_banks() {
        let parse = |change: fn(&mut Vec<u8>)| {
            let mut bytes = header();
            change(&mut bytes);
            BootLog::parse(&bytes).map(drop)
        };
        assert_eq!(parse(|_| ()), Ok(()));
        // PCR, type and signature; then SHA-1 as the only bank.
        assert_eq!(parse(|log| log[0] = 1), Err(BootLogError::NoSpecId));
        assert_eq!(parse(|log| log[4] = 4), Err(BootLogError::NoSpecId));
        assert_eq!(parse(|log| log[32] = 0), Err(BootLogError::NoSpecId));
        assert_eq!(
            parse(|log| log[60..64].copy_from_slice(&[4, 0, 20, 0])),
            Err(BootLogError::NoSha256)
        );
    }
}
