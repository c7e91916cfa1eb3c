//! What changes trust, as data. Entries are JSON; the bytes that are hashed are the bytes kept.
//!
//! Invariant: no secret and no token is a field of any event.

mod appraised;
mod envelope;
mod kubernetes;

use std::collections::BTreeMap;

use serde::Serialize;
use touchstone_evidence::annotation::{KeyName, PolicyName};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::wire::{ContainerRuntime, RevokedLease};
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::admit::Workload;

use super::Reason;
use crate::refusals::FoldedRefusals;
use crate::role::{CredentialName, Role, Way};

pub(crate) use appraised::Appraised;
pub(super) use envelope::encode;
pub(crate) use kubernetes::{Custodian, Moved, NodeProof, WebhooksSeen};

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The attestor started for the first time with this database.
    LogStarted { checkpoint_key: String },
    /// An attestor that had signed no head of this log went on with it: after a restore. No verdict from before
    /// counts.
    LogResumed { size: u64, root: Sha256Digest },
    /// The key that signs the log's heads was exchanged: `replaced` signs no head beyond this entry.
    CheckpointKeyRotated {
        checkpoint_key: String,
        replaced: String,
    },
    /// Endorsement certificates were imported.
    EndorsementImported {
        class: &'static str,
        /// Whom the roots may vouch for; empty: any.
        manufacturers: Vec<String>,
        bundle: Sha256Digest,
        roots: usize,
        intermediates: usize,
    },
    /// A revocation list was imported.
    RevocationListImported(ListImported),
    /// A machine was added to the inventory.
    InventoryAdded {
        host: HostId,
        ek_digests: Vec<Sha256Digest>,
    },
    /// Machines were added to the inventory; an import of many has several such entries.
    InventoryImported {
        machines: BTreeMap<HostId, Vec<Sha256Digest>>,
    },
    /// A machine of the inventory turned out to have more EKs.
    InventoryEksAdded {
        host: HostId,
        ek_digests: Vec<Sha256Digest>,
    },
    /// A machine was taken out of the inventory: all that it had is void.
    InventoryRemoved {
        host: HostId,
        reason: Option<Reason>,
    },
    /// Platform certificates of this maker of machines are believed from now on.
    OemAdded {
        oem: Sha256Digest,
        subject: String,
        host_prefix: String,
    },
    /// A platform certificate put a machine into the inventory. `oem`: SHA-256 of the maker's certificate.
    PlatformAdmitted {
        host: HostId,
        ek_digest: Sha256Digest,
        oem: Sha256Digest,
        platform_certificate: Sha256Digest,
    },
    /// A TPM in quarantine was called ours.
    HostApproved {
        host: HostId,
        ek_digest: Sha256Digest,
    },
    /// A TPM in quarantine was called none of ours.
    HostRejected { ek_digest: Sha256Digest },
    /// A host may enrol once with other keys.
    ReenrolmentOpened {
        host: HostId,
        expires_at: i64,
        reason: Option<Reason>,
    },
    /// A host was taken out of service: all that it had is void.
    HostRetired {
        host: HostId,
        reason: Option<Reason>,
    },
    /// A host got another TPM: all that the old one had is void.
    HostReplaced {
        host: HostId,
        ek_digests: Vec<Sha256Digest>,
        reason: Option<Reason>,
    },
    /// A join token was made. `token`: the first digits of the hash of its secret.
    JoinTokenCreated {
        token: String,
        expires_at: i64,
        host: Option<HostId>,
        uses: Option<i64>,
    },
    /// A join token was revoked.
    JoinTokenRevoked { token: String },
    /// A location authority is believed from now on.
    LocationAuthorityAdded { authority: Sha256Digest },
    /// A host has a new current location tag.
    LocationTagIssued {
        host: HostId,
        serial: u64,
        tag: Sha256Digest,
        place: Place,
    },
    /// A host's tag was taken back: by itself, or with all of an authority that was revoked before.
    LocationTagRevoked {
        host: HostId,
        serial: u64,
        tag: Sha256Digest,
        authority: Option<Sha256Digest>,
        reason: Option<Reason>,
    },
    /// A location authority is believed no more: none of its tags counts.
    LocationAuthorityRevoked {
        authority: Sha256Digest,
        reason: Option<Reason>,
    },
    /// A host proved another place than before, by the tag with this serial.
    HostMoved {
        host: HostId,
        from: Place,
        to: Place,
        serial: u64,
    },
    /// Somebody may do from now on what its role may. `key`: SHA-256 of the token, or of the TLS key.
    CredentialCreated {
        name: CredentialName,
        role: Role,
        way: Way,
        key: Sha256Digest,
        expires_at: Option<i64>,
    },
    /// Results are signed with this key from now on. `key`: its id. `before`: that of the key whose place it takes.
    ResultKeyAdded {
        key: String,
        public_key: String,
        before: Option<String>,
    },
    /// Results of this key count no more.
    ResultKeyRevoked { key: String },
    /// Another CA is about to issue the attestor's TLS certificate. `ca`: SHA-256 of its certificate, PEM.
    CaAnnounced { ca: Sha256Digest },
    /// It does from now on, and the one before is believed no more.
    CaActivated { ca: Sha256Digest },
    /// The webhook's URL has another secret from now on; the one before is let in too.
    WebhookRotated {
        /// Which cluster's, where it is that of a process for one cluster alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster: Option<ClusterName>,
    },
    /// The secret before that one is let in no more.
    WebhookRevoked,
    /// Everything that was kept under one master key is kept under another. `versions`: of keys.
    MasterKeyReplaced {
        master_key: String,
        replaced: String,
        versions: usize,
    },
    /// A key of encrypted layers was made. `registered`: it demands registered images.
    LayerKeyCreated {
        key: KeyName,
        policy: PolicyName,
        registered: bool,
    },
    /// Layers are wrapped under another version of a key from now on.
    LayerKeyRotated {
        key: KeyName,
        version: u32,
        reason: Option<Reason>,
    },
    /// A key pair was made to which one key from elsewhere can be encrypted.
    ImportKeyMade { import_key: String, expires_at: i64 },
    /// A version of a key came from elsewhere.
    LayerKeyImported {
        key: KeyName,
        version: u32,
        import_key: String,
    },
    /// A key is used for nothing until it is enabled.
    LayerKeyDisabled {
        key: KeyName,
        reason: Option<Reason>,
    },
    /// A key is used again.
    LayerKeyEnabled {
        key: KeyName,
        reason: Option<Reason>,
    },
    /// The bytes of all versions of a key were deleted.
    LayerKeyDestroyed {
        key: KeyName,
        versions: u32,
        reason: Option<Reason>,
    },
    /// The key of a layer was wrapped. `layer`: the plain one. `annotation`: SHA-256 of what came of it.
    LayerWrapped {
        key: KeyName,
        version: u32,
        layer: OciDigest,
        policy: PolicyName,
        annotation: Sha256Digest,
    },
    /// The key of a layer went to a host, sealed to its TPM and this boot of it. `manifest`: as the host says.
    LayerKeyReleased {
        host: HostId,
        reset_count: u32,
        restart_count: u32,
        key: KeyName,
        version: u32,
        layer: OciDigest,
        manifest: Option<OciDigest>,
        policy: PolicyName,
        policy_digest: Sha256Digest,
        result_entry: Sha256Digest,
        expires_at: i64,
        clock_end: u64,
    },
    /// A host that had proven who it is did not get the key of a layer. Key and layer are as its request says.
    LayerKeyRefused {
        host: HostId,
        key: KeyName,
        version: u32,
        layer: OciDigest,
        manifest: Option<OciDigest>,
        /// Codes; what they expected and saw stands in the entry of the result.
        refusals: Vec<String>,
    },
    /// A data key went to a host, sealed to its TPM and this boot of it: one that was `made` for a new secret, or the one of
    /// a secret that is there. `data_key`: its id.
    DataKeyReleased {
        host: HostId,
        reset_count: u32,
        restart_count: u32,
        key: KeyName,
        version: u32,
        data_key: Sha256Digest,
        made: bool,
        policy: PolicyName,
        policy_digest: Sha256Digest,
        result_entry: Sha256Digest,
        expires_at: i64,
        clock_end: u64,
    },
    /// A host that had proven who it is did not get a data key. What it asked for is as its request says; without a
    /// `version`, for a new one.
    DataKeyRefused {
        host: HostId,
        key: KeyName,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_key: Option<Sha256Digest>,
        refusals: Vec<String>,
    },
    /// A host gets a key no more, or none at all, and is to purge what its `leases` of it opened.
    LeasesRevoked {
        host: HostId,
        key: Option<KeyName>,
        leases: i64,
        reason: Option<Reason>,
    },
    /// A host may have a key again, or all that were revoked for it.
    LeasesRestored {
        host: HostId,
        key: Option<KeyName>,
        reason: Option<Reason>,
    },
    /// An image was registered, by its manifest. `encrypted`: every layer is.
    ImageRegistered {
        manifest: OciDigest,
        reference: String,
        config: OciDigest,
        layers: Vec<OciDigest>,
        encrypted: bool,
    },
    /// A credential was taken back.
    CredentialRevoked {
        name: CredentialName,
        key: Sha256Digest,
    },
    /// Policy manifests came into force.
    PolicyApplied {
        version: i64,
        digest: Sha256Digest,
        /// The operator let it take affirming away from however many hosts.
        #[serde(skip_serializing_if = "is_false")]
        drain: bool,
        /// Whose objects they are, where nobody applied them to the attestor.
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster: Option<ClusterName>,
    },
    /// The boot of a host was kept as reference values that are pending. `manifest`: SHA-256 of it.
    ReferenceCaptured {
        name: String,
        host: HostId,
        evidence: Sha256Digest,
        manifest: Sha256Digest,
        anyway: bool,
    },
    /// A Kubernetes node is mapped to no host any more.
    NodeUnmapped {
        cluster: ClusterName,
        node: String,
        host: HostId,
    },
    /// A Kubernetes node was mapped to a host. `before`: the other one that it was mapped to until then.
    NodeMapped {
        cluster: ClusterName,
        node: String,
        /// Which node of that name, where the attestor sees the cluster.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<String>,
        host: HostId,
        before: Option<HostId>,
        /// By what, where no operator said so.
        #[serde(flatten)]
        by: Option<NodeProof>,
    },
    /// A host was enrolled.
    HostEnrolled {
        host: HostId,
        ek_digest: Sha256Digest,
        ak: Sha256Digest,
        tls_key: Sha256Digest,
        root_class: &'static str,
        join_token: String,
        /// SHA-256 of the AK's TPMT_PUBLIC that this one came instead of: all that rested on it is void.
        replaced_ak: Option<Sha256Digest>,
    },
    /// Another version of the firmware of a host's TPM is accepted.
    FirmwareAccepted {
        host: HostId,
        version: String,
        before: String,
    },
    /// A round was appraised.
    HostAppraised(Box<Appraised>),
    /// A host says that it took decrypted images off its disk. `complete`: that nothing of them is left. `leases`: those
    /// revoked ones of which it has nothing any more.
    ImagesPurged {
        host: HostId,
        runtime: ContainerRuntime,
        digests: Vec<OciDigest>,
        complete: bool,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        leases: Vec<RevokedLease>,
    },
    /// Messages that could not change anything were refused; counted by code since the last such entry.
    Refused { counts: BTreeMap<String, u64> },
    /// A pod or a binding that a policy is for was judged.
    AdmissionDecided {
        cluster: ClusterName,
        review: String,
        operation: String,
        namespace: String,
        pod: String,
        pod_uid: Option<String>,
        /// `None`: it was refused before it had one.
        node: Option<String>,
        host: Option<HostId>,
        policies: Vec<String>,
        policy_digest: Sha256Digest,
        admitted: bool,
        /// Codes; what they expected and saw stands in the entry of the result.
        refusals: Vec<String>,
        result_entry: Option<Sha256Digest>,
        /// Manifests that the pod asks for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        images: Vec<OciDigest>,
        /// Whose pod it is, where it is or was to be on a node.
        #[serde(skip_serializing_if = "Option::is_none")]
        workload: Option<Workload>,
        /// It is the first of its workload: the others are to be the same.
        #[serde(skip_serializing_if = "is_false")]
        recorded: bool,
    },
    /// A policy manifest that is an object of a cluster was let through to be written or taken away there. `object`: kind and
    /// name. `user`: who, as the API server says. `manifest`: SHA-256 of it, as it stands in what comes into force; `None`: it
    /// is taken away.
    PolicyObjectWritten {
        cluster: ClusterName,
        object: String,
        operation: String,
        user: String,
        manifest: Option<Sha256Digest>,
    },
    /// A cluster was spoken to under this name for the first time. `uid`: of its namespace `kube-system`.
    ClusterBound { cluster: ClusterName, uid: String },
    /// A node began another boot, as its kubelet says: what was appraised before counts no more there.
    NodeRebooted {
        cluster: ClusterName,
        node: String,
        uid: String,
        host: HostId,
        /// As the kubelet calls it.
        boot: String,
        before: String,
        /// How many boots there were between these two, as the kubelet said.
        #[serde(skip_serializing_if = "is_zero")]
        untold: u64,
    },
    /// Pods of a namespace were refused so often that not each time is an entry.
    RefusalsFolded {
        cluster: ClusterName,
        namespace: String,
        folded: Vec<FoldedRefusals>,
    },
    /// A pod that a policy is for was told to end where it ran.
    PodEnded {
        cluster: ClusterName,
        namespace: String,
        pod: String,
        pod_uid: String,
        node: String,
        host: Option<HostId>,
        policies: Vec<String>,
        /// Codes; what they expected and saw stands in the entry of the result.
        refusals: Vec<String>,
        result_entry: Option<Sha256Digest>,
    },
    /// A pod of a workload came after another one that ended.
    WorkloadMoved(Box<Moved>),
    /// Our webhook configurations are others than when they were seen last, by whichever replica.
    WebhooksChanged(WebhooksSeen),
    /// Too many nodes would lose pods at once, or too many pods are said to run another image, and these stay where they are,
    /// or do so no longer.
    EvictionsHeld {
        cluster: ClusterName,
        nodes: usize,
        held: bool,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A revocation list, and the one whose place it takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ListImported {
    pub(crate) issuer: String,
    pub(crate) issuer_key: Sha256Digest,
    pub(crate) list: Sha256Digest,
    pub(crate) number: Option<String>,
    pub(crate) next_update: i64,
    pub(crate) revoked: usize,
    pub(crate) replaced: Option<Sha256Digest>,
}

#[cfg(test)]
mod tests;
