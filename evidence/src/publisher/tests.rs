//! Signatures that hold, and everything about them that must not.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

use super::*;

enum Signer {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn both() -> [Self; 2] {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        [Self::P256(p256), Self::Ed25519(ed25519)]
    }

    /// RFC 5480, RFC 8410.
    fn spki(&self) -> Vec<u8> {
        let (head, key) = match self {
            Self::P256(pair) => (
                "3059301306072a8648ce3d020106082a8648ce3d030107034200",
                pair.public_key().as_ref(),
            ),
            Self::Ed25519(pair) => ("302a300506032b6570032100", pair.public_key().as_ref()),
        };
        [&hex::decode(head).unwrap()[..], key].concat()
    }

    fn key(&self) -> PublisherKey {
        PublisherKey::parse(&STANDARD.encode(self.spki())).unwrap()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                signature.unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

fn image() -> OciDigest {
    OciDigest(Sha256Digest::of(b"image"))
}

fn payload(image: &OciDigest) -> Value {
    json!({
        "critical": {
            "identity": { "docker-reference": "registry.example/payments/api" },
            "image": { "docker-manifest-digest": image },
            "type": TYPE,
        },
        "optional": null,
    })
}

fn layer(payload: &[u8], signature: &[u8]) -> Value {
    json!({
        "mediaType": PAYLOAD,
        "digest": OciDigest(Sha256Digest::of(payload)),
        "size": payload.len(),
        "annotations": { ANNOTATION: STANDARD.encode(signature), "other": "x" },
    })
}

fn parse(layers: &[Value]) -> Result<Vec<Candidate>, SignatureError> {
    let manifest = json!({ "schemaVersion": 2, "config": {}, "layers": layers });
    Candidate::parse_all(manifest.to_string().as_bytes())
}

/// What becomes of a payload that is signed as it is.
fn signed(signer: &Signer, payload: &[u8]) -> Result<SignedImage, SignatureError> {
    let layer = layer(payload, &signer.sign(payload));
    let candidates = parse(&[layer]).unwrap();
    candidates[0].verify(payload, &signer.key(), &image())
}

#[test]
fn a_signature_of_either_kind_holds_for_its_image_and_key() {
    for signer in Signer::both() {
        let payload = payload(&image()).to_string();
        let proof = signed(&signer, payload.as_bytes()).unwrap();
        assert_eq!(
            (proof.image(), proof.key()),
            (image(), Sha256Digest::of(&signer.spki()))
        );
    }
}

#[test]
fn a_signature_is_of_the_very_bytes_of_its_payload() {
    for signer in Signer::both() {
        let text = payload(&image()).to_string();
        let layer = layer(text.as_bytes(), &signer.sign(text.as_bytes()));
        let candidate = parse(&[layer]).unwrap().remove(0);
        // The same in other bytes: its digest is another one.
        let spaced = format!(" {text}");
        assert_eq!(
            candidate.verify(spaced.as_bytes(), &signer.key(), &image()),
            Err(SignatureError::OtherPayload(candidate.payload))
        );
        // One that is named by its digest, and was not signed.
        let other = Candidate {
            payload: OciDigest(Sha256Digest::of(spaced.as_bytes())),
            ..candidate
        };
        assert_eq!(
            other.verify(spaced.as_bytes(), &signer.key(), &image()),
            Err(SignatureError::OtherKey)
        );
    }
}

#[test]
fn a_signature_for_another_image_or_by_another_key_does_not_hold() {
    let [one, other] = Signer::both();
    let another = OciDigest(Sha256Digest::of(b"another"));
    let text = payload(&another).to_string();
    assert_eq!(
        signed(&one, text.as_bytes()),
        Err(SignatureError::OtherImage(another))
    );
    let text = payload(&image()).to_string();
    for (signer, key) in [(&one, &other), (&other, &one)] {
        let layer = layer(text.as_bytes(), &signer.sign(text.as_bytes()));
        let candidate = parse(&[layer]).unwrap().remove(0);
        assert_eq!(
            candidate.verify(text.as_bytes(), &key.key(), &image()),
            Err(SignatureError::OtherKey)
        );
    }
}

#[test]
fn what_is_signed_and_no_payload_says_nothing() {
    let [signer, _] = Signer::both();
    let mut other_type = payload(&image());
    other_type["critical"]["type"] = json!("atomic container signature");
    let mut no_image = payload(&image());
    no_image["critical"]["image"] = json!({});
    let twice = payload(&image()).to_string().replace(
        "\"image\":",
        "\"image\":{\"docker-manifest-digest\":\"sha256:0\"},\"image\":",
    );
    for text in [
        "",
        "[]",
        &other_type.to_string(),
        &no_image.to_string(),
        &twice,
    ] {
        let said = signed(&signer, text.as_bytes());
        assert!(matches!(said, Err(SignatureError::Payload(_))), "{text}");
    }
}

#[test]
fn too_many_and_too_large_are_refused() {
    let [signer, _] = Signer::both();
    let text = payload(&image()).to_string();
    let layer = layer(text.as_bytes(), &signer.sign(text.as_bytes()));
    let many = |count: usize| parse(&vec![layer.clone(); count]);
    assert_eq!(many(CANDIDATES_MAX).unwrap().len(), CANDIDATES_MAX);
    assert!(matches!(
        many(CANDIDATES_MAX + 1),
        Err(SignatureError::Manifest(_))
    ));
    let huge = vec![b' '; SIGNATURES_MAX + 1];
    assert!(matches!(
        Candidate::parse_all(&huge),
        Err(SignatureError::TooLarge { .. })
    ));
    let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
    assert!(signed(&signer, padded(PAYLOAD_MAX).as_bytes()).is_ok());
    assert!(matches!(
        signed(&signer, padded(PAYLOAD_MAX + 1).as_bytes()),
        Err(SignatureError::TooLarge { .. })
    ));
}

#[test]
fn layers_that_are_no_signature_of_cosign_s_are_left_out() {
    let good = layer(b"a", b"signature");
    let mut all = vec![good; 5];
    all[0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
    all[1]["annotations"] = json!({});
    all[2]["annotations"][ANNOTATION] = json!("no base64");
    all[3]["annotations"][ANNOTATION] = json!("A".repeat(SIGNATURE_MAX + 4));
    assert_eq!(parse(&all).unwrap().len(), 1);
    assert!(parse(&[]).unwrap().is_empty());
    for wrong in ["", "7", r#"{"layers":{}}"#, r#"{"layers":[{}]}"#] {
        let said = Candidate::parse_all(wrong.as_bytes());
        assert!(matches!(said, Err(SignatureError::Manifest(_))), "{wrong}");
    }
}

#[test]
fn keys_are_read_as_pem_or_base64_and_no_others() {
    for signer in Signer::both() {
        let base64 = STANDARD.encode(signer.spki());
        let lines: Vec<&str> = base64
            .as_bytes()
            .chunks(64)
            .map(|line| str::from_utf8(line).unwrap())
            .collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        );
        let keys = [&*pem, &*base64].map(|text| PublisherKey::parse(text).unwrap());
        assert_eq!(keys[0], keys[1]);
        let longer = STANDARD.encode([&signer.spki()[..], &[0]].concat());
        let shorter = STANDARD.encode(&signer.spki()[..40]);
        let half = pem.replace("-----END PUBLIC KEY-----", "");
        for wrong in [&*longer, &*shorter, &*half, "", "AAAA"] {
            assert_eq!(PublisherKey::parse(wrong), Err(NotAPublisherKey), "{wrong}");
        }
    }
    // A point that is not on the curve, a compressed one, and another curve (P-384).
    let [Signer::P256(pair), _] = Signer::both() else {
        panic!("the first is P-256");
    };
    let spki = Signer::P256(pair).spki();
    let mut off = spki.clone();
    off[90] ^= 1;
    let mut compressed = spki.clone();
    compressed[26] = 2;
    let other_curve = hex::decode("3046301006072a8648ce3d020106052b81040022").unwrap();
    let other_curve = [&other_curve[..], &spki[23..]].concat();
    for wrong in [off, compressed, other_curve] {
        let text = STANDARD.encode(wrong);
        assert_eq!(PublisherKey::parse(&text), Err(NotAPublisherKey));
    }
}
