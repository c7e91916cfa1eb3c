//! Bytes to records: the form of `binary_runtime_measurements` (`ima_measurements_show` in
//! `ima_fs.c`), and everything that can be wrong with a list.

use super::IMA_PCR;
use super::entry::{Entry, PATH_MAX, TEMPLATE_DATA_MAX, Template};
use super::replay::extended_sha256;
use super::state::PcrDigest;
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::little_endian::LittleEndian;

/// Largest list that is read: 64 MiB, half a million entries of the usual length.
pub const LIST_MAX: usize = 1 << 26;
/// Most entries. A busy server gathers 10,000 to 100,000 between boots.
pub const ENTRIES_MAX: u64 = 1_000_000;
/// Most bytes of a list in one message: 7,000 to 10,000 entries of the usual length.
pub const PART_MAX: usize = 1 << 20;
/// Fewest bytes of a part that leaves the rest for later: no entry fits any more into a part that has as
/// many, so that a host cannot put off the end of its list at will.
pub const PART_FULL: usize = PART_MAX - (TEMPLATE_DATA_MAX + TEMPLATE_NAME_MAX + 32);
/// Longest template name that is looked at; the longest format string of the kernel has 79 bytes.
const TEMPLATE_NAME_MAX: usize = 255;

/// A list that is not one, or is not the history of the quoted PCR. Entries are numbered from 0
/// within the bytes given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImaError {
    /// More than [`LIST_MAX`] bytes.
    #[error("the list has {0} bytes; at most {LIST_MAX} are read")]
    TooLarge(usize),
    /// More than [`ENTRIES_MAX`] entries.
    #[error("the list has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// The last entry reaches past the end.
    #[error("the list ends inside entry {0}")]
    Truncated(u64),
    /// The record names another PCR than 10 (policy rules with `pcr=`). No quote of PCR 10 covers it.
    #[error("entry {entry} is for PCR {pcr}")]
    ForeignPcr {
        /// Which entry.
        entry: u64,
        /// The PCR.
        pcr: u32,
    },
    /// A template that is not known, or a custom format.
    #[error("entry {entry} has the unknown template `{name}`")]
    UnknownTemplate {
        /// Which entry.
        entry: u64,
        /// Its template, escaped.
        name: String,
    },
    /// Template data larger than [`TEMPLATE_DATA_MAX`].
    #[error(
        "entry {entry} has {length} bytes of template data; at most {TEMPLATE_DATA_MAX} are read"
    )]
    TemplateTooLarge {
        /// Which entry.
        entry: u64,
        /// The length.
        length: usize,
    },
    /// Template data that is not of its template's fields.
    #[error("the template data of entry {0} is not what its template says")]
    TemplateData(u64),
    /// A digest of an algorithm that is not recomputed here, MD5 among them.
    #[error("entry {0} has a digest of an unknown algorithm")]
    DigestAlgorithm(u64),
    /// A path that is not one string that ends with its only NUL, or is longer than [`PATH_MAX`].
    #[error("the path of entry {0} is not one C string of at most {PATH_MAX} bytes")]
    Path(u64),
    /// The record's template hash is not that of its data.
    #[error("the template hash of entry {0} is not that of its data")]
    TemplateHash(u64),
    /// A file's record under a buffer's template, or the reverse: the two differ only in the
    /// template's name, which no hash covers.
    #[error("entry {0} is a file under the template of a buffer, or the reverse")]
    Relabelled(u64),
    /// The list of a boot begins with something else than `boot_aggregate`.
    #[error("the list does not begin with a boot aggregate")]
    NoBootAggregate,
    /// The boot aggregate is not over the quoted PCRs.
    #[error("the boot aggregate is not that of the quoted PCRs")]
    BootAggregate {
        /// Over the quoted PCRs 0 to 9 (SHA-1: 0 to 7).
        expected: PcrDigest,
        /// In the list.
        observed: PcrDigest,
    },
    /// The list begins after the place where the last one left off: entries are kept back.
    #[error("the list begins at byte {observed}, not {expected}: entries are left out")]
    Ahead {
        /// Where the last one left off.
        expected: u64,
        /// Where this one begins.
        observed: u64,
    },
    /// The list begins before the place where the last one left off.
    #[error("the list begins at byte {observed}, not {expected}: entries come again")]
    Behind {
        /// Where the last one left off.
        expected: u64,
        /// Where this one begins.
        observed: u64,
    },
    /// The list ends before the place where the last one left off: a kernel's list only grows.
    #[error("the list ends at byte {observed} and was {expected} bytes long before")]
    Shortened {
        /// How long it was.
        expected: u64,
        /// Where it ends now.
        observed: u64,
    },
    /// More than [`PART_MAX`] bytes in one message.
    #[error("the part of the list has {0} bytes; at most {PART_MAX} are read at once")]
    PartTooLarge(usize),
    /// A part that leaves others for later, though it has room for another entry.
    #[error("the part of the list has {0} bytes and claims to be full, which takes {PART_FULL}")]
    PartTooSmall(usize),
    /// The state to continue is of another boot of the TPM: the whole list is needed.
    #[error("the list continues one of another boot")]
    OtherBoot,
    /// The state to continue is of another PCR bank.
    #[error("the list continues one of another bank")]
    OtherBank,
    /// The quote lacks a PCR that is needed.
    #[error("PCR {0} is not quoted")]
    Unquoted(u8),
    /// PCR 10 is still zero.
    #[error("nothing was measured into PCR {IMA_PCR}")]
    NothingMeasured,
    /// No prefix of the list gives the quoted value.
    #[error("no prefix of the list reproduces the quoted PCR {IMA_PCR}")]
    Replay {
        /// What the TPM quoted.
        quoted: PcrDigest,
        /// What the whole list makes of it.
        replayed: PcrDigest,
    },
}

