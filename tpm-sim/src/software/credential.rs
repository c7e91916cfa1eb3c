//! What `TPM2_ActivateCredential` does with a credential (TPM 2.0 Part 1 §24), and `TPM2_Import` with a duplicate
//! (§23.3): the inverse of [`touchstone_evidence::credential`].

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use touchstone_evidence::tpm::hash::Hash;
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::tpm::public::{Key, Public};
use touchstone_evidence::tpm::reader::{Reader, TpmFormatError};
use zeroize::Zeroizing;

use super::{Error, Result};

/// Label of the seed of a credential, with its NUL.
pub(super) const IDENTITY: &[u8] = b"IDENTITY\0";
/// Bytes of a SHA-256 digest, and of a coordinate of P-256.
const SIZE: usize = 32;
/// Bytes of an AES-128 key.
const AES_KEY: usize = 16;

/// The seed that the ephemeral point (`TPMS_ECC_POINT`) leads to, by one-pass ECDH and KDFe
/// (Part 1 §C.6.4, §11.4.10.3). `label` carries its NUL.
pub(super) fn seed(
    key: &PrivateKey,
    public: &Public,
    point: &[u8],
    label: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let Key::Ec { x: own_x, .. } = public.key() else {
        return Err(Error::Credential);
    };
    let mut reader = Reader::new(point);
    let x = reader.sized(SIZE, "point")?;
    let y = reader.sized(SIZE, "point")?;
    reader.finish()?;
    let uncompressed = [&[4], x, y].concat();
    let theirs = UnparsedPublicKey::new(&agreement::ECDH_P256, uncompressed);
    agree(key, theirs, Error::Credential, |shared| {
        let parts = [&1_u32.to_be_bytes()[..], shared, label, x, own_x];
        Ok(Zeroizing::new(Hash::Sha256.digest(&parts)))
    })
}

/// The secret of at most `most` bytes in a `TPMS_ID_OBJECT` or `TPM2B_PRIVATE`, once its HMAC shows that it was
/// protected for the object with `name`.
pub(super) fn open(
    seed: &[u8],
    name: &Name,
    blob: &[u8],
    most: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    let mut reader = Reader::new(blob);
    let integrity = reader.sized(SIZE, "HMAC")?;
    let sealed = blob
        .get(2 + integrity.len()..)
        .ok_or(TpmFormatError::Truncated)?;
    let key = kdfa(seed, b"INTEGRITY\0", &[], 256);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let covered = [sealed, name.as_bytes()].concat();
    hmac::verify(&key, &covered, integrity).map_err(|_| Error::Credential)?;

    let key = kdfa(seed, b"STORAGE\0", name.as_bytes(), 128);
    let key = key.get(..AES_KEY).ok_or(Error::Credential)?;
    let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| Error::Credential)?;
    let key = DecryptingKey::cfb128(key).map_err(|_| Error::Credential)?;
    let mut sized = Zeroizing::new(sealed.to_vec());
    let zero = DecryptionContext::Iv128(FixedLength::from([0; 16]));
    key.decrypt(&mut sized, zero)
        .map_err(|_| Error::Credential)?;
    let mut reader = Reader::new(&sized);
    let secret = Zeroizing::new(reader.sized(most, "secret")?.to_vec());
    reader.finish()?;
    Ok(secret)
}

/// KDFa for at most one digest (Part 1 §11.4.10.2); `label` carries its NUL.
fn kdfa(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<Vec<u8>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let parts = [
        &1_u32.to_be_bytes()[..],
        label,
        context,
        &bits.to_be_bytes(),
    ];
    Zeroizing::new(hmac::sign(&key, &parts.concat()).as_ref().to_vec())
}
