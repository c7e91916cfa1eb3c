//! Bytes to events, of either form (PFP §10.2). Nothing that comes out is proven.

use super::bank::{Bank, BankDigest};
use super::spec_id::{Form, SIGNATURE};
use super::{Event, Notice, kind};
use crate::finding::Finding;
use crate::little_endian::LittleEndian;

/// Largest log that is read. Real logs are 10 to 80 KB; one with large option ROM lists stays below 1 MiB.
pub const LOG_MAX: usize = 1 << 20;
/// Most events. Real logs hold 50 to 300.
pub const EVENTS_MAX: usize = 8192;
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
    /// Crypto-agile events without the Spec ID that declares their banks.
    #[error("the log does not begin with a Spec ID event")]
    NoSpecId,
    /// A Spec ID event of an unknown version, with wrong or doubled banks, or of a wrong length.
    #[error("the Spec ID event is malformed")]
    SpecId,
    /// A second log begins inside this one.
    #[error("a second log begins at event {0}")]
    Glued(usize),
    /// An event has no digest, two of one bank, or one of a bank that is not declared.
    #[error("the digests of event {0} are not of declared banks, one of each")]
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
            Self::SpecId => "boot-log-spec-id-malformed",
            Self::Glued(_) => "boot-log-glued",
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
    banks: Vec<Bank>,
    pub(super) events: Vec<Event>,
    notices: Vec<Notice>,
    startup_locality: Option<u8>,
}

impl BootLog {
    /// Parses the whole of `bytes`; padding of only 0x00 or only 0xFF after the last event is allowed,
    /// since firmware hands out fixed-size buffers.
    ///
    /// # Errors
    /// The first thing that is not as PFP §10 says. Order and completeness of the events are looked at
    /// by [`BootLog::disorder`], since real logs that cannot pass can still be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, BootLogError> {
        if bytes.len() > LOG_MAX {
            return Err(BootLogError::TooLarge(bytes.len()));
        }
        let padding = padding(bytes);
        if padding == bytes.len() && padding != 0 {
            return Err(BootLogError::NoSpecId);
        }
        let mut reader = LittleEndian::new(bytes);
        let (form, first) = Form::read(&mut reader)?;
        let mut log = Self {
            banks: form.banks(),
            events: Vec::new(),
            notices: Vec::new(),
            startup_locality: None,
        };
        for number in first..=EVENTS_MAX {
            let rest = reader.rest();
            if rest.len() <= padding {
                return Ok(log);
            }
            RawEvent::read(&mut reader, &form, number)
                .and_then(|event| log.add(event, number))
                .map_err(|error| match holds_spec_id(rest) {
                    true => BootLogError::Glued(number),
                    false => error,
                })?;
        }
        Err(BootLogError::TooManyEvents)
    }

    /// The extended events in order: what a machine that booted so put into its PCRs.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The informational events in order, the Spec ID left out.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The banks that the log declares. A log of the old form has SHA-1 only.
    #[must_use]
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }

    /// The locality that PCR 0 starts from.
    #[must_use]
    pub fn startup_locality(&self) -> u8 {
        self.startup_locality.unwrap_or_default()
    }

    fn add(&mut self, event: RawEvent<'_>, number: usize) -> Result<(), BootLogError> {
        let pcr = u8::try_from(event.pcr).ok().filter(|pcr| *pcr < 24);
        let no_such_pcr = BootLogError::NoSuchPcr {
            event: number,
            pcr: event.pcr,
        };
        if event.kind != kind::NO_ACTION {
            self.events.push(Event {
                number,
                pcr: pcr.ok_or(no_such_pcr)?,
                untrusted_kind: event.kind,
                digests: event.digests,
                untrusted_data: event.data.to_vec(),
            });
            return Ok(());
        }
        // PFP §10.2.3: events that belong to no PCR name 0xFFFFFFFF.
        if pcr.is_none() && event.pcr != u32::MAX {
            return Err(no_such_pcr);
        }
        if event.data.starts_with(SIGNATURE) {
            return Err(BootLogError::Glued(number));
        }
        if let Some(locality) = event.data.strip_prefix(STARTUP_LOCALITY) {
            self.read_startup_locality(pcr, locality, number)?;
        }
        self.notices.push(Notice {
            number,
            untrusted_pcr: pcr,
            untrusted_data: event.data.to_vec(),
        });
        Ok(())
    }

    /// PFP §10.4.5.3: one event, for PCR 0, before anything is measured into it.
    fn read_startup_locality(
        &mut self,
        pcr: Option<u8>,
        locality: &[u8],
        number: usize,
    ) -> Result<(), BootLogError> {
        let misplaced = self.startup_locality.is_some()
            || pcr != Some(0)
            || self.events.iter().any(|earlier| earlier.pcr == 0);
        match locality {
            [locality @ (0 | 3 | 4)] if !misplaced => {
                self.startup_locality = Some(*locality);
                Ok(())
            }
            _ => Err(BootLogError::StartupLocality(number)),
        }
    }
}

