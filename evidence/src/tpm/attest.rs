//! `TPMS_ATTEST` (TPM 2.0 Part 2 §10.12.12): what the TPM says in a quote or a certification.

use super::reader::{Reader, TpmFormatError};
use crate::digest::Sha256Digest;
use crate::pcr::BankSelection;

/// `TPM_GENERATED_VALUE` (Part 2 §6.2): set by the TPM on structures it made itself.
const TPM_GENERATED: u32 = 0xff54_4347;
/// Structure tags (Part 2 §6.9).
const ST_ATTEST_NV: u16 = 0x8014;
const ST_ATTEST_SESSION_AUDIT: u16 = 0x8016;
const ST_ATTEST_CERTIFY: u16 = 0x8017;
const ST_ATTEST_QUOTE: u16 = 0x8018;

/// Largest `TPM2B_NAME`: two bytes of algorithm and the longest digest, SHA-512.
const NAME_MAX: usize = 66;
/// Largest NV area that `TPM2_NV_Certify` returns in one piece on known TPMs.
const NV_MAX: usize = 2048;

/// `TPMS_CLOCK_INFO` (Part 2 §10.11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds for which the TPM has been powered; within one (`reset_count`, `restart_count`) it only rises.
    pub clock: u64,
    /// Counts TPM Resets: a new boot.
    pub reset_count: u32,
    /// Counts TPM Restarts and Resumes since the last Reset.
    pub restart_count: u32,
    /// False after a power cut: the clock may have gone back a little. Information, not a refusal.
    pub safe: bool,
}

/// What exactly was attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attested {
    /// `TPMS_QUOTE_INFO`.
    Quote {
        /// Which PCRs of which banks; as the TPM has them, not as it was asked.
        selection: Vec<BankSelection>,
        /// Digest over the selected PCRs.
        digest: Vec<u8>,
    },
    /// `TPMS_NV_CERTIFY_INFO`.
    Nv {
        /// Name of the index.
        index_name: Vec<u8>,
        /// Where in the index the contents begin.
        offset: u16,
        /// The contents.
        contents: Vec<u8>,
    },
    /// `TPMS_CERTIFY_INFO`: a key that is loaded in this TPM.
    Certify {
        /// Its Name.
        name: Vec<u8>,
        /// Its Qualified Name.
        qualified_name: Vec<u8>,
    },
    /// `TPMS_SESSION_AUDIT_INFO`: which commands a session carried, and what the TPM answered.
    SessionAudit {
        /// Whether no other session came between.
        exclusive: bool,
        /// Digest over commands and answers (Part 1 §34).
        digest: Vec<u8>,
    },
    /// Another structure tag: it proves nothing here.
    Other(u16),
}

/// A parsed `TPMS_ATTEST`. Nothing in it is proven yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// Whether the magic says that the TPM made it.
    pub tpm_generated: bool,
    /// Qualified Name of the signing key.
    pub qualified_signer: Vec<u8>,
    /// Qualifying data of the caller.
    pub extra_data: Vec<u8>,
    /// Clock and counters.
    pub clock_info: ClockInfo,
    /// Vendor's firmware version.
    pub firmware_version: u64,
    /// The body.
    pub attested: Attested,
}

impl Attest {
    /// Parses the whole of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmFormatError> {
        let mut reader = Reader::new(bytes);
        let tpm_generated = reader.u32()? == TPM_GENERATED;
        let tag = reader.u16()?;
        let qualified_signer = reader.sized(NAME_MAX, "qualified signer")?.to_vec();
        let extra_data = reader.sized(NAME_MAX, "qualifying data")?.to_vec();
        let clock_info = ClockInfo {
            clock: reader.u64()?,
            reset_count: reader.u32()?,
            restart_count: reader.u32()?,
            safe: yes_no(&mut reader, "`safe` flag")?,
        };
        let firmware_version = reader.u64()?;
        let attested = match tag {
            ST_ATTEST_QUOTE => Attested::Quote {
                selection: BankSelection::read_list(&mut reader)?,
                digest: reader.sized(64, "PCR digest")?.to_vec(),
            },
            ST_ATTEST_NV => Attested::Nv {
                index_name: reader.sized(NAME_MAX, "index Name")?.to_vec(),
                offset: reader.u16()?,
                contents: reader.sized(NV_MAX, "NV contents")?.to_vec(),
            },
            ST_ATTEST_CERTIFY => Attested::Certify {
                name: reader.sized(NAME_MAX, "Name")?.to_vec(),
                qualified_name: reader.sized(NAME_MAX, "Qualified Name")?.to_vec(),
            },
            ST_ATTEST_SESSION_AUDIT => Attested::SessionAudit {
                exclusive: yes_no(&mut reader, "`exclusive` flag")?,
                digest: reader.sized(64, "audit digest")?.to_vec(),
            },
            // The body is not read: no check accepts it, whatever it holds.
            other => {
                return Ok(Self {
                    tpm_generated,
                    qualified_signer,
                    extra_data,
                    clock_info,
                    firmware_version,
                    attested: Attested::Other(other),
                });
            }
        };
        reader.finish()?;
        Ok(Self {
            tpm_generated,
            qualified_signer,
            extra_data,
            clock_info,
            firmware_version,
            attested,
        })
    }

    /// Whether the qualifying data is exactly this digest.
    #[must_use]
    pub fn qualifies(&self, expected: &Sha256Digest) -> bool {
        self.extra_data == expected.0
    }
}

/// `TPMI_YES_NO` (Part 2 §9.2).
fn yes_no(reader: &mut Reader<'_>, what: &'static str) -> Result<bool, TpmFormatError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(TpmFormatError::Unknown(what)),
    }
}
