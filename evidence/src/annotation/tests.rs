//! What is sealed opens; whatever was changed does not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::digest::Sha256Digest;

fn layer(of: &[u8]) -> OciDigest {
    OciDigest(Sha256Digest::of(of))
}

fn options(of: &[u8], more: &str) -> Vec<u8> {
    let options =
        json!({ "symkey": "aGk=", "digest": layer(of), "cipheroptions": { "nonce": more } });
    serde_json::to_vec(&options).unwrap()
}

fn binding() -> Binding {
    Binding {
        key: "payments".parse().unwrap(),
        key_version: 3,
        layer: layer(b"layer"),
        policy: "payments-eu".parse().unwrap(),
    }
}

fn sealed() -> Annotation {
    Annotation::seal(binding(), &options(b"layer", "x"), &[7; 32], [1; NONCE]).unwrap()
}

fn refused(json: &Value) -> AnnotationError {
    let annotation = Annotation::parse(&serde_json::to_vec(json).unwrap());
    match annotation.and_then(|annotation| annotation.open(&[7; 32])) {
        Ok(_) => panic!("it opens: {json}"),
        Err(error) => error,
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens_under_its_key_alone(
        (key, nonce, other) in any::<([u8; 32], [u8; NONCE], [u8; 32])>(),
        version in any::<u32>(),
        (name, policy) in ("[a-z0-9]{1,63}", "[ -~]{1,253}"),
        more in "[ -~]{0,300}",
    ) {
        let binding = Binding {
            key: name.parse().unwrap(),
            key_version: version,
            policy: policy.parse().unwrap(),
            ..binding()
        };
        let options = options(b"layer", &more);
        let sealed = Annotation::seal(binding.clone(), &options, &key, nonce).unwrap();
        let json = sealed.to_json().unwrap();
        prop_assert!(json.len() <= ANNOTATION_MAX);
        let read = Annotation::parse(&json).unwrap();
        prop_assert_eq!(&read, &sealed);
        let opened = read.open(&key).unwrap();
        prop_assert_eq!(opened.options(), &options[..]);
        prop_assert_eq!(opened.binding(), &binding);
        if other != key {
            prop_assert_eq!(read.open(&other).err(), Some(AnnotationError::NotOpened));
        }
    }

    /// JSON has several texts of one meaning, so what still reads the same may open.
    #[test]
    fn what_was_changed_does_not_open(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut json = sealed().to_json().unwrap();
        let at = at.index(json.len());
        json[at] ^= flip;
        if let Ok(changed) = Annotation::parse(&json) {
            prop_assert!(changed == sealed() || changed.open(&[7; 32]).is_err());
        }
    }
}

#[test]
fn everything_that_is_said_in_clear_is_bound() {
    let whole: Value = serde_json::from_slice(&sealed().to_json().unwrap()).unwrap();
    let other = Annotation::seal(
        Binding {
            layer: layer(b"other"),
            ..binding()
        },
        &options(b"other", "x"),
        &[7; 32],
        [2; NONCE],
    );
    let other: Value = serde_json::from_slice(&other.unwrap().to_json().unwrap()).unwrap();
    for (field, value) in [
        ("key", json!("payment")),
        ("key_version", json!(4)),
        ("layer", json!(layer(b"other"))),
        ("policy", json!("payments-e")),
        ("nonce", other["nonce"].clone()),
        ("ciphertext", other["ciphertext"].clone()),
    ] {
        let mut changed = whole.clone();
        changed[field] = value;
        assert_eq!(refused(&changed), AnnotationError::NotOpened, "{field}");
    }
}

#[test]
fn what_is_not_of_this_format_is_refused() {
    let whole: Value = serde_json::from_slice(&sealed().to_json().unwrap()).unwrap();
    let with = |field: &str, value: Value| {
        let mut changed = whole.clone();
        changed[field] = value;
        refused(&changed)
    };
    assert_eq!(with("version", json!(2)), AnnotationError::Version(2));
    for (field, value) in [
        ("more", json!(1)),
        ("layer", json!("sha512:00")),
        ("nonce", json!("AAAA")),
        ("key", json!("Not A Name")),
        ("key_version", json!(-1)),
    ] {
        let said = with(field, value);
        assert!(matches!(said, AnnotationError::Malformed(_)), "{said}");
    }
    let huge = vec![b' '; ANNOTATION_MAX + 1];
    assert_eq!(
        Annotation::parse(&huge).unwrap_err().code(),
        "annotation-malformed"
    );
}

#[test]
fn options_are_of_the_layer_that_is_bound() {
    let seal = |options: &[u8]| Annotation::seal(binding(), options, &[7; 32], [1; NONCE]);
    for wrong in [
        options(b"other", "x"),
        b"{}".to_vec(),
        b"hush".to_vec(),
        [options(b"layer", "x"), vec![b' '; OPTIONS_MAX]].concat(),
    ] {
        let said = seal(&wrong).unwrap_err();
        assert_eq!(said.code(), "layer-options-malformed");
        assert!(!said.to_string().contains("hush"), "{said}");
    }
}

/// The fields read back in order: no two bindings have one encoding.
#[test]
fn the_authenticated_data_is_as_documented() {
    let encoded = binding().encode();
    let mut rest = encoded.strip_prefix(DOMAIN).unwrap();
    let layer = binding().layer.to_string();
    for field in [
        &[0, 0, 0, 1][..],
        b"payments",
        &[0, 0, 0, 3],
        layer.as_bytes(),
        b"payments-eu",
    ] {
        let length = u32::try_from(field.len()).unwrap().to_be_bytes();
        rest = rest.strip_prefix(&[1]).unwrap();
        rest = rest.strip_prefix(&length).unwrap();
        rest = rest.strip_prefix(field).unwrap();
    }
    assert!(rest.is_empty());
}
