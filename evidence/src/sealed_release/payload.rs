//! What a release carries: encrypted under its secret, and bound to its lease.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Stands before the lease in what is authenticated; another version is another string.
const DOMAIN: &[u8] = b"touchstone release payload v1\0";
/// One message is encrypted under each secret, so its nonce is no secret and need not differ.
const NONCE: [u8; 12] = [0; 12];

/// The payload does not go with this secret and this lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payload does not decrypt under the secret and the lease of the release")]
pub struct NotThePayload;

/// Encrypts `payload` with AES-256-GCM under the secret of one release; `lease`: its bytes as they are sent.
pub fn encrypt(secret: &[u8; 32], lease: &[u8], payload: &[u8]) -> Result<Vec<u8>, NotThePayload> {
    let tag = AES_256_GCM.tag_len();
    let length = payload.len().checked_add(tag).ok_or(NotThePayload)?;
    // It never grows, so that no copy of the payload stays behind.
    let mut sealed = Vec::with_capacity(length);
    sealed.extend_from_slice(payload);
    key(secret)?
        .seal_in_place_append_tag(nonce(), aad(lease), &mut sealed)
        .map_err(|_| NotThePayload)?;
    Ok(sealed)
}

/// The payload again.
pub fn decrypt(
    secret: &[u8; 32],
    lease: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotThePayload> {
    let mut payload = Zeroizing::new(sealed.to_vec());
    let length = key(secret)?
        .open_in_place(nonce(), aad(lease), &mut payload)
        .map_err(|_| NotThePayload)?
        .len();
    payload.truncate(length);
    Ok(payload)
}

fn key(secret: &[u8; 32]) -> Result<LessSafeKey, NotThePayload> {
    let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| NotThePayload)?;
    Ok(LessSafeKey::new(key))
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key(NONCE)
}

fn aad(lease: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([DOMAIN, lease].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    #[test]
    fn a_payload_comes_back_under_its_own_secret_and_lease_only() {
        let sealed = encrypt(&SECRET, b"lease", b"layer key").unwrap();
        assert_eq!(sealed.len(), 9 + 16);
        assert_eq!(
            decrypt(&SECRET, b"lease", &sealed).unwrap()[..],
            *b"layer key"
        );
        let refused = Err(NotThePayload);
        assert_eq!(decrypt(&SECRET, b"another lease", &sealed), refused);
        assert_eq!(decrypt(&[8; 32], b"lease", &sealed), refused);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(decrypt(&SECRET, b"lease", &changed), refused, "byte {at}");
            assert_eq!(decrypt(&SECRET, b"lease", &sealed[..at]), refused);
        }
    }
}
