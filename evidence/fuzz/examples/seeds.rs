//! Writes the seeds that the targets start from: `cargo run --example seeds`, in this folder.
//!
//! All of them are made of our own recorded machine and of keys that protect nothing. Signatures of
//! certificates are new each time; everything else comes out the same.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use touchstone_evidence::annotation::{Annotation, Binding};
use touchstone_evidence::boot_log::BootLog;
use touchstone_evidence::data_key::{self, DataKey, WrappedDataKey};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::ima::ImaList;
use touchstone_evidence::keyprovider::grpc;
use touchstone_evidence::location::{LocationAuthority, LocationTag, Place};
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::result::{AttestationResult, ResultSigner};
use touchstone_evidence::sealed_release::{DATA_OBJECT_ATTRIBUTES, ReleasePolicy};
use touchstone_evidence::secret::Secret;
use touchstone_evidence::tpm::template::RELEASE_KEY_TEMPLATE;
use touchstone_evidence::transparency::{
    CheckpointSigner, ConsistencyProof, Frontier, InclusionProof, LeafHash, checkpoint_line,
    entry_line, handover_line, header_line,
};
use touchstone_evidence::wire::JoinToken;
use touchstone_evidence_fuzz::authority::{self, ROOT, pem};
use touchstone_evidence_fuzz::{NOW, SECRET};

fn main() {
    tpm();
    releases();
    boot_logs();
    measurement_lists();
    location_tags();
    certificates();
    audit();
    results();
    messages();
    layers();
    secrets();
}

