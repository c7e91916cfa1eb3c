//! AES-256-GCM, bound to a purpose: what a master key, or a key derived from it, does to a secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// A key of AES-256.
pub(super) type Key = Zeroizing<Box<[u8]>>;
/// Never twice under one key.
pub(super) type NonceBytes = [u8; NONCE_LEN];

/// Ciphertext and tag. `None`: that is no key.
pub(super) fn seal(
    key: &[u8],
    nonce: NonceBytes,
    purpose: &[u8],
    secret: &[u8],
) -> Option<Vec<u8>> {
    let mut sealed = Zeroizing::new(secret.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = cipher(key)?
        .seal_in_place_separate_tag(nonce, Aad::from(purpose), &mut sealed)
        .ok()?;
    Some([&sealed, tag.as_ref()].concat())
}

/// The secret, if it was sealed under this key, with this nonce and for this purpose.
pub(super) fn open(
    key: &[u8],
    nonce: NonceBytes,
    purpose: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut opened = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = cipher(key)?
        .open_in_place(nonce, Aad::from(purpose), &mut opened)
        .ok()?
        .len();
    opened.truncate(length);
    Some(opened)
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, key);
    key.ok().map(LessSafeKey::new)
}
