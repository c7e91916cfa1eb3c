//! What agent and attestor say to each other, as JSON; byte strings are base64url.
//!
//! Every type refuses unknown fields and bounds its byte strings while they are read.

mod data_key;
mod join_token;
mod purge;
mod release;

use serde::{Deserialize, Serialize};

use crate::boot_log::LOG_MAX;
use crate::digest::Sha256Digest;
use crate::encoded::{Bytes, Few};
use crate::endorsement::PLATFORM_CERTIFICATE_MAX;
use crate::finding::Finding;
use crate::host_id::HostId;
use crate::ima::{ImaState, PART_MAX};
use crate::location::TAG_MAX;
use crate::pcr::{PcrSelection, PcrValues};
use crate::result::TrustTier;

pub use data_key::{DataKeyLease, DataKeyMade, DataKeyRequest, DataKeyWish};
pub use join_token::{JoinToken, NotAJoinToken};
pub use purge::{ContainerRuntime, PURGED_MAX, Purge, PurgeNoted};
pub use release::{LEASE_MAX, Lease, REVOKED_MAX, Release, ReleaseRequest, RevokedLease};

/// Most bytes of a boot log in a message: a little more than is read, so that a log that is too large gets
/// its own finding.
const LOG_SENT_MAX: usize = LOG_MAX + (64 << 10);

/// Most bytes of a part of the runtime list in a message, for the same reason.
const PART_SENT_MAX: usize = PART_MAX + (64 << 10);

/// Most CA certificates in an enrolment request: the longest real chain has six.
pub const INTERMEDIATES_MAX: usize = 16;

/// Field of a round and of its answer, both in HTTP: SHA-256 of the CA certificates (PEM) that the host believes, and
/// of those that it is to believe. The latter are at `/v1/ca`.
pub const CA_HEADER: &str = "touchstone-ca";

/// Field of a round in HTTP: the service account token of the agent's pod, whose SHA-256 is [`Evidence::node_token`].
/// It is sent nowhere else, so that evidence which is kept does not hold it.
pub const NODE_TOKEN_HEADER: &str = "touchstone-node-token";

/// Most bytes of that token. A kubelet's have between one and two thousand.
pub const NODE_TOKEN_MAX: usize = 8 << 10;

/// A `TPMS_ATTEST` and its `TPMT_SIGNATURE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAttest {
    /// Marshalled `TPMS_ATTEST`: at most a Name, 66 bytes of data and 2 KiB of NV contents.
    pub attest: Bytes<3072>,
    /// Marshalled `TPMT_SIGNATURE`.
    pub signature: Bytes<1024>,
}

/// First message of a host: who its TPM is. Sent with a join token, over the TLS key to be enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentRequest {
    /// EK certificate, DER.
    pub ek_certificate: Bytes<8192>,
    /// CA certificates that its TPM holds beside it, DER, in any order.
    #[serde(default, skip_serializing_if = "Few::is_empty")]
    pub intermediates: Few<Bytes<4096>, INTERMEDIATES_MAX>,
    /// The platform certificate that its TPM holds, an attribute certificate, DER. Looked at only where the
    /// inventory does not know the EK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_certificate: Option<Bytes<PLATFORM_CERTIFICATE_MAX>>,
    /// EK, `TPMT_PUBLIC`.
    pub ek_public: Bytes<1024>,
    /// AK, `TPMT_PUBLIC`.
    pub ak_public: Bytes<1024>,
}

/// Answer: prove that one TPM holds both keys (`TPM2_ActivateCredential`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentChallenge {
    /// Names this enrolment.
    pub enrolment: Bytes<16>,
    /// Who the inventory says this machine is.
    pub host: HostId,
    /// Contents of `TPM2B_ID_OBJECT`.
    pub credential: Bytes<1024>,
    /// Contents of `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_seed: Bytes<1024>,
}

/// The secret that the TPM gave back.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// As in [`EnrolmentChallenge::enrolment`].
    pub enrolment: Bytes<16>,
    /// 32 bytes.
    pub secret: Bytes<64>,
}

/// The host is enrolled; here is its first challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// Who it is from now on.
    pub host: HostId,
    /// For the first round.
    pub challenge: Challenge,
}

