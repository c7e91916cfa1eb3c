//! What is carried from round to round, and what the quote says.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::IMA_PCR;
use super::parse::ImaError;
use crate::digest::Sha256Digest;
use crate::quote::VerifiedQuote;

/// A PCR bank that replays. Banks whose hash the kernel has no code for, on many kernels SHA-384 and
/// SHA-512, hold SHA-1 template hashes padded with zeros; they are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bank {
    /// `TPM_ALG_SHA1`
    Sha1,
    /// `TPM_ALG_SHA256`
    Sha256,
}

/// The value of a PCR. As text: `sha256:` or `sha1:` and lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PcrDigest {
    /// 20 bytes.
    Sha1([u8; 20]),
    /// 32 bytes.
    Sha256(Sha256Digest),
}

/// Text that is no PCR value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a PCR value: `sha256:` or `sha1:` and hexadecimal digits are expected")]
pub struct NotAPcrDigest(String);

impl PcrDigest {
    /// A PCR that nothing was measured into.
    #[must_use]
    pub fn zero(bank: Bank) -> Self {
        match bank {
            Bank::Sha1 => Self::Sha1([0; 20]),
            Bank::Sha256 => Self::Sha256(Sha256Digest::ZERO),
        }
    }

    /// Its bank.
    #[must_use]
    pub fn bank(&self) -> Bank {
        match self {
            Self::Sha1(_) => Bank::Sha1,
            Self::Sha256(_) => Bank::Sha256,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(digest) => digest.as_bytes(),
        }
    }
}

impl fmt::Display for PcrDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Sha1(_) => "sha1",
            Self::Sha256(_) => "sha256",
        };
        write!(out, "{name}:{}", hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PcrDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for PcrDigest {
    type Err = NotAPcrDigest;

    fn from_str(text: &str) -> Result<Self, NotAPcrDigest> {
        let wrong = || NotAPcrDigest(text.chars().take(80).collect());
        if let Some(digits) = text.strip_prefix("sha1:") {
            let mut bytes = [0; 20];
            hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
            return Ok(Self::Sha1(bytes));
        }
        let digits = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        digits.parse().map(Self::Sha256).map_err(|_| wrong())
    }
}

impl Serialize for PcrDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PcrDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What the kernel extends for an entry into a bank other than SHA-1. It follows from the kernel
/// and is found by which of the two reproduces the quote; one list never mixes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extension {
    /// The bank's own hash of the template data (Linux 5.8 and later).
    TemplateHash,
    /// The SHA-1 template hash and zeros (before, or where the kernel lacks the hash): the list is
    /// then only as strong as SHA-1 against whoever can choose files *and* paths.
    PaddedSha1,
}

/// What is known of the first entry of the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootAggregate {
    /// It is over PCRs 0 to 9 as quoted.
    PcrsTo9,
    /// It is over PCRs 0 to 7 as quoted: all SHA-1 aggregates, and those before Linux 5.8.
    PcrsTo7,
    /// It is over a bank that was not quoted: **nothing is proven** of it.
    BankUnquoted,
}

/// Where replay stands: what one round leaves for the next. Stored by whoever verified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImaState {
    /// TPM resets, as the quote counts them.
    pub reset_count: u32,
    /// TPM restarts, as the quote counts them.
    pub restart_count: u32,
    /// Bytes of the kernel's list that are proven.
    pub offset_bytes: u64,
    /// Entries in them.
    pub entries: u64,
    /// Violations among the entries.
    pub violations: u64,
    /// PCR 10 after them.
    pub value: PcrDigest,
    /// `None` until the first entry decides; always `TemplateHash` in the SHA-1 bank.
    pub extension: Option<Extension>,
    /// `None` until the first entry.
    pub boot_aggregate: Option<BootAggregate>,
    /// What was read beyond, and does not lead to a quoted PCR 10 yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<ImaTip>,
}

/// Where reading stands, before the quoted PCR 10 is reached. **Nothing up to here is proven** by it; the
/// part that reaches the quoted value proves all before it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImaTip {
    pub(super) offset_bytes: u64,
    pub(super) entries: u64,
    pub(super) violations: u64,
    /// PCR 10 here, if the kernel extends so.
    pub(super) template_hash: Option<PcrDigest>,
    /// PCR 10 here, if the kernel extends so.
    pub(super) padded_sha1: Option<PcrDigest>,
    pub(super) boot_aggregate: Option<BootAggregate>,
}

