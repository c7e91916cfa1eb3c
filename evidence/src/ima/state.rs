//! What is carried from round to round, and what the quote says.

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
    /// PCR 10 after them.
    pub value: PcrDigest,
    /// `None` until the first entry decides; always `TemplateHash` in the SHA-1 bank.
    pub extension: Option<Extension>,
    /// `None` until the first entry.
    pub boot_aggregate: Option<BootAggregate>,
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
            value: PcrDigest::zero(quoted.ima.bank()),
            extension: None,
            boot_aggregate: None,
        }
    }

    /// Whether a list from `offset_bytes` on, read in the boot of `quoted`, continues this state.
    pub(super) fn continues_at(
        &self,
        offset_bytes: u64,
        quoted: &QuotedPcrs,
    ) -> Result<(), ImaError> {
        let boot = (self.reset_count, self.restart_count);
        if boot != (quoted.reset_count, quoted.restart_count) {
            return Err(ImaError::OtherBoot);
        }
        if self.value.bank() != quoted.ima.bank() {
            return Err(ImaError::OtherBank);
        }
        if self.offset_bytes != offset_bytes {
            return Err(ImaError::Offset {
                expected: self.offset_bytes,
                observed: offset_bytes,
            });
        }
        Ok(())
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