fn profile(path: &str) -> Vec<u8> {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tpm-sim/profiles");
    std::fs::read(profiles.join(path)).unwrap()
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// Objects for the state that the target knows, and a release key.
fn releases() {
    let zero = |pcr| (pcr, Sha256Digest::ZERO);
    let values = PcrValues(PcrSelection::DEFAULT.indices().map(zero).collect());
    let policy = ReleasePolicy::new(&values, (1, 0), 1000).unwrap();
    let object = |attributes: u32, policy: Sha256Digest| {
        let attributes = attributes.to_be_bytes();
        let parts: [&[u8]; 6] = [
            &[0, 8, 0, 0x0b],
            &attributes,
            &[0, 32],
            &policy.0,
            &[0, 0x10, 0, 32],
            &[7; 32],
        ];
        parts.concat()
    };
    let right = DATA_OBJECT_ATTRIBUTES;
    write("sealed_release", "object", object(right, policy.digest()));
    let open = object(right | 1 << 6, policy.digest());
    write("sealed_release", "user_with_auth", open);
    let other = object(right, Sha256Digest::ZERO);
    write("sealed_release", "other_policy", other);
    let ak = profile("shim_sb/ak.pub");
    let point = &ak[ak.len() - 68..];
    let key = [&RELEASE_KEY_TEMPLATE[..22], point].concat();
    write("sealed_release", "release_key", key);
}

fn tpm() {
    let quote = profile("shim_sb/quote.msg");
    write("tpm_attest", "quote", &quote);
    // The same head under the tags of a certification of a key and of an NV index.
    let head = &quote[6..quote.len() - 44];
    let name = [&[0, 34, 0, 0x0b][..], &[5; 32]].concat();
    let nv = [&name[..], &[0, 0, 0, 3, 1, 2, 3]].concat();
    for (file, tag, body) in [
        ("nv", 0x14, nv),
        ("certify", 0x17, [&name[..], &name].concat()),
    ] {
        let tag = [0xff, 0x54, 0x43, 0x47, 0x80, tag];
        write("tpm_attest", file, [&tag, head, &body].concat());
    }

    // Without the size that `TPM2B_PUBLIC` begins with.
    write("tpm_public", "ak-p256", &profile("shim_sb/ak.pub")[2..]);
    write("tpm_public", "ek-rsa2048", &profile("shim_sb/ek.pub")[2..]);
    write("tpm_public", "ek-p256", ek_p256());

    write("tpm_signature", "ecdsa", profile("shim_sb/quote.sig"));
    write(
        "tpm_signature",
        "rsassa",
        [&[0, 0x14, 0, 0x0b, 1, 0][..], &[9; 256]].concat(),
    );
    write(
        "tpm_signature",
        "rsapss",
        [&[0, 0x16, 0, 0x0c, 0, 4][..], &[9; 4]].concat(),
    );
}

/// The low-range template for P-256 (TCG EK Credential Profile 2.5, L-2) with the fixed EK's point.
fn ek_p256() -> Vec<u8> {
    let policy = &profile("shim_sb/ek.pub")[12..44];
    let point = &authority::EK[authority::EK.len() - 64..];
    let mut out = vec![0, 0x23, 0, 0x0b, 0, 3, 0, 0xb2, 0, 32];
    out.extend(policy);
    out.extend([0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10]);
    for coordinate in point.chunks(32) {
        out.extend([0, 32]);
        out.extend(coordinate);
    }
    out
}

/// The recorded logs, and short ones: as many of the first bytes as make a whole log.
fn boot_logs() {
    let log = profile("shim_sb/bios.bin");
    write("boot_log", "shim_sb", &log);
    write("boot_log", "shim_sb_evil", profile("shim_sb_evil/bios.bin"));
    write("boot_log", "loaders", [log.as_slice(), &loaders()].concat());
    for events in [1, 8] {
        let whole = |length: &usize| {
            BootLog::parse(&log[..*length]).is_ok_and(|log| log.events().len() == events)
        };
        let length = (0..log.len()).find(whole).unwrap();
        write("boot_log", &format!("events-{events}"), &log[..length]);
    }
}

/// Command lines as systemd-boot, the kernel's EFI stub and a unified kernel image measure them.
fn loaders() -> Vec<u8> {
    let wide: Vec<u8> = "quiet\0"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let tagged = [&[0xed, 0x22, 0x3b, 0x8f, 12, 0, 0, 0][..], &wide].concat();
    let events: [(u8, [u8; 4], &[u8]); 5] = [
        (12, [0x0d, 0, 0, 0], &wide),
        (8, [0x0d, 0, 0, 0], &wide),
        (9, [6, 0, 0, 0], &tagged),
        (11, [0x0d, 0, 0, 0], b".cmdline\0"),
        (11, [0x0d, 0, 0, 0], b"quiet"),
    ];
    let mut out = Vec::new();
    for (pcr, kind, data) in events {
        out.extend([pcr, 0, 0, 0]);
        out.extend(kind);
        out.extend([1, 0, 0, 0, 0x0b, 0]);
        out.extend(Sha256Digest::of(data).0);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
    }
    out
}

/// The recorded list, the beginning of it, and one record under each template. Hashes are left out
/// where the target makes them.
fn measurement_lists() {
    let list = profile("shim_sb/ima.bin");
    write("ima", "shim_sb", &list);
    let whole = |length: &usize| ImaList::parse(&list[..*length]).is_ok();
    for (name, end) in ["one", "two", "three"]
        .iter()
        .zip((1..list.len()).filter(whole))
    {
        write("ima", name, &list[..end]);
    }

    let digest = [&b"sha256:\0"[..], &[5; 32]].concat();
    let digest_v2 = [&b"verity:sha256:\0"[..], &[5; 32]].concat();
    let (path, signature, nothing) = (&b"/bin/a\0"[..], &[3, 2, 4, 9][..], &[][..]);
    let templates: [(&str, &[&[u8]]); 7] = [
        ("ima-ng", &[&digest, path]),
        ("ima-sig", &[&digest, path, signature]),
        ("ima-buf", &[&digest, path, b"buffer"]),
        ("ima-ngv2", &[&digest_v2, path]),
        ("ima-sigv2", &[&digest_v2, path, signature]),
        ("ima-modsig", &[&digest, path, nothing, &digest, signature]),
        (
            "evm-sig",
            &[
                &digest, path, signature, nothing, nothing, nothing, nothing, nothing, nothing,
            ],
        ),
    ];
    let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let head = |hash: u8| [&[10, 0, 0, 0][..], &[hash; 20]].concat();
    let mut all = Vec::new();
    for (name, fields) in templates {
        let data: Vec<u8> = fields.iter().flat_map(|field| sized(field)).collect();
        let record = [head(1), sized(name.as_bytes()), sized(&data)].concat();
        write("ima", name, &record);
        all.extend(record);
    }
    let legacy = [
        head(0),
        sized(b"ima"),
        [7; 20].to_vec(),
        sized(b"boot_aggregate"),
    ]
    .concat();
    write("ima", "legacy", &legacy);
    let data = [sized(b"sha1:\0"), sized(path)].concat();
    write(
        "ima",
        "violation",
        [head(0), sized(b"ima-ng"), sized(&data)].concat(),
    );
    write("ima", "templates", [legacy, all].concat());
}

fn location_tags() {
    for (name, seconds, place) in [
        ("country", 200, Place::new("DE", None, "a").unwrap()),
        ("site", 1, Place::new("DE", Some("DE-HE"), "fra1").unwrap()),
    ] {
        let tag = LocationTag {
            authority: Sha256Digest::ZERO,
            ek_set: Sha256Digest::of(b"ek"),
            serial: 1,
            not_before: NOW - 100,
            not_after: NOW - 100 + seconds,
            place,
        };
        let signed = LocationAuthority::from_secret(&SECRET).sign(tag).unwrap();
        write("location_tag", name, signed);
    }
}

fn certificates() {
    let middle = authority::intermediate("Middle");
    let under_root = authority::ek_certificate("Root");
    let under_middle = authority::ek_certificate("Middle");
    let chains: [(&str, &[&[u8]]); 4] = [
        ("root", &[&under_root]),
        ("intermediate", &[&under_middle, &middle]),
        ("more", &[&under_middle, &ROOT, &middle, &under_root]),
        ("recorded", &[&profile("shim_sb/ekcert.der")]),
    ];
    for (name, chain) in chains {
        let mut bytes = Vec::new();
        for certificate in chain {
            bytes.extend(u16::try_from(certificate.len()).unwrap().to_be_bytes());
            bytes.extend(*certificate);
        }
        write("ek_certificate", name, bytes);
    }
    let serials = [vec![0x7f; 20], vec![1], vec![2, 0]];
    write("crl", "empty", authority::revocation_list(1, &[]));
    write("crl", "three", authority::revocation_list(0x1234, &serials));
    // The EK certificate's own: what follows the version in its signed part (RFC 5280 §4.1).
    let start = under_root
        .windows(3)
        .position(|three| three == [0xa0, 3, 2]);
    let serial = &under_root[start.unwrap() + 5..];
    let serial = serial[2..2 + usize::from(serial[1])].to_vec();
    write("crl", "leaf", authority::revocation_list(2, &[serial]));
    for (name, serial, until) in [
        ("valid", "SN 0042", "20400101000000Z"),
        ("expired", "7", "20210101000000Z"),
    ] {
        let platform = authority::platform_certificate(&under_root, serial, until);
        write("platform_certificate", name, platform);
    }
    write("platform_certificate", "ordinary", &under_root);
    write("ek_roots", "root", pem(&ROOT));
    write("ek_roots", "der", &*ROOT);
    write("ek_roots", "der-intermediate", &middle);
    write(
        "ek_roots",
        "bundle",
        format!("Root\n{}{}", pem(&ROOT), pem(&middle)),
    );
}

fn audit() {
    let signer =
        CheckpointSigner::new("log.example/audit", SigningKey::from_bytes(&SECRET)).unwrap();
    let bodies = ["{}", "{\"host\": \"de-1\", \"é\": [1, 2.0e0]}", ""];
    let leaves: Vec<LeafHash> = bodies
        .iter()
        .map(|body| LeafHash::of(body.as_bytes()))
        .collect();
    let mut tree = Frontier::empty();
    let mut lines = vec![header_line(signer.verifier_key())];
    for (index, body) in (0..).zip(bodies) {
        tree.append(leaves[index as usize]).unwrap();
        lines.push(entry_line(index, body));
    }
    let (head, note) = (tree.head(), signer.sign(&tree.head()));
    lines.push(checkpoint_line(&note));
    write("audit_export", "three", lines.join("\n"));
    let empty = checkpoint_line(&signer.sign(&Frontier::empty().head()));
    write("audit_export", "empty", format!("{}\n{empty}\n", lines[0]));
    write("audit_export", "entries", bodies.join("\n"));

    let old_format = lines.join("\n").replace("audit-v2", "audit-v1");
    write("audit_export", "old_format", old_format);
    exchanged_key(&signer);

    let witness = "\u{2014} witness.example AAAAAAAAAAAAAAAA\n";
    write("checkpoint", "note", &note);
    write("checkpoint", "witnessed", format!("{note}{witness}"));
    write("checkpoint", "key", signer.verifier_key().to_string());

    let included = InclusionProof::from_leaves(&leaves, 1).unwrap();
    let consistent = ConsistencyProof::from_leaves(&leaves, 3).unwrap();
    let included = json!({ "Included": [included, leaves[1], head] });
    let consistent = json!({ "Consistent": [consistent, head, head] });
    write("tree_proofs", "included", included.to_string());
    write("tree_proofs", "consistent", consistent.to_string());
    write("tree_proofs", "frontier", tree.to_bytes());
}

/// An export whose key was exchanged twice.
fn exchanged_key(first: &CheckpointSigner) {
    let successor =
        |secret| CheckpointSigner::new("log.example/audit", SigningKey::from_bytes(&secret));
    let (second, third) = (successor([2; 32]).unwrap(), successor([3; 32]).unwrap());
    let exchange = |old: &CheckpointSigner, new: &CheckpointSigner| {
        json!({
            "kind": "checkpoint-key-rotated",
            "checkpoint_key": new.verifier_key().to_string(),
            "replaced": old.verifier_key().to_string(),
        })
        .to_string()
    };
    let bodies = [
        "{}".to_owned(),
        exchange(first, &second),
        exchange(&second, &third),
        "{}".to_owned(),
    ];
    let exchanges = [None, Some((first, &second)), Some((&second, &third)), None];
    let mut tree = Frontier::empty();
    let mut lines = vec![header_line(third.verifier_key())];
    for ((index, body), exchange) in (0..).zip(&bodies).zip(exchanges) {
        tree.append(LeafHash::of(body.as_bytes())).unwrap();
        lines.push(entry_line(index, body));
        if let Some((old, new)) = exchange {
            let note = old.hand_over(&tree.head(), new);
            lines.push(handover_line(&note));
            write("checkpoint", "handover", &note);
        }
    }
    lines.push(checkpoint_line(&third.sign(&tree.head())));
    write("audit_export", "exchanged", lines.join("\n"));
}

fn results() {
    let digest = Sha256Digest::of(b"x");
    let finding = Finding::new("pcr-digest-mismatch")
        .about("PCR 8")
        .expected(1)
        .observed(2);
    let mut submodule = json!({
        "ear.status": "contraindicated",
        "ear.trustworthiness-vector": { "configuration": 96, "hardware": 2 },
        "ear.appraisal-policy-id": "fleet",
        "touchstone": {
            "place": Place::new("DE", Some("DE-HE"), "fra1").unwrap(),
            "findings": [finding],
            "entry": digest,
            "evidence": digest,
            "reset_count": 5,
            "restart_count": 0,
        },
    });
    let result = |submodule: &Value| {
        json!({
            "jti": "00".repeat(16),
            "eat_profile": AttestationResult::PROFILE,
            "ear.verifier-id": { "build": "touchstone", "developer": "attestor" },
            "iat": NOW - 60,
            "exp": NOW + 60,
            "submods": { "de-1": submodule },
        })
    };
    let full = result(&submodule);
    write("result_token", "payload", full.to_string());
    let parsed: AttestationResult = serde_json::from_value(full).unwrap();
    let token = ResultSigner::from_secret(&SECRET).sign(&parsed).unwrap();
    write("result_token", "token", token);
    submodule["touchstone"]["findings"] = json!([]);
    submodule["ear.trustworthiness-vector"] = json!({});
    write("result_token", "bare", result(&submodule).to_string());
}

fn messages() {
    let b = |bytes: &[u8]| json!(Bytes::<{ 1 << 20 }>(bytes.to_vec()));
    let digest = Sha256Digest::of(b"x");
    let signed = json!({
        "attest": b(&profile("shim_sb/quote.msg")),
        "signature": b(&profile("shim_sb/quote.sig")),
    });
    let challenge = json!({
        "nonce": b(&[1; 32]), "pcrs": [0, 7, 23], "expires_at": NOW,
        "known_boot_log": digest,
        "runtime": { "reset_count": 3, "restart_count": 0, "offset": 97 }, "location_tag": b(&[1, 2, 3]),
    });
    let messages = [
        ("signed_attest", signed.clone()),
        ("challenge", challenge.clone()),
        (
            "enrolled",
            json!({ "host": "de-1", "challenge": challenge }),
        ),
        (
            "evidence",
            json!({
                "nonce": b(&[1; 32]), "boot_id": b(&[2; 16]), "quote": signed,
                "pcrs": { "0": digest, "23": digest }, "boot_log_digest": digest,
                "boot_log": b(&[3; 40]), "location": signed,
                "release_key": { "public": b(&[0, 0x23, 0, 0x0b]), "certification": signed },
                "runtime": {
                    "offset": 97, "entries": b(&profile("shim_sb/ima.bin")[..97]), "more": true,
                },
            }),
        ),
        (
            "sealed_release",
            json!({
                "public": b(&[0, 8, 0, 0x0b]), "duplicate": b(&[0, 32]), "encrypted_seed": b(&[0, 32]),
            }),
        ),
        (
            "enrolment_request",
            json!({
                "ek_certificate": b(&[0x30, 0]), "ek_public": b(&[0, 1]),
                "intermediates": [b(&[0x30, 0]), b(&[0x30, 1, 7])],
                "ak_public": b(&profile("shim_sb/ak.pub")[2..]),
            }),
        ),
        (
            "enrolment_challenge",
            json!({
                "enrolment": b(&[1; 16]), "host": "de-1.example",
                "credential": b(&[2; 8]), "encrypted_seed": b(&[3; 8]),
            }),
        ),
        (
            "activation",
            json!({ "enrolment": b(&[1; 16]), "secret": b(&[2; 32]) }),
        ),
        (
            "round_answer",
            json!({
                "tier": "affirming", "findings": [Finding::new("location-absent")],
                "result": "a.b.c", "entry": digest, "challenge": challenge,
            }),
        ),
    ];
    for (name, message) in messages {
        write("wire", name, message.to_string());
    }
    let token = JoinToken {
        server: "https://attestor:8443".to_owned(),
        ca: "pem".to_owned(),
        secret: "a long secret".to_owned(),
    };
    write("join_token", "text", token.to_text());
    write("join_token", "json", serde_json::to_vec(&token).unwrap());
}

/// Messages of key providers in both forms, within gRPC too, and what comes of wrapping a layer's key.
fn layers() {
    let layer = OciDigest(Sha256Digest::of(b"layer"));
    let options =
        json!({ "symkey": "aGk=", "digest": layer, "cipheroptions": { "nonce": "aGk=" } });
    let options = serde_json::to_vec(&options).unwrap();
    write("layer_annotation", "options", &options);
    let binding = Binding {
        key: "payments".parse().unwrap(),
        key_version: 3,
        layer,
        policy: "payments-eu".parse().unwrap(),
    };
    let annotation = Annotation::seal(binding, &options, &SECRET, [1; 12]).unwrap();
    let annotation = annotation.to_json().unwrap();
    write("layer_annotation", "sealed", &annotation);
    let media = "application/vnd.oci.image.layer.v1.tar+gzip";
    let ours = "org.opencontainers.image.enc.keys.provider.touchstone";
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": layer, "size": 3 },
        "layers": [
            { "mediaType": media, "digest": layer, "size": 3 },
            {
                "mediaType": format!("{media}+encrypted"), "digest": layer, "size": 3,
                "annotations": { ours: STANDARD.encode(&annotation) },
            },
        ],
    });
    write(
        "oci_manifest",
        "encrypted",
        serde_json::to_vec(&manifest).unwrap(),
    );
    write(
        "oci_manifest",
        "index",
        r#"{"schemaVersion":2,"manifests":[]}"#,
    );
    let signatures = json!({
        "schemaVersion": 2,
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": layer, "size": 3,
            "annotations": { "dev.cosignproject.cosign/signature": "aGk=" },
        }],
    });
    let signatures = serde_json::to_vec(&signatures).unwrap();
    write("image_signatures", "manifest", signatures);
    let key = "MCowBQYDK2VwAyEAR7zPrUV8jOKiIcgpmCoksMGSgTjgBcYEf7ilQO7qtWc=";
    write("image_signatures", "key", key);
    let base64 = |bytes: &[u8]| Value::from(STANDARD.encode(bytes));
    let numbers = |bytes: &[u8]| Value::from(bytes.to_vec());
    let forms: [(&str, &dyn Fn(&[u8]) -> Value); 2] = [("base64", &base64), ("numbers", &numbers)];
    for (form, bytes) in forms {
        let wrap = json!({
            "op": "keywrap",
            "keywrapparams": {
                "ec": { "Parameters": { "touchstone": [bytes(b"payments")] } },
                "optsdata": bytes(&options),
            },
        });
        let unwrap =
            json!({ "op": "keyunwrap", "keyunwrapparams": { "annotation": bytes(&annotation) } });
        for (operation, message) in [("wrap", wrap), ("unwrap", unwrap)] {
            let message = serde_json::to_vec(&message).unwrap();
            write("keyprovider", &format!("{operation}-{form}"), &message);
            write(
                "keyprovider",
                &format!("{operation}-{form}-grpc"),
                &*grpc::frame(&message),
            );
        }
    }
}

/// What a host keeps of a secret that it encrypted, and the wrapped data key in it.
fn secrets() {
    let data_key = DataKey::read(&[3; 32]).unwrap();
    let binding = data_key::Binding {
        key: "disks".parse().unwrap(),
        key_version: 3,
        id: data_key.id(),
        policy: "disks-eu".parse().unwrap(),
    };
    let wrapped = WrappedDataKey::seal(binding, &data_key, &SECRET, [1; 12]).unwrap();
    write("secret", "wrapped", wrapped.to_json().unwrap());
    let secret = Secret::seal(wrapped, &data_key, b"hush", b"", [2; 12]).unwrap();
    write("secret", "secret", secret.to_string());
}
