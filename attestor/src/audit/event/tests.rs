//! No event hides what every entry has.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeSet;

use touchstone_evidence::result::{TrustTier, TrustVector};

use super::super::{Actor, Staff};
use super::*;

/// A kind that is missing does not compile.
macro_rules! kinds {
    ($($name:ident)*) => {
        const KINDS: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        fn kind(event: &Event) -> &'static str {
            match event {
                $(Event::$name { .. } => stringify!($name),)*
            }
        }
    };
}

kinds! {
    LogStarted
    LogResumed
    CheckpointKeyRotated
    EndorsementImported
    RevocationListImported
    InventoryAdded
    InventoryImported
    InventoryEksAdded
    InventoryRemoved
    OemAdded
    PlatformAdmitted
    HostApproved
    HostRejected
    ReenrolmentOpened
    HostRetired
    HostReplaced
    JoinTokenCreated
    JoinTokenRevoked
    LocationAuthorityAdded
    LocationTagIssued
    LocationTagRevoked
    LocationAuthorityRevoked
    HostMoved
    CredentialCreated
    ResultKeyAdded
    ResultKeyRevoked
    CaAnnounced
    CaActivated
    WebhookRotated
    WebhookRevoked
    MasterKeyReplaced
    LayerKeyCreated
    LayerKeyRotated
    ImportKeyMade
    LayerKeyImported
    LayerKeyDisabled
    LayerKeyEnabled
    LayerKeyDestroyed
    LayerWrapped
    LayerKeyReleased
    LayerKeyRefused
    DataKeyReleased
    DataKeyRefused
    LeasesRevoked
    LeasesRestored
    ImageRegistered
    CredentialRevoked
    PolicyApplied
    ReferenceCaptured
    NodeUnmapped
    NodeMapped
    HostEnrolled
    FirmwareAccepted
    HostAppraised
    ImagesPurged
    Refused
    AdmissionDecided
    PolicyObjectWritten
    ClusterBound
    NodeRebooted
    RefusalsFolded
    PodEnded
    WorkloadMoved
    WebhooksChanged
    EvictionsHeld
}

