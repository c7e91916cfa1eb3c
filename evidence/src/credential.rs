//! MakeCredential (TPM 2.0 Part 1 §24): a secret that only the TPM with this EK *and* this AK can open.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use zeroize::Zeroizing;

use crate::tpm::public::{Key, Name, Public};
use crate::tpm::reader::write_sized;

/// What `TPM2_ActivateCredential` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Contents of `TPM2B_ID_OBJECT`: integrity HMAC and encrypted secret.
    pub blob: Vec<u8>,
    /// Contents of `TPM2B_ENCRYPTED_SECRET`: the seed under the EK.
    pub encrypted_seed: Vec<u8>,
}

/// The EK cannot protect a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Only RSA EKs are understood.
    #[error("the endorsement key is not RSA")]
    NotRsa,
    /// A cryptographic operation failed.
    #[error("the credential could not be encrypted under the endorsement key")]
    Encryption,
}

/// Random bytes of one credential; each is used once.
pub struct CredentialSecrets {
    /// What the TPM must give back.
    pub secret: Zeroizing<[u8; 32]>,
    /// Seed of the protection; as long as the EK's AES-128 key (EK Credential Profile 2.5 §2.1.5.1).
    pub seed: Zeroizing<[u8; 16]>,
}

/// Protects `secrets.secret` so that only the TPM that holds `ek` and an object with `name` opens it.
///
/// OAEP draws its own randomness.
pub fn make_credential(
    ek: &Public,
    name: &Name,
    secrets: &CredentialSecrets,
) -> Result<Credential, CredentialError> {
    let Key::Rsa { .. } = ek.key() else {
        return Err(CredentialError::NotRsa);
    };
    let encrypted_seed = encrypt_seed(ek, &secrets.seed[..])?;
    let encrypted_secret = encrypt_secret(name, secrets)?;
    let integrity_key = kdfa(&secrets.seed[..], b"INTEGRITY\0", &[], 256);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &integrity_key);
    let mut context = hmac::Context::with_key(&key);
    context.update(&encrypted_secret);
    context.update(name.as_bytes());
    let mut blob = Vec::new();
    write_sized(&mut blob, context.sign().as_ref()).ok_or(CredentialError::Encryption)?;
    blob.extend_from_slice(&encrypted_secret);
    Ok(Credential {
        blob,
        encrypted_seed,
    })
}

/// RSA-OAEP with SHA-256 and the label `IDENTITY` (Part 1 §B.4, §24).
fn encrypt_seed(ek: &Public, seed: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let failed = |_| CredentialError::Encryption;
    let key = PublicEncryptingKey::from_der(&ek.subject_public_key_info())
        .map_err(|_| CredentialError::Encryption)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(failed)?;
    let mut out = vec![0; key.ciphertext_size()];
    let written = key
        .encrypt(&OAEP_SHA256_MGF1SHA256, seed, &mut out, Some(b"IDENTITY\0"))
        .map_err(failed)?
        .len();
    out.truncate(written);
    Ok(out)
}

/// AES-128-CFB with a zero IV over the sized secret; the key is bound to the object's Name.
fn encrypt_secret(name: &Name, secrets: &CredentialSecrets) -> Result<Vec<u8>, CredentialError> {
    let failed = |_| CredentialError::Encryption;
    let key = kdfa(&secrets.seed[..], b"STORAGE\0", name.as_bytes(), 128);
    let key = UnboundCipherKey::new(&AES_128, key.get(..16).ok_or(CredentialError::Encryption)?)
        .map_err(failed)?;
    let mut sized = Vec::new();
    write_sized(&mut sized, &secrets.secret[..]).ok_or(CredentialError::Encryption)?;
    EncryptingKey::cfb128(key)
        .map_err(failed)?
        .less_safe_encrypt(
            &mut sized,
            EncryptionContext::Iv128(FixedLength::from([0; 16])),
        )
        .map_err(failed)?;
    Ok(sized)
}

/// KDFa with HMAC-SHA-256 for at most 256 bits (Part 1 §11.4.10.2); `label` carries its NUL.
fn kdfa(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<Vec<u8>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut hash = hmac::Context::with_key(&key);
    hash.update(&1u32.to_be_bytes());
    hash.update(label);
    hash.update(context);
    hash.update(&bits.to_be_bytes());
    Zeroizing::new(hash.sign().as_ref().to_vec())
}
