//! `ReferenceValues`: what a known-good boot looks like, and who says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use touchstone_evidence::digest::Sha256Digest;

/// Known-good values of one kind of machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReferenceValues {
    /// Where the values come from, for people.
    pub provenance: String,
    /// Whether they count now.
    pub life_cycle: LifeCycle,
    /// PCR → values, any of which is good. SHA-256 bank.
    #[serde(deserialize_with = "at_least_one_each")]
    pub pcrs: BTreeMap<Pcr, Vec<Sha256Digest>>,
    /// The locality that the TPM was started from: 0, 3 or 4 (PFP §10.4.5.3). 0 unless it is named.
    #[serde(default)]
    pub startup_locality: StartupLocality,
    /// Kernel command lines as the boot loader measures them, any of which is good.
    #[serde(default)]
    pub kernel_command_lines: Vec<String>,
    /// The events behind the PCRs: they explain a difference, and never excuse one.
    #[serde(default)]
    pub events: Vec<ReferenceEvent>,
}

impl ReferenceValues {
    /// Whether PCR `index` has known-good values.
    #[must_use]
    pub fn pins(&self, index: u8) -> bool {
        self.pcrs.contains_key(&Pcr(index))
    }
}

/// No PCRs would let every boot pass, no values none.
fn at_least_one_each<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Pcr, Vec<Sha256Digest>>, D::Error> {
    let pcrs = BTreeMap::<Pcr, Vec<Sha256Digest>>::deserialize(deserializer)?;
    if pcrs.is_empty() || pcrs.values().any(Vec::is_empty) {
        return Err(serde::de::Error::custom(
            "name at least one PCR, and at least one value for each",
        ));
    }
    Ok(pcrs)
}

/// Where values are in their life. Only `Active` ones count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum LifeCycle {
    /// Captured, not yet confirmed by an officer.
    Pending,
    /// In force.
    Active,
    /// Replaced by newer ones.
    Obsolete,
    /// No longer in use.
    Retired,
    /// Known to be bad.
    Revoked,
}

/// One event of the reference boot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceEvent {
    /// The PCR that it extends.
    pub pcr: Pcr,
    /// What it extends.
    pub digest: Sha256Digest,
    /// What it says, for people.
    pub text: String,
}

/// A locality that can start a TPM: 0 by the processor, 3 by firmware that measures itself, 4 by a
/// dynamic or hardware root of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "u8")]
pub struct StartupLocality(pub u8);

impl TryFrom<u8> for StartupLocality {
    type Error = String;

    fn try_from(locality: u8) -> Result<Self, String> {
        match locality {
            0 | 3 | 4 => Ok(Self(locality)),
            other => Err(format!(
                "no TPM starts from locality {other}; use 0, 3 or 4, as the log's StartupLocality event says"
            )),
        }
    }
}

/// A PCR that a boot log explains: 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "u8")]
pub struct Pcr(pub u8);

impl TryFrom<u8> for Pcr {
    type Error = String;

    fn try_from(index: u8) -> Result<Self, String> {
        if index < 24 {
            return Ok(Self(index));
        }
        Err(format!("PCR {index} does not exist; use 0 to 23"))
    }
}
