//! What is encrypted is decrypted with its own data key and associated data alone.

use proptest::prelude::*;

use super::*;
use crate::data_key::{Binding, DATA_KEY};

fn data_key(byte: u8) -> DataKey {
    DataKey::new(Zeroizing::new([byte; DATA_KEY]))
}

fn wrapped(byte: u8) -> WrappedDataKey {
    let binding = Binding {
        key: "disks".parse().unwrap(),
        key_version: 3,
        id: data_key(byte).id(),
        policy: "disks-eu".parse().unwrap(),
    };
    WrappedDataKey::seal(binding, &data_key(byte), &[9; 32], [1; NONCE]).unwrap()
}

fn sealed(plaintext: &[u8], associated: &[u8]) -> Secret {
    Secret::seal(wrapped(1), &data_key(1), plaintext, associated, [2; NONCE]).unwrap()
}

proptest! {
    #[test]
    fn what_is_encrypted_comes_back(
        plaintext in prop::collection::vec(any::<u8>(), 0..300),
        associated in prop::collection::vec(any::<u8>(), 0..50),
        other in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let text = sealed(&plaintext, &associated).to_string();
        prop_assert!(text.starts_with("vault:v3:") && text.len() <= TEXT_MAX);
        let read = Secret::parse(&text).unwrap();
        prop_assert_eq!(&read, &sealed(&plaintext, &associated));
        prop_assert_eq!(&read.open(&data_key(1), &associated).unwrap()[..], &plaintext[..]);
        prop_assert_eq!(read.open(&data_key(2), &associated), Err(SecretError::NotOpened));
        if other != associated {
            prop_assert_eq!(read.open(&data_key(1), &other), Err(SecretError::NotOpened));
        }
    }

    #[test]
    fn what_was_changed_is_not_decrypted(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let text = sealed(b"hush", b"db").to_string();
        let mut bytes = STANDARD.decode(text.strip_prefix("vault:v3:").unwrap()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let changed = Secret::parse(&format!("vault:v3:{}", STANDARD.encode(bytes)));
        if let Ok(changed) = changed {
            prop_assert!(changed.open(&data_key(1), b"db").is_err());
        }
    }
}

/// Two texts of one JSON mean the same key, and are two secrets.
#[test]
fn the_wrapped_data_key_is_bound_to_the_byte() {
    let mut secret = sealed(b"hush", b"");
    secret.json.push(b' ');
    assert!(WrappedDataKey::parse(&secret.json).is_ok());
    let read = Secret::parse(&secret.to_string()).unwrap();
    assert_eq!(read.open(&data_key(1), b""), Err(SecretError::NotOpened));
}

#[test]
fn sizes_are_bounded() {
    let seal = |plaintext, associated| {
        let (plaintext, associated) = (vec![7; plaintext], vec![7; associated]);
        Secret::seal(
            wrapped(1),
            &data_key(1),
            &plaintext,
            &associated,
            [2; NONCE],
        )
    };
    let largest = seal(SECRET_MAX, ASSOCIATED_MAX).unwrap().to_string();
    assert!(largest.len() <= TEXT_MAX);
    assert!(Secret::parse(&largest).is_ok());
    assert_eq!(
        seal(SECRET_MAX + 1, 0),
        Err(SecretError::TooLarge(SECRET_MAX + 1))
    );
    assert_eq!(
        seal(0, ASSOCIATED_MAX + 1),
        Err(SecretError::AssociatedTooLarge(ASSOCIATED_MAX + 1))
    );
    let long = format!("vault:v3:{}", "A".repeat(TEXT_MAX));
    assert!(Secret::parse(&long).is_err());
}

#[test]
fn what_has_another_form_is_refused() {
    let text = sealed(b"hush", b"").to_string();
    let encoded = text.strip_prefix("vault:v3:").unwrap();
    let bytes = STANDARD.decode(encoded).unwrap();
    let with = |bytes: &[u8]| format!("vault:v3:{}", STANDARD.encode(bytes));
    let ended = bytes.len() - 4 - MAX_TAG_LEN;
    for wrong in [
        String::new(),
        "hush".to_owned(),
        format!("vault:{encoded}"),
        format!("vault:v4:{encoded}"),
        format!("vault:v03:{encoded}"),
        format!("{text}\n"),
        format!("vault:v3:{}", encoded.trim_end_matches('=')) + "!",
        with(&[]),
        with(&[&[2], &bytes[1..]].concat()),
        with(&bytes[..40]),
        with(&bytes[..ended + 3]),
    ] {
        let said = Secret::parse(&wrong).unwrap_err();
        assert!(
            matches!(said, SecretError::Malformed(_) | SecretError::DataKey(_)),
            "{wrong}: {said}"
        );
    }
}