impl ImaError {
    /// The error as a finding.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let code = match self {
            Self::TooLarge(_) => "ima-list-too-large",
            Self::TooManyEntries => "ima-list-too-many-entries",
            Self::Truncated(_) => "ima-list-truncated",
            Self::ForeignPcr { .. } => "ima-pcr-unexpected",
            Self::UnknownTemplate { .. } => "ima-template-unknown",
            Self::TemplateTooLarge { .. } => "ima-template-data-too-large",
            Self::TemplateData(_) => "ima-template-data-malformed",
            Self::DigestAlgorithm(_) => "ima-digest-algorithm-unknown",
            Self::Path(_) => "ima-path-malformed",
            Self::TemplateHash(_) => "ima-template-hash-mismatch",
            Self::Relabelled(_) => "ima-template-relabelled",
            Self::NoBootAggregate => "ima-boot-aggregate-missing",
            Self::BootAggregate { .. } => "ima-boot-aggregate-mismatch",
            Self::Ahead { .. } => "ima-offset-ahead",
            Self::Behind { .. } => "ima-offset-behind",
            Self::Shortened { .. } => "ima-list-shortened",
            Self::PartTooLarge(_) => "ima-part-too-large",
            Self::PartTooSmall(_) => "ima-part-too-small",
            Self::OtherBoot => "ima-offset-other-boot",
            Self::OtherBank => "ima-bank-mismatch",
            Self::Unquoted(_) => "ima-pcr-unquoted",
            Self::NothingMeasured => "ima-nothing-measured",
            Self::Replay { .. } => "ima-replay-mismatch",
        };
        let finding = Finding::new(code);
        match self {
            Self::BootAggregate { expected, observed } => {
                finding.expected(expected).observed(observed)
            }
            Self::Ahead { expected, observed }
            | Self::Behind { expected, observed }
            | Self::Shortened { expected, observed } => {
                finding.expected(expected).observed(observed)
            }
            Self::Replay { quoted, replayed } => finding
                .about(format_args!("PCR {IMA_PCR}"))
                .expected(replayed)
                .observed(quoted),
            other => finding.observed(other),
        }
    }
}

/// A parsed list, or the rest of one from an offset. Nothing in it is proven.
#[derive(Clone, Copy, Debug)]
pub struct ImaList<'a> {
    bytes: &'a [u8],
    offset_bytes: u64,
}

impl<'a> ImaList<'a> {
    /// Parses the whole of `bytes`, a list from its beginning.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImaError> {
        Self::parse_from(0, bytes)
    }

    /// Parses the whole of `bytes`, which stood in the list from `offset_bytes` on. Every record is
    /// looked at and none is kept: there is nothing to allocate.
    pub fn parse_from(offset_bytes: u64, bytes: &'a [u8]) -> Result<Self, ImaError> {
        if bytes.len() > LIST_MAX {
            return Err(ImaError::TooLarge(bytes.len()));
        }
        for record in Records::new(bytes, offset_bytes == 0) {
            let record = record?;
            if record.number >= ENTRIES_MAX {
                return Err(ImaError::TooManyEntries);
            }
            record.entry()?;
        }
        Ok(Self {
            bytes,
            offset_bytes,
        })
    }

    /// Where in the kernel's list the first byte stood, as the sender says.
    #[must_use]
    pub fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// The entries, none of them proven.
    pub fn untrusted_entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        self.records().map_while(|record| record.ok()?.entry().ok())
    }

    /// The name of each entry's template; no hash covers it.
    pub fn untrusted_templates(&self) -> impl Iterator<Item = &'static str> + use<'a> {
        self.records()
            .map_while(|record| Some(record.ok()?.template.name()))
    }

    pub(super) fn records(&self) -> Records<'a> {
        Records::new(self.bytes, self.offset_bytes == 0)
    }

    /// What a kernel since Linux 5.8 extended into the SHA-256 bank for each entry, if it is as the list
    /// says: to measure a recorded list into a TPM again.
    pub fn untrusted_extends(&self) -> impl Iterator<Item = Sha256Digest> + use<'a> {
        self.records()
            .map_while(|record| extended_sha256(&record.ok()?))
    }

    pub(super) fn length_bytes(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// The list's first `count` bytes.
    pub(super) fn prefix(&self, count: usize) -> &'a [u8] {
        self.bytes.get(..count).unwrap_or(self.bytes)
    }
}