/// What the next round must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// 32 random bytes, used once.
    pub nonce: Bytes<32>,
    /// PCRs of the SHA-256 bank to quote.
    pub pcrs: PcrSelection,
    /// Seconds since 1970 after which it is refused.
    pub expires_at: i64,
    /// Digest of the boot log that the attestor already holds for this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_boot_log: Option<Sha256Digest>,
    /// Where the runtime list is to be continued; absent: from its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimePosition>,
    /// The signed location tag that the host's TPM should carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_tag: Option<Bytes<TAG_MAX>>,
}

/// A place in the runtime list of one boot. A TPM that counts otherwise went through another boot, whose list
/// is wanted from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimePosition {
    /// TPM resets.
    pub reset_count: u32,
    /// TPM restarts.
    pub restart_count: u32,
    /// Bytes of the list that the attestor needs no more.
    pub offset: u64,
}

impl From<&ImaState> for RuntimePosition {
    fn from(state: &ImaState) -> Self {
        Self {
            reset_count: state.reset_count,
            restart_count: state.restart_count,
            offset: state.wanted_bytes(),
        }
    }
}

/// A part of the kernel's runtime list (`binary_runtime_measurements`), read after the quote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimePart {
    /// Bytes of the list that stand before it.
    pub offset: u64,
    /// Whole entries; may be empty.
    pub entries: Bytes<PART_SENT_MAX>,
    /// Whether the list went on: the next round brings more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// One round's evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Of the challenge that it answers.
    pub nonce: Bytes<32>,
    /// The kernel's boot id, 16 bytes.
    pub boot_id: Bytes<16>,
    /// Quote over the challenge's PCRs.
    pub quote: SignedAttest,
    /// The values that were quoted.
    pub pcrs: PcrValues,
    /// Digest of the boot log.
    pub boot_log_digest: Sha256Digest,
    /// The boot log itself, unless the challenge names its digest as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_log: Option<Bytes<LOG_SENT_MAX>>,
    /// What shows the PCR banks. It goes with the boot log, once a boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banks: Option<BankEvidence>,
    /// The runtime list from the wanted offset on; absent: the kernel has none, which is not an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimePart>,
    /// Certification of the location index, if it holds something. It includes the contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<SignedAttest>,
    /// The release key, where the round is to end in a release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_key: Option<ReleaseKey>,
    /// SHA-256 of the service account token that goes beside it ([`NODE_TOKEN_HEADER`]); it is in the round's qualifying
    /// data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_token: Option<Sha256Digest>,
}

/// The key of this boot that layer keys are sealed to, and the TPM's word that it holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseKey {
    /// `TPMT_PUBLIC`. Its Name by SHA-256 is in the round's qualifying data.
    pub public: Bytes<1024>,
    /// `TPM2_Certify` of it by the AK.
    pub certification: SignedAttest,
}

/// A secret for one TPM, one boot, its PCRs and one lease ([`crate::sealed_release`]): what `TPM2_Import` takes under
/// the release key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedRelease {
    /// `TPMT_PUBLIC` of the data object.
    pub public: Bytes<128>,
    /// Contents of `TPM2B_PRIVATE`, encrypted under the seed.
    pub duplicate: Bytes<256>,
    /// Contents of `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_seed: Bytes<128>,
}

/// Which PCR banks the TPM has, and what the boot left in each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankEvidence {
    /// The TPM's answer to `TPM2_GetCapability(TPM_CAP_PCRS, 0, 16)`: `TPMS_CAPABILITY_DATA`, which names at
    /// most 16 banks.
    pub capability: Bytes<128>,
    /// `TPM2_GetSessionAuditDigest` over that command alone.
    pub audit: SignedAttest,
    /// Quote of PCRs 0–9 and 14 of every active bank.
    pub quote: SignedAttest,
    /// The quoted values one after the other, in the order of the quote's selection: at most 64 bytes each.
    pub values: Bytes<4096>,
}

/// What came of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundAnswer {
    /// The tier.
    pub tier: TrustTier,
    /// Why it is not better.
    pub findings: Vec<Finding>,
    /// The signed result, compact JWS.
    pub result: String,
    /// Leaf hash of the audit entry, hexadecimal.
    pub entry: Sha256Digest,
    /// For the next round.
    pub challenge: Challenge,
    /// Leases of this host that are revoked, and that it has not said to have purged.
    #[serde(default, skip_serializing_if = "Few::is_empty")]
    pub revoked: Few<RevokedLease, REVOKED_MAX>,
}

#[cfg(test)]
mod tests;
