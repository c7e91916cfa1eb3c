//! The outer wrap of a credential (TPM 2.0 Part 1 §24.4 to §24.6) and of a duplicate (§23.3): encrypted, then
//! authenticated, both bound to the seed and the object's Name.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::hash::Hash;
use super::name::Name;
use super::public::Symmetric;
use super::reader::write_sized;

/// Sized HMAC, then the encrypted sized `secret`: a `TPMS_ID_OBJECT`, or the contents of a `TPM2B_PRIVATE` where
/// the secret is a `TPMT_SENSITIVE`.
pub(crate) fn wrap(
    hash: Hash,
    symmetric: Symmetric,
    seed: &[u8],
    name: &Name,
    secret: &[u8],
) -> Option<Vec<u8>> {
    let encrypted = encrypt(hash, symmetric, seed, name, secret)?;
    let key = kdfa(hash, seed, b"INTEGRITY\0", &[], hash.bits());
    let integrity = hash.hmac(&key, &[&encrypted, name.as_bytes()]);
    let mut blob = Vec::new();
    write_sized(&mut blob, &integrity)?;
    blob.extend_from_slice(&encrypted);
    Some(blob)
}

/// AES-CFB with a zero IV: each key is used once.
fn encrypt(
    hash: Hash,
    symmetric: Symmetric,
    seed: &[u8],
    name: &Name,
    secret: &[u8],
) -> Option<Vec<u8>> {
    let (algorithm, bits, length) = match symmetric {
        Symmetric::Aes128 => (&AES_128, 128, 16),
        Symmetric::Aes256 => (&AES_256, 256, 32),
    };
    let key = kdfa(hash, seed, b"STORAGE\0", name.as_bytes(), bits);
    let key = UnboundCipherKey::new(algorithm, key.get(..length)?).ok()?;
    // It never grows, so that no copy of the secret stays behind.
    let mut sized = Vec::with_capacity(secret.len().checked_add(2)?);
    write_sized(&mut sized, secret)?;
    let zero = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    EncryptingKey::cfb128(key)
        .ok()?
        .less_safe_encrypt(&mut sized, zero)
        .ok()?;
    Some(sized)
}

/// KDFa for at most one digest (Part 1 §11.4.10.2); `label` carries its NUL.
fn kdfa(hash: Hash, key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<Vec<u8>> {
    let parts = [&1u32.to_be_bytes()[..], label, context, &bits.to_be_bytes()];
    Zeroizing::new(hash.hmac(key, &parts))
}