/// How many bytes at the beginning of `bytes` are whole entries: where a list may be cut. It stops at
/// what it does not know.
#[must_use]
pub fn whole_entries(bytes: &[u8]) -> usize {
    let mut records = Records::new(bytes, false);
    let mut whole = 0;
    while let Some(Ok(_)) = records.next() {
        whole = bytes.len().saturating_sub(records.bytes_left());
    }
    whole
}

/// One record as it stands in the list.
pub(super) struct Record<'a> {
    /// Position in the bytes given.
    pub(super) number: u64,
    /// Whether it is the first of a boot.
    pub(super) begins_boot: bool,
    /// SHA-1 of the template data; zero for a violation.
    pub(super) template_hash: &'a [u8; 20],
    pub(super) template: Template,
    /// The fields; for [`Template::Ima`], digest, length and name.
    pub(super) data: &'a [u8],
}

impl<'a> Record<'a> {
    /// Whether the kernel gave up on measuring (open for writing while measured) and spoilt the PCR.
    pub(super) fn is_violation(&self) -> bool {
        *self.template_hash == [0; 20]
    }

    /// Looks at the fields.
    pub(super) fn entry(&self) -> Result<Entry<'a>, ImaError> {
        Entry::of(self)
    }
}

/// Walks the records.
pub(super) struct Records<'a> {
    reader: LittleEndian<'a>,
    number: u64,
    begins_boot: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(bytes: &'a [u8], begins_boot: bool) -> Self {
        Self {
            reader: LittleEndian::new(bytes),
            number: 0,
            begins_boot,
        }
    }

    /// How many bytes are still to come.
    pub(super) fn bytes_left(&self) -> usize {
        self.reader.rest().len()
    }

    fn read(&mut self) -> Result<Record<'a>, ImaError> {
        let number = self.number;
        let cut = ImaError::Truncated(number);
        let (Some(pcr), Some(template_hash), Some(name_length)) = (
            self.reader.u32(),
            self.reader.array::<20>(),
            self.reader.length(),
        ) else {
            return Err(cut);
        };
        if pcr != u32::from(IMA_PCR) {
            return Err(ImaError::ForeignPcr { entry: number, pcr });
        }
        let unknown = |name| ImaError::UnknownTemplate {
            entry: number,
            name,
        };
        if name_length > TEMPLATE_NAME_MAX {
            return Err(unknown(format!("{name_length} bytes")));
        }
        let Some(name) = self.reader.bytes(name_length) else {
            return Err(cut);
        };
        let template =
            Template::named(name).ok_or_else(|| unknown(name.escape_ascii().to_string()))?;
        let data = match template {
            Template::Ima => self.legacy_data().ok_or(cut)?,
            _ => {
                let length = self.reader.length().ok_or(ImaError::Truncated(number))?;
                if length > TEMPLATE_DATA_MAX {
                    return Err(ImaError::TemplateTooLarge {
                        entry: number,
                        length,
                    });
                }
                self.reader.bytes(length).ok_or(cut)?
            }
        };
        Ok(Record {
            number,
            begins_boot: self.begins_boot && number == 0,
            template_hash,
            template,
            data,
        })
    }

    /// The template `ima` has no length of its own: 20 bytes of digest and a name with its length.
    fn legacy_data(&mut self) -> Option<&'a [u8]> {
        let mut ahead = LittleEndian::new(self.reader.rest());
        ahead.array::<20>()?;
        ahead.sized()?;
        let length = self.bytes_left().checked_sub(ahead.rest().len())?;
        self.reader.bytes(length)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, ImaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let record = self.read();
        self.number = self.number.saturating_add(1);
        if record.is_err() {
            self.reader = LittleEndian::new(&[]);
        }
        Some(record)
    }
}
