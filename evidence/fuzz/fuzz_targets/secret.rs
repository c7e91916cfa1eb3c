//! Wrapped data keys, and secrets that are encrypted under one: what opens is what was sealed.

#![no_main]

use touchstone_evidence::data_key::{Binding, DataKey, WrappedDataKey};
use touchstone_evidence::secret::{SECRET_MAX, Secret, TEXT_MAX};
use touchstone_evidence_fuzz::{SECRET, one_byte_changed};

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    encrypts(data);
    unwraps(data) | reads(data)
}

fn data_key() -> DataKey {
    DataKey::read(&[3; 32]).unwrap()
}

/// The input as a secret, and as its associated data.
fn encrypts(data: &[u8]) {
    let (associated, plaintext) = data.split_at(data.len().min(8));
    let binding = Binding {
        key: "disks".parse().unwrap(),
        key_version: 3,
        id: data_key().id(),
        policy: "disks-eu".parse().unwrap(),
    };
    let wrapped = WrappedDataKey::seal(binding, &data_key(), &SECRET, [1; 12]).unwrap();
    let sealed = Secret::seal(wrapped, &data_key(), plaintext, associated, [2; 12]);
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(_) => return assert!(plaintext.len() > SECRET_MAX),
    };
    let text = sealed.to_string();
    assert!(text.len() <= TEXT_MAX);
    let read = Secret::parse(&text).unwrap();
    assert_eq!(read, sealed);
    assert_eq!(read.open(&data_key(), associated).unwrap()[..], *plaintext);
    let changed = one_byte_changed(text.as_bytes()).and_then(|text| String::from_utf8(text).ok());
    if let Some(Ok(changed)) = changed.map(|text| Secret::parse(&text)) {
        assert!(changed == sealed || changed.open(&data_key(), associated).is_err());
    }
}

/// The input as a wrapped data key.
fn unwraps(json: &[u8]) -> bool {
    let Ok(wrapped) = WrappedDataKey::parse(json) else {
        return false;
    };
    let written = wrapped.to_json().unwrap();
    assert_eq!(WrappedDataKey::parse(&written), Ok(wrapped.clone()));
    if let Ok(opened) = wrapped.open(&SECRET) {
        assert_eq!(opened.binding(), wrapped.untrusted_binding());
        assert_eq!(opened.data_key().id(), opened.binding().id);
    }
    true
}

/// The input as the text of a secret, which has one text.
fn reads(text: &[u8]) -> bool {
    let Some(Ok(secret)) = std::str::from_utf8(text).ok().map(Secret::parse) else {
        return false;
    };
    assert_eq!(secret.to_string().as_bytes(), text);
    let _decrypted = secret.open(&data_key(), b"");
    true
}
