//! Location tags: a body that parses, signed, is written back byte for byte; unsigned, it proves nothing.

#![no_main]

use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};
use touchstone_evidence::location::{AuthorityKey, LocationAuthority, LocationError, verify_tag};
use touchstone_evidence_fuzz::{SECRET, one_byte_changed};

touchstone_evidence_fuzz::target!(check);

static AUTHORITY: LazyLock<(LocationAuthority, [AuthorityKey; 1])> = LazyLock::new(|| {
    let authority = LocationAuthority::from_secret(&SECRET);
    let key = authority.public_key();
    (authority, [key])
});
static SIGNING_KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&SECRET));

fn check(data: &[u8]) -> bool {
    let (authority, keys) = &*AUTHORITY;
    // As it came: whatever verifies is what this authority would sign.
    if let Ok(tag) = verify_tag(data, keys) {
        assert_eq!(authority.sign(tag).unwrap(), data);
    }

    // The rest of the input as a body by this authority, so that only the body is searched.
    let mut tag = data.to_vec();
    match tag.get_mut(1..33) {
        Some(id) => id.copy_from_slice(&keys[0].id().0),
        None => return false,
    }
    let tag = match verify_tag(&tag, &[]) {
        Err(LocationError::UnknownAuthority) => tag,
        other => {
            assert!(matches!(other, Err(LocationError::Format(_))), "{other:?}");
            return false;
        }
    };
    let signed = sign(&tag[..tag.len() - 64]);
    let parsed = verify_tag(&signed, keys).unwrap();
    assert!(parsed.not_before < parsed.not_after);
    assert_eq!(authority.sign(parsed).unwrap(), signed);
    assert!(verify_tag(&signed[..signed.len() - 1], keys).is_err());
    assert!(verify_tag(&one_byte_changed(&signed).unwrap(), keys).is_err());
    true
}

fn sign(body: &[u8]) -> Vec<u8> {
    let message = [b"touchstone location tag v1\0", body].concat();
    let signature = SIGNING_KEY.sign(&message);
    [body, &signature.to_bytes()].concat()
}
