//! `HostPolicy`: which hosts, and what must be proven about them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use touchstone_evidence::host_id::HostId;

/// What a host must prove. A part that is absent is not demanded; it is shown and does not count.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HostPolicy {
    /// Which hosts it is for, at least one pattern.
    #[serde(deserialize_with = "at_least_one")]
    pub hosts: Vec<HostPattern>,
    /// For how long after its challenge a result holds, seconds; 10 to 86,400.
    pub freshness_seconds: FreshnessSeconds,
    /// Demands a known-good boot.
    pub boot: Option<Boot>,
    /// Demands a proven place.
    pub location: Option<Location>,
    /// Demands a TPM that chains to a manufacturer's or cloud's root.
    #[serde(default)]
    pub hardware: bool,
    /// Demands that what ran since boot is known to be good.
    #[serde(default, deserialize_with = "runtime")]
    pub runtime: Option<Runtime>,
    /// Whether a known TPM may enrol with new keys without an operator's word.
    #[serde(default)]
    pub reprovision: Reprovision,
}

/// The runtime part. Entries are not judged by allow-lists yet, so whatever it says, a host that is
/// demanded to prove its runtime is not affirming.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// What to make of files that could change while the kernel measured them.
    pub violations: Violations,
}

/// Whether violations are against a host. The list proves that there are some, not in which files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Violations {
    /// One is enough to contraindicate.
    Refused,
    /// They are let pass: log files that are written while something reads them are common.
    Tolerated,
}

/// What becomes of a known TPM that comes with new keys: a TPM2_Clear keeps the EK and loses the AK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reprovision {
    /// An operator lets it in, once.
    #[default]
    Approve,
    /// It enrols by itself; all that rested on the old keys is void either way.
    Automatic,
}

/// The boot part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Boot {
    /// Names of `ReferenceValues`, at least one; the boot must match one of them wholly.
    #[serde(deserialize_with = "at_least_one")]
    pub reference_values: Vec<String>,
    /// Whether UEFI Secure Boot must have been on.
    #[serde(default)]
    pub secure_boot: bool,
}

/// The location part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// The grade that the place must have.
    pub grade: Grade,
}

/// How well a place is known (docs/architecture.md, Rules). L1: an authority vouches, the TPM has its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Grade {
    /// The authority vouches until the tag expires or is replaced.
    L1,
}

/// A host's name, or a beginning followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPattern(String);

impl HostPattern {
    /// Whether `host` is one that is meant.
    #[must_use]
    pub fn matches(&self, host: &HostId) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => host.as_str().starts_with(beginning),
            None => host.as_str() == self.0,
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let beginning = text.strip_suffix('*').unwrap_or(&text);
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        if text.is_empty() || !beginning.bytes().all(allowed) {
            return Err(format!(
                "`{}` is not a host's name or the beginning of one followed by `*`",
                text.escape_debug()
            ));
        }
        Ok(Self(text))
    }
}

/// An empty list would select nothing, and look as if it protected something.
pub(super) fn at_least_one<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let items = Vec::<T>::deserialize(deserializer)?;
    if items.is_empty() {
        return Err(serde::de::Error::custom("name at least one"));
    }
    Ok(items)
}

/// A mapping; or a boolean, as the first manifests had it, which are still in databases.
fn runtime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Runtime>, D::Error> {
    deserializer.deserialize_any(RuntimeVisitor)
}

struct RuntimeVisitor;

impl<'de> Visitor<'de> for RuntimeVisitor {
    type Value = Option<Runtime>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a mapping with `violations: refused` or `violations: tolerated`")
    }

    fn visit_bool<E>(self, demanded: bool) -> Result<Self::Value, E> {
        let violations = Violations::Refused;
        Ok(demanded.then_some(Runtime { violations }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Runtime::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

/// 10 seconds to one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct FreshnessSeconds(u32);

impl FreshnessSeconds {
    /// Seconds.
    #[must_use]
    pub fn seconds(self) -> i64 {
        i64::from(self.0)
    }
}

impl TryFrom<u32> for FreshnessSeconds {
    type Error = String;

    fn try_from(seconds: u32) -> Result<Self, String> {
        if (10..=86_400).contains(&seconds) {
            return Ok(Self(seconds));
        }
        Err(format!("{seconds} seconds of freshness; use 10 to 86400"))
    }
}
