//! MakeCredential (TPM 2.0 Part 1 §24): a secret that only the TPM with this EK *and* this AK can open.

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use zeroize::Zeroizing;

use crate::tpm::hash::Hash;
use crate::tpm::name::Name;
use crate::tpm::outer_wrap;
use crate::tpm::public::{Key, Public, Symmetric};
use crate::tpm::shared_seed::{self, Seed};

/// Label of the seed (Part 1 §24.4), with its NUL.
const IDENTITY: &[u8] = b"IDENTITY\0";

/// What `TPM2_ActivateCredential` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Contents of `TPM2B_ID_OBJECT`: integrity HMAC and encrypted secret.
    pub blob: Vec<u8>,
    /// Contents of `TPM2B_ENCRYPTED_SECRET`: the seed, or the ephemeral point that leads to it.
    pub encrypted_seed: Vec<u8>,
}

/// The EK cannot protect a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not a storage key.
    #[error("the endorsement key protects no children")]
    NotStorage,
    /// A cryptographic operation failed: the key is not a valid one.
    #[error("the credential could not be encrypted under the endorsement key")]
    Encryption,
}

/// Random bytes of one credential; each is used once.
pub struct CredentialSecrets {
    /// What the TPM must give back.
    pub secret: Zeroizing<[u8; 32]>,
    /// Seed of the protection under an RSA EK, as long as its AES key (EK Credential Profile 2.5,
    /// 2.1.5.1): 16 bytes of it for AES-128.
    pub seed: Zeroizing<[u8; 32]>,
}

/// Protects `secrets.secret` so that only the TPM that holds `ek` and an object with `name` opens it.
///
/// OAEP and the ephemeral key of an EC EK draw their own randomness.
pub fn make_credential(
    ek: &Public,
    name: &Name,
    secrets: &CredentialSecrets,
) -> Result<Credential, CredentialError> {
    let symmetric = ek.symmetric().ok_or(CredentialError::NotStorage)?;
    let (seed, encrypted_seed) = match ek.key() {
        Key::Rsa { .. } => rsa_seed(ek, symmetric, secrets)?,
        Key::Ec { .. } => shared_seed::share(ek, IDENTITY).ok_or(CredentialError::Encryption)?,
    };
    let blob = outer_wrap::wrap(ek.name_hash(), symmetric, &seed, name, &secrets.secret[..])
        .ok_or(CredentialError::Encryption)?;
    Ok(Credential {
        blob,
        encrypted_seed,
    })
}

/// The seed under RSA-OAEP with the EK's Name algorithm (Part 1 §B.10.4).
fn rsa_seed(
    ek: &Public,
    symmetric: Symmetric,
    secrets: &CredentialSecrets,
) -> Result<Seed, CredentialError> {
    let failed = CredentialError::Encryption;
    let length = match symmetric {
        Symmetric::Aes128 => 16,
        Symmetric::Aes256 => 32,
    };
    let seed = Zeroizing::new(secrets.seed.get(..length).ok_or(failed)?.to_vec());
    let key = PublicEncryptingKey::from_der(&ek.subject_public_key_info()).map_err(|_| failed)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| failed)?;
    let algorithm = match ek.name_hash() {
        Hash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        Hash::Sha384 => &OAEP_SHA384_MGF1SHA384,
    };
    let mut out = vec![0; key.ciphertext_size()];
    let written = key
        .encrypt(algorithm, &seed, &mut out, Some(IDENTITY))
        .map_err(|_| failed)?
        .len();
    out.truncate(written);
    Ok((seed, out))
}
