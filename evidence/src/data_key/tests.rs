//! What is wrapped opens; whatever was changed does not, nor what was wrapped for another purpose.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::annotation::{self, Annotation};
use crate::oci_digest::OciDigest;

const KEY: [u8; 32] = [7; 32];

fn data_key(byte: u8) -> DataKey {
    DataKey::new(Zeroizing::new([byte; DATA_KEY]))
}

fn binding() -> Binding {
    Binding {
        key: "disks".parse().unwrap(),
        key_version: 3,
        id: data_key(1).id(),
        policy: "disks-eu".parse().unwrap(),
    }
}

fn sealed() -> WrappedDataKey {
    WrappedDataKey::seal(binding(), &data_key(1), &KEY, [1; NONCE]).unwrap()
}

fn written(wrapped: &WrappedDataKey) -> Value {
    serde_json::from_slice(&wrapped.to_json().unwrap()).unwrap()
}

fn refused(json: &Value) -> DataKeyError {
    let wrapped = WrappedDataKey::parse(&serde_json::to_vec(json).unwrap());
    match wrapped.and_then(|wrapped| wrapped.open(&KEY)) {
        Ok(_) => panic!("it opens: {json}"),
        Err(error) => error,
    }
}

proptest! {
    #[test]
    fn what_is_wrapped_opens_under_its_key_alone(
        (key, nonce, other) in any::<([u8; 32], [u8; NONCE], [u8; 32])>(),
        (version, bytes) in any::<(u32, [u8; DATA_KEY])>(),
        (name, policy) in ("[a-z0-9]{1,63}", "[ -~]{1,253}"),
    ) {
        let data_key = DataKey::new(Zeroizing::new(bytes));
        let binding = Binding {
            key: name.parse().unwrap(),
            key_version: version,
            id: data_key.id(),
            policy: policy.parse().unwrap(),
        };
        let sealed = WrappedDataKey::seal(binding.clone(), &data_key, &key, nonce).unwrap();
        let json = sealed.to_json().unwrap();
        prop_assert!(json.len() <= WRAPPED_MAX);
        let read = WrappedDataKey::parse(&json).unwrap();
        prop_assert_eq!(&read, &sealed);
        let opened = read.open(&key).unwrap();
        prop_assert_eq!(opened.data_key().bytes(), &bytes);
        prop_assert_eq!(opened.binding(), &binding);
        if other != key {
            prop_assert_eq!(read.open(&other).err(), Some(DataKeyError::NotOpened));
        }
    }

    /// JSON has several texts of one meaning, so what still reads the same may open.
    #[test]
    fn what_was_changed_does_not_open(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut json = sealed().to_json().unwrap();
        let at = at.index(json.len());
        json[at] ^= flip;
        if let Ok(changed) = WrappedDataKey::parse(&json) {
            prop_assert!(changed == sealed() || changed.open(&KEY).is_err());
        }
    }
}

#[test]
fn the_longest_names_fit() {
    let binding = Binding {
        key: "k".repeat(63).parse().unwrap(),
        key_version: u32::MAX,
        policy: "\"".repeat(253).parse().unwrap(),
        ..binding()
    };
    let sealed = WrappedDataKey::seal(binding, &data_key(1), &KEY, [1; NONCE]).unwrap();
    assert!(WrappedDataKey::parse(&sealed.to_json().unwrap()).is_ok());
}

#[test]
fn everything_that_is_said_in_clear_is_bound() {
    let other = Binding {
        id: data_key(2).id(),
        ..binding()
    };
    let other = WrappedDataKey::seal(other, &data_key(2), &KEY, [2; NONCE]).unwrap();
    let (whole, other) = (written(&sealed()), written(&other));
    for (field, value) in [
        ("key", json!("disk")),
        ("key_version", json!(4)),
        ("data_key", other["data_key"].clone()),
        ("policy", json!("disks-e")),
        ("nonce", other["nonce"].clone()),
        ("ciphertext", other["ciphertext"].clone()),
    ] {
        let mut changed = whole.clone();
        changed[field] = value;
        assert_eq!(refused(&changed), DataKeyError::NotOpened, "{field}");
    }
}

#[test]
fn a_data_key_is_wrapped_by_its_own_name_alone() {
    let sealed = WrappedDataKey::seal(binding(), &data_key(2), &KEY, [1; NONCE]);
    assert_eq!(sealed.unwrap_err().code(), "data-key-malformed");
}

/// Under the same key, with as much in common as can be: what is authenticated begins otherwise.
#[test]
fn neither_an_annotation_nor_a_data_key_opens_in_the_others_place() {
    let id = data_key(1).id();
    let options = serde_json::to_vec(&json!({ "digest": OciDigest(id) })).unwrap();
    let bound = annotation::Binding {
        key: binding().key,
        key_version: 3,
        layer: OciDigest(id),
        policy: binding().policy,
    };
    let layer = Annotation::seal(bound, &options, &KEY, [1; NONCE]).unwrap();
    let layer: Value = serde_json::from_slice(&layer.to_json().unwrap()).unwrap();
    assert_eq!(refused(&layer).code(), "data-key-malformed");
    let whole = written(&sealed());
    assert!(Annotation::parse(&serde_json::to_vec(&whole).unwrap()).is_err());

    // With the other's field in the place of its own, and a ciphertext of this length.
    let mut dressed = whole.clone();
    dressed["layer"] = json!(OciDigest(id));
    dressed.as_object_mut().unwrap().remove("data_key");
    let dressed = Annotation::parse(&serde_json::to_vec(&dressed).unwrap()).unwrap();
    assert!(dressed.open(&KEY).is_err());
    // A layer's options are longer than a data key, so their ciphertext does not even read as one.
    let mut dressed = layer;
    dressed["data_key"] = json!(id);
    dressed.as_object_mut().unwrap().remove("layer");
    assert_eq!(refused(&dressed).code(), "data-key-malformed");
}

#[test]
fn what_is_not_of_this_format_is_refused() {
    let whole = written(&sealed());
    let with = |field: &str, value: Value| {
        let mut changed = whole.clone();
        changed[field] = value;
        refused(&changed)
    };
    assert_eq!(with("version", json!(2)), DataKeyError::Version(2));
    for (field, value) in [
        ("more", json!(1)),
        ("data_key", json!("00")),
        ("nonce", json!("AAAA")),
        ("key", json!("Not A Name")),
        ("key_version", json!(-1)),
        ("ciphertext", json!("A".repeat(100))),
    ] {
        let said = with(field, value);
        assert!(matches!(said, DataKeyError::Malformed(_)), "{said}");
    }
    let huge = vec![b' '; WRAPPED_MAX + 1];
    assert_eq!(
        WrappedDataKey::parse(&huge).unwrap_err().code(),
        "data-key-malformed"
    );
}

/// The fields read back in order: no two bindings have one encoding.
#[test]
fn the_authenticated_data_is_as_documented() {
    let encoded = binding().encode();
    let mut rest = encoded.strip_prefix(DOMAIN).unwrap();
    let id = binding().id;
    for field in [
        &[0, 0, 0, 1][..],
        b"disks",
        &[0, 0, 0, 3],
        &id.0,
        b"disks-eu",
    ] {
        let length = u32::try_from(field.len()).unwrap().to_be_bytes();
        rest = rest.strip_prefix(&[1]).unwrap();
        rest = rest.strip_prefix(&length).unwrap();
        rest = rest.strip_prefix(field).unwrap();
    }
    assert!(rest.is_empty());
}