impl ImaTip {
    pub(super) fn value(&mut self, extension: Extension) -> &mut Option<PcrDigest> {
        match extension {
            Extension::TemplateHash => &mut self.template_hash,
            Extension::PaddedSha1 => &mut self.padded_sha1,
        }
    }
}

impl ImaState {
    /// The state before the first entry of the boot that `quoted` is of.
    #[must_use]
    pub fn before_boot(quoted: &QuotedPcrs) -> Self {
        Self {
            reset_count: quoted.reset_count,
            restart_count: quoted.restart_count,
            offset_bytes: 0,
            entries: 0,
            violations: 0,
            value: PcrDigest::zero(quoted.ima.bank()),
            extension: None,
            boot_aggregate: None,
            unproven: None,
        }
    }

    /// Where the next part of the list is to begin.
    #[must_use]
    pub fn wanted_bytes(&self) -> u64 {
        self.tip().offset_bytes
    }

    /// What is left of it where the next part does not bear it out.
    #[must_use]
    pub fn proven(self) -> Self {
        Self {
            unproven: None,
            ..self
        }
    }

    pub(super) fn is_of_boot(&self, quoted: &QuotedPcrs) -> bool {
        (self.reset_count, self.restart_count) == (quoted.reset_count, quoted.restart_count)
    }

    /// Where replay goes on.
    pub(super) fn tip(&self) -> ImaTip {
        let may_be = |extension| {
            let decided = match self.value.bank() {
                Bank::Sha1 => Some(Extension::TemplateHash),
                Bank::Sha256 => self.extension,
            };
            decided
                .is_none_or(|decided| decided == extension)
                .then_some(self.value)
        };
        self.unproven.unwrap_or(ImaTip {
            offset_bytes: self.offset_bytes,
            entries: self.entries,
            violations: self.violations,
            template_hash: may_be(Extension::TemplateHash),
            padded_sha1: may_be(Extension::PaddedSha1),
            boot_aggregate: self.boot_aggregate,
        })
    }

    /// Whether `length` bytes from `offset_bytes` on, read in the boot of `quoted`, continue this state.
    pub(super) fn continues_at(
        &self,
        offset_bytes: u64,
        length: usize,
        quoted: &QuotedPcrs,
    ) -> Result<(), ImaError> {
        if !self.is_of_boot(quoted) {
            return Err(ImaError::OtherBoot);
        }
        if self.value.bank() != quoted.ima.bank() {
            return Err(ImaError::OtherBank);
        }
        let (expected, observed) = (self.wanted_bytes(), offset_bytes);
        let end = offset_bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        match observed.cmp(&expected) {
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(ImaError::Ahead { expected, observed }),
            Ordering::Less if end < expected => Err(ImaError::Shortened {
                expected,
                observed: end,
            }),
            Ordering::Less => Err(ImaError::Behind { expected, observed }),
        }
    }
}

/// PCRs 0 to 10 of one bank, and the boot that they are of.
#[derive(Clone, Debug)]
pub struct QuotedPcrs {
    reset_count: u32,
    restart_count: u32,
    boot: Vec<PcrDigest>,
    ima: PcrDigest,
}

impl QuotedPcrs {
    /// From a quote, which must cover PCRs 0 to 10.
    pub fn of(quote: &VerifiedQuote) -> Result<Self, ImaError> {
        let clock = quote.clock();
        let value = |pcr| quote.values().value(pcr).copied().map(PcrDigest::Sha256);
        Self::collect(clock.reset_count, clock.restart_count, value)
    }

    /// From values that somebody wrote down, to inspect a list with: what is then replayed is as good
    /// as their word.
    pub fn recorded(values: &BTreeMap<u8, PcrDigest>) -> Result<Self, ImaError> {
        Self::collect(0, 0, |pcr| values.get(&pcr).copied())
    }

    fn collect(
        reset_count: u32,
        restart_count: u32,
        value: impl Fn(u8) -> Option<PcrDigest>,
    ) -> Result<Self, ImaError> {
        let ima = value(IMA_PCR).ok_or(ImaError::Unquoted(IMA_PCR))?;
        let of_bank = |pcr| {
            value(pcr)
                .filter(|value| value.bank() == ima.bank())
                .ok_or(ImaError::Unquoted(pcr))
        };
        Ok(Self {
            reset_count,
            restart_count,
            boot: (0..IMA_PCR).map(of_bank).collect::<Result<_, _>>()?,
            ima,
        })
    }

    pub(super) fn pcr10(&self) -> PcrDigest {
        self.ima
    }

    /// PCRs 0 to 9.
    pub(super) fn boot(&self) -> &[PcrDigest] {
        &self.boot
    }
}