/// `TCG_PCR_EVENT` or `TCG_PCR_EVENT2`.
struct RawEvent<'a> {
    pcr: u32,
    kind: u32,
    digests: Vec<BankDigest>,
    data: &'a [u8],
}

impl<'a> RawEvent<'a> {
    fn read(
        reader: &mut LittleEndian<'a>,
        form: &Form,
        number: usize,
    ) -> Result<Self, BootLogError> {
        let (Some(pcr), Some(kind)) = (reader.u32(), reader.u32()) else {
            return Err(BootLogError::Truncated);
        };
        let digests = match form {
            Form::Legacy => {
                let digest = reader.bytes(20).ok_or(BootLogError::Truncated)?;
                BankDigest::new(Bank::Sha1, digest).into_iter().collect()
            }
            Form::Agile(banks) => read_digests(reader, banks, number)?,
        };
        let data = reader.sized().ok_or(BootLogError::Truncated)?;
        Ok(Self {
            pcr,
            kind,
            digests,
            data,
        })
    }
}

/// A `TPML_DIGEST_VALUES` of declared banks, in any order. PFP §10.2.2 demands one of each; Windows
/// measures into one bank only, so which are there is asked where a bank is replayed.
fn read_digests(
    reader: &mut LittleEndian<'_>,
    banks: &[(Bank, usize)],
    number: usize,
) -> Result<Vec<BankDigest>, BootLogError> {
    let count = reader.length().ok_or(BootLogError::Truncated)?;
    if !(1..=banks.len()).contains(&count) {
        return Err(BootLogError::Digests(number));
    }
    let mut digests: Vec<BankDigest> = Vec::with_capacity(count);
    for _ in 0..count {
        let bank = Bank::of(reader.u16().ok_or(BootLogError::Truncated)?);
        let size = banks
            .iter()
            .find_map(|(declared, size)| (*declared == bank).then_some(*size))
            .filter(|_| digests.iter().all(|digest| digest.bank() != bank))
            .ok_or(BootLogError::Digests(number))?;
        let digest = reader.bytes(size).ok_or(BootLogError::Truncated)?;
        digests.extend(BankDigest::new(bank, digest));
    }
    Ok(digests)
}

/// How many equal bytes 0x00 or 0xFF the log ends with. Counted once: asked again after each event, a
/// log of zeros with one other byte at its end would cost time in the square of its length.
fn padding(bytes: &[u8]) -> usize {
    match bytes.last() {
        Some(pad @ (0x00 | 0xff)) => bytes.iter().rev().take_while(|byte| *byte == pad).count(),
        _ => 0,
    }
}

/// Looked for only where parsing fails: what follows may be another log, perhaps after padding.
fn holds_spec_id(rest: &[u8]) -> bool {
    rest.windows(SIGNATURE.len())
        .any(|window| window == SIGNATURE)
}

#[cfg(test)]
impl BootLog {
    /// The log with one event left out.
    pub(crate) fn without(mut self, at: usize) -> Self {
        self.events.remove(at);
        self
    }
}
