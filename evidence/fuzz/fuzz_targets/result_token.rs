//! Attestation results: a token that verifies is one that the signer made, until it expires.

#![no_main]

use std::sync::LazyLock;

use touchstone_evidence::result::{AttestationResult, ResultKey, ResultSigner, VerifiedResult};
use touchstone_evidence_fuzz::{NOW, SECRET, one_byte_changed};

touchstone_evidence_fuzz::target!(check);

/// The signer, its key, and another's.
static KEYS: LazyLock<(ResultSigner, ResultKey, ResultKey)> = LazyLock::new(|| {
    let signer = ResultSigner::from_secret(&SECRET);
    let key = signer.public_key();
    (
        signer,
        key,
        ResultSigner::from_secret(&[9; 32]).public_key(),
    )
});

fn check(data: &[u8]) -> bool {
    let (signer, key, stranger) = &*KEYS;
    if let Ok(token) = std::str::from_utf8(data)
        && let Ok(verified) = VerifiedResult::verify(token, key, NOW)
    {
        assert_eq!(signer.sign(verified.result()).unwrap(), token);
        return true;
    }
    // As a payload, signed, so that more than signatures is searched.
    let Ok(result) = serde_json::from_slice::<AttestationResult>(data) else {
        return false;
    };
    let token = signer.sign(&result).unwrap();
    let at = |now| VerifiedResult::verify(&token, key, now);
    assert!(at(result.expires_at).is_err());
    if let Some(before) = result.expires_at.checked_sub(1) {
        assert_eq!(*at(before).unwrap().result(), result);
        assert!(VerifiedResult::verify(&token, stranger, before).is_err());
        let changed = one_byte_changed(token.as_bytes()).unwrap();
        if let Ok(changed) = String::from_utf8(changed) {
            assert!(VerifiedResult::verify(&changed, key, before).is_err());
        }
    }
    true
}
