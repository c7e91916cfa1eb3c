//! Attestation results: an Entity Attestation Token in the EAR profile (draft-ietf-rats-ear,
//! draft-ietf-rats-ar4si), as a compact JWS signed with Ed25519 (RFC 7515, RFC 8037).

mod node;
mod token;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::host_id::HostId;
use crate::location::Place;

pub use node::NodeStatement;
pub use token::{ResultError, ResultKey, ResultSigner, VerifiedNode, VerifiedResult};

/// How far a host can be trusted (AR4SI §3.2). It has no order: ask [`TrustTier::satisfies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustTier {
    /// Nothing is known. Satisfies no requirement.
    None,
    /// Everything that policy demands was proven.
    Affirming,
    /// Proven, with something that needs attention.
    Warning,
    /// Proven to be what policy forbids, or a proof failed.
    Contraindicated,
}

impl TrustTier {
    /// Whether this tier is enough where `required` is demanded. `None` and `Contraindicated` never are.
    #[must_use]
    pub fn satisfies(self, required: Self) -> bool {
        match self {
            Self::Affirming => matches!(required, Self::Affirming | Self::Warning),
            Self::Warning => required == Self::Warning,
            Self::None | Self::Contraindicated => false,
        }
    }

    /// The worst of several, in the order Contraindicated, None, Warning, Affirming; of nothing: None.
    pub fn worst(tiers: impl IntoIterator<Item = Self>) -> Self {
        tiers
            .into_iter()
            .max_by_key(|tier| match tier {
                Self::Affirming => 0,
                Self::Warning => 1,
                Self::None => 2,
                Self::Contraindicated => 3,
            })
            .unwrap_or(Self::None)
    }

    /// AR4SI's number: 0, 2, 32, 96.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Affirming => 2,
            Self::Warning => 32,
            Self::Contraindicated => 96,
        }
    }

    /// The word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Affirming => "affirming",
            Self::Warning => "warning",
            Self::Contraindicated => "contraindicated",
        }
    }
}

impl std::fmt::Display for TrustTier {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.word())
    }
}

/// One tier for each thing that is judged (AR4SI §2.3; `location` is our own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustVector {
    /// The TPM is the one enrolled under this name.
    pub instance_identity: TrustTier,
    /// Firmware, boot loader, kernel and its command line.
    pub configuration: TrustTier,
    /// What ran since.
    pub executables: TrustTier,
    /// The TPM is a genuine one of a known maker.
    pub hardware: TrustTier,
    /// Where it stands.
    pub location: TrustTier,
}

impl TrustVector {
    /// Nothing known about anything.
    pub const NONE: Self = Self {
        instance_identity: TrustTier::None,
        configuration: TrustTier::None,
        executables: TrustTier::None,
        hardware: TrustTier::None,
        location: TrustTier::None,
    };

    /// Name and tier of each entry.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, TrustTier)> {
        [
            ("instance-identity", self.instance_identity),
            ("configuration", self.configuration),
            ("executables", self.executables),
            ("hardware", self.hardware),
            ("location", self.location),
        ]
        .into_iter()
    }
}

/// What the attestor says about a host, until it expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationResult {
    /// Names this result; 16 random bytes, hexadecimal.
    #[serde(rename = "jti")]
    pub id: String,
    /// Always [`AttestationResult::PROFILE`].
    pub eat_profile: String,
    /// Who appraised.
    #[serde(rename = "ear.verifier-id")]
    pub verifier: VerifierId,
    /// Seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// Seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// One submodule, named by the host.
    pub submods: BTreeMap<HostId, Submodule>,
}

/// `ear.verifier-id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifierId {
    /// Software.
    pub build: String,
    /// The attestor's name.
    pub developer: String,
}

/// The appraisal of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submodule {
    /// The tier that counts.
    #[serde(rename = "ear.status")]
    pub tier: TrustTier,
    /// Entry name → AR4SI number.
    #[serde(rename = "ear.trustworthiness-vector")]
    pub vector: BTreeMap<String, u8>,
    /// Policy's name and digest.
    #[serde(rename = "ear.appraisal-policy-id")]
    pub policy: String,
    /// Our own part.
    #[serde(rename = "touchstone")]
    pub detail: Detail,
}

/// What a relying party of this system needs besides the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Where the host was proven to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Why the tier is not better.
    pub findings: Vec<Finding>,
    /// Leaf hash of the audit entry of this appraisal.
    pub entry: Sha256Digest,
    /// Digest of the evidence that was appraised.
    pub evidence: Sha256Digest,
    /// Boots of the TPM: a result holds for one boot only.
    pub reset_count: u32,
    /// Restarts within it.
    pub restart_count: u32,
}

impl AttestationResult {
    /// The EAR profile that the token follows.
    pub const PROFILE: &str = "tag:github.com,2023:veraison/ear";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_affirming_and_warning_ever_satisfy() {
        use TrustTier::{Affirming, Contraindicated, None, Warning};
        let all = [None, Affirming, Warning, Contraindicated];
        let enough: Vec<_> = all
            .into_iter()
            .flat_map(|tier| all.map(|required| (tier, required)))
            .filter(|(tier, required)| tier.satisfies(*required))
            .collect();
        assert_eq!(
            enough,
            [
                (Affirming, Affirming),
                (Affirming, Warning),
                (Warning, Warning)
            ]
        );
    }

    #[test]
    fn the_worst_tier_wins_and_nothing_is_none() {
        use TrustTier::{Affirming, Contraindicated, None, Warning};
        assert_eq!(TrustTier::worst([]), None);
        assert_eq!(TrustTier::worst([Affirming, Warning]), Warning);
        assert_eq!(TrustTier::worst([Warning, None, Affirming]), None);
        assert_eq!(TrustTier::worst([None, Contraindicated]), Contraindicated);
    }
}