#[test]
fn no_field_of_an_event_hides_one_of_the_envelope() {
    let place = Place::new("DE", None, "site1").unwrap();
    let host: HostId = "de-1".parse().unwrap();
    let digest = Sha256Digest::ZERO;
    let custodian = Custodian {
        pod: String::new(),
        pod_uid: String::new(),
        node: String::new(),
        host: Some(host.clone()),
        tier: TrustTier::None,
    };
    let events = [
        Event::LogStarted {
            checkpoint_key: String::new(),
        },
        Event::CheckpointKeyRotated {
            checkpoint_key: String::new(),
            replaced: String::new(),
        },
        Event::EndorsementImported {
            class: "cloud",
            manufacturers: Vec::new(),
            bundle: digest,
            roots: 1,
            intermediates: 0,
        },
        Event::RevocationListImported(ListImported {
            issuer: String::new(),
            issuer_key: digest,
            list: digest,
            number: None,
            next_update: 1,
            revoked: 0,
            replaced: None,
        }),
        Event::InventoryAdded {
            host: host.clone(),
            ek_digests: vec![digest],
        },
        Event::JoinTokenCreated {
            token: String::new(),
            expires_at: 1,
            host: Some(host.clone()),
            uses: Some(1),
        },
        Event::WorkloadMoved(Box::new(Moved {
            cluster: ClusterName::default(),
            namespace: String::new(),
            workload: Workload {
                kind: "ReplicaSet".to_owned(),
                name: "api".to_owned(),
                uid: String::new(),
                revision: String::new(),
            },
            from: custodian.clone(),
            to: custodian.clone(),
            images: vec![OciDigest(digest)],
            same: Some(true),
        })),
        Event::JoinTokenRevoked {
            token: String::new(),
        },
        Event::InventoryImported {
            machines: BTreeMap::from([("m".parse().unwrap(), vec![digest])]),
        },
        Event::InventoryRemoved {
            host: host.clone(),
            reason: None,
        },
        Event::HostApproved {
            host: host.clone(),
            ek_digest: digest,
        },
        Event::OemAdded {
            oem: digest,
            subject: String::new(),
            host_prefix: String::new(),
        },
        Event::PlatformAdmitted {
            host: host.clone(),
            ek_digest: digest,
            oem: digest,
            platform_certificate: digest,
        },
        Event::ReenrolmentOpened {
            host: host.clone(),
            expires_at: 1,
            reason: None,
        },
        Event::LocationAuthorityAdded { authority: digest },
        Event::LocationTagIssued {
            host: host.clone(),
            serial: 1,
            tag: digest,
            place: place.clone(),
        },
        Event::LocationTagRevoked {
            host: host.clone(),
            serial: 1,
            tag: digest,
            authority: Some(digest),
            reason: None,
        },
        Event::LocationAuthorityRevoked {
            authority: digest,
            reason: None,
        },
        Event::HostMoved {
            host: host.clone(),
            from: place.clone(),
            to: place.clone(),
            serial: 1,
        },
        Event::CredentialCreated {
            name: "anna".parse().unwrap(),
            role: Role::Officer,
            way: Way::Token,
            key: digest,
            expires_at: Some(1),
        },
        Event::ResultKeyAdded {
            key: String::new(),
            public_key: String::new(),
            before: None,
        },
        Event::ResultKeyRevoked { key: String::new() },
        Event::CaAnnounced { ca: digest },
        Event::CaActivated { ca: digest },
        Event::WebhookRotated {
            cluster: Some(ClusterName::default()),
        },
        Event::WebhookRevoked,
        Event::CredentialRevoked {
            name: "anna".parse().unwrap(),
            key: digest,
        },
        Event::MasterKeyReplaced {
            master_key: String::new(),
            replaced: String::new(),
            versions: 1,
        },
        Event::LayerKeyCreated {
            key: "k".parse().unwrap(),
            policy: "p".parse().unwrap(),
            registered: true,
        },
        Event::ImportKeyMade {
            import_key: String::new(),
            expires_at: 1,
        },
        Event::LayerKeyImported {
            key: "k".parse().unwrap(),
            version: 1,
            import_key: String::new(),
        },
        Event::LayerKeyDestroyed {
            key: "k".parse().unwrap(),
            versions: 1,
            reason: None,
        },
        Event::LayerWrapped {
            key: "k".parse().unwrap(),
            version: 1,
            layer: touchstone_evidence::oci_digest::OciDigest(digest),
            policy: "p".parse().unwrap(),
            annotation: digest,
        },
        Event::LayerKeyReleased {
            host: host.clone(),
            reset_count: 1,
            restart_count: 0,
            key: "k".parse().unwrap(),
            version: 1,
            layer: touchstone_evidence::oci_digest::OciDigest(digest),
            manifest: None,
            policy: "p".parse().unwrap(),
            policy_digest: digest,
            result_entry: digest,
            expires_at: 1,
            clock_end: 1,
        },
        Event::LayerKeyRefused {
            host: host.clone(),
            key: "k".parse().unwrap(),
            version: 1,
            layer: touchstone_evidence::oci_digest::OciDigest(digest),
            manifest: None,
            refusals: Vec::new(),
        },
        Event::DataKeyReleased {
            host: host.clone(),
            reset_count: 1,
            restart_count: 0,
            key: "k".parse().unwrap(),
            version: 1,
            data_key: digest,
            made: true,
            policy: "p".parse().unwrap(),
            policy_digest: digest,
            result_entry: digest,
            expires_at: 1,
            clock_end: 1,
        },
        Event::DataKeyRefused {
            host: host.clone(),
            key: "k".parse().unwrap(),
            version: Some(1),
            data_key: Some(digest),
            refusals: Vec::new(),
        },
        Event::LeasesRevoked {
            host: host.clone(),
            key: None,
            leases: 1,
            reason: None,
        },
        Event::LeasesRestored {
            host: host.clone(),
            key: None,
            reason: None,
        },
        Event::ImageRegistered {
            manifest: touchstone_evidence::oci_digest::OciDigest(digest),
            reference: String::new(),
            config: touchstone_evidence::oci_digest::OciDigest(digest),
            layers: Vec::new(),
            encrypted: true,
        },
        Event::PolicyApplied {
            version: 1,
            digest,
            drain: true,
            cluster: Some(ClusterName::default()),
        },
        Event::ReferenceCaptured {
            name: String::new(),
            host: host.clone(),
            evidence: digest,
            manifest: digest,
            anyway: false,
        },
        Event::NodeUnmapped {
            cluster: ClusterName::default(),
            node: String::new(),
            host: host.clone(),
        },
        Event::NodeMapped {
            cluster: ClusterName::default(),
            node: String::new(),
            uid: Some(String::new()),
            host: host.clone(),
            before: Some(host.clone()),
            by: Some(NodeProof::Token { token: digest }),
        },
        Event::PodEnded {
            cluster: ClusterName::default(),
            namespace: String::new(),
            pod: String::new(),
            pod_uid: String::new(),
            node: String::new(),
            host: Some(host.clone()),
            policies: Vec::new(),
            refusals: Vec::new(),
            result_entry: Some(digest),
        },
        Event::RefusalsFolded {
            cluster: ClusterName::default(),
            namespace: String::new(),
            folded: Vec::new(),
        },
        Event::WebhooksChanged(WebhooksSeen::default()),
        Event::NodeRebooted {
            cluster: ClusterName::default(),
            node: String::new(),
            uid: String::new(),
            host: host.clone(),
            boot: String::new(),
            before: String::new(),
            untold: 1,
        },
        Event::PolicyObjectWritten {
            cluster: ClusterName::default(),
            object: String::new(),
            operation: String::new(),
            user: String::new(),
            manifest: Some(digest),
        },
        Event::ClusterBound {
            cluster: ClusterName::default(),
            uid: String::new(),
        },
        Event::EvictionsHeld {
            cluster: ClusterName::default(),
            nodes: 3,
            held: true,
        },
        Event::ImagesPurged {
            host: host.clone(),
            runtime: ContainerRuntime::Podman,
            digests: vec![OciDigest(digest)],
            complete: true,
            leases: Vec::new(),
        },
        Event::FirmwareAccepted {
            host: host.clone(),
            version: String::new(),
            before: String::new(),
        },
        Event::Refused {
            counts: BTreeMap::new(),
        },
        Event::LogResumed {
            size: 1,
            root: digest,
        },
        Event::InventoryEksAdded {
            host: host.clone(),
            ek_digests: vec![digest],
        },
        Event::HostRejected { ek_digest: digest },
        Event::HostRetired {
            host: host.clone(),
            reason: None,
        },
        Event::HostReplaced {
            host: host.clone(),
            ek_digests: vec![digest],
            reason: None,
        },
        Event::HostEnrolled {
            host: host.clone(),
            ek_digest: digest,
            ak: digest,
            tls_key: digest,
            root_class: "cloud",
            join_token: String::new(),
            replaced_ak: Some(digest),
        },
        Event::HostAppraised(Box::new(Appraised {
            host: host.clone(),
            tier: TrustTier::None,
            vector: TrustVector::NONE,
            findings: Vec::new(),
            place: Some(place),
            policy: String::new(),
            policy_digest: digest,
            evidence: digest,
            boot_log: digest,
            runtime: None,
            result: String::new(),
            challenged_at: 1,
            expires_at: 2,
            firmware_version: 1,
            reset_count: 1,
            restart_count: 0,
            clock: 1,
        })),
        Event::LayerKeyRotated {
            key: "k".parse().unwrap(),
            version: 2,
            reason: None,
        },
        Event::LayerKeyDisabled {
            key: "k".parse().unwrap(),
            reason: None,
        },
        Event::LayerKeyEnabled {
            key: "k".parse().unwrap(),
            reason: None,
        },
        Event::AdmissionDecided {
            cluster: ClusterName::default(),
            review: String::new(),
            operation: String::new(),
            namespace: String::new(),
            pod: String::new(),
            pod_uid: Some(String::new()),
            node: Some(String::new()),
            host: Some(host),
            policies: Vec::new(),
            policy_digest: digest,
            admitted: true,
            refusals: Vec::new(),
            result_entry: Some(digest),
            images: vec![OciDigest(digest)],
            workload: None,
            recorded: true,
        },
    ];
    let here: BTreeSet<&str> = events.iter().map(kind).collect();
    assert_eq!(here, BTreeSet::from(KINDS), "of each kind there is one");
    let officer = Actor::Staff(Staff {
        name: "anna".parse().unwrap(),
        role: Role::Officer,
    });
    for event in events {
        let bytes = encode([7; 16], &event, &officer, 9).unwrap();
        let text = outermost(&String::from_utf8(bytes).unwrap());
        for name in ["v", "id", "time", "actor", "credential", "kind"] {
            assert_eq!(
                text.matches(&format!("\"{name}\":")).count(),
                1,
                "{name} in {text}"
            );
        }
    }
}

/// An object without the ones in it; no text here holds a brace.
fn outermost(json: &str) -> String {
    let mut depth = 0;
    let at_top = |letter: &char| {
        depth += i32::from(*letter == '{');
        let keep = depth == 1;
        depth -= i32::from(*letter == '}');
        keep
    };
    json.chars().filter(at_top).collect()
}
