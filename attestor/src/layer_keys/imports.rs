//! Keys that an operator brings, encrypted to a key pair that is made for that and used once: RSA-OAEP with SHA-256,
//! which key stores and `openssl` can do.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use touchstone_evidence::annotation::{KeyName, PolicyName};
use zeroize::Zeroizing;

use super::versions::{KeyBytes, add_version, next_version, wrapped_version};
use super::{LayerKeyError, Wanted, begin, usable};
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::keys;
use crate::random::{self, NoRandomness};
use crate::store::{LayerKeyRecord, Origin};

/// Seconds for which an import key can be used.
const LIFETIME: i64 = 3600;

/// The public half of an import key.
pub(crate) struct ImportKey {
    pub(crate) id: String,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: Vec<u8>,
    pub(crate) expires_at: i64,
}

/// A key as it is brought.
pub(crate) struct Imported {
    pub(crate) name: KeyName,
    /// Id of the import key.
    pub(crate) import_key: String,
    /// 32 bytes, encrypted to it.
    pub(crate) wrapped: Vec<u8>,
    /// For a key that is new.
    pub(crate) policy: Option<PolicyName>,
    pub(crate) registered: bool,
}

/// Makes a key pair to which one key can be encrypted, within an hour.
pub(crate) async fn make_import_key(
    attestor: &Attestor,
    actor: &Actor,
) -> Result<ImportKey, LayerKeyError> {
    // A tenth of a second of one core.
    let made = keys::on_disk(key_pair).await?;
    let (private, public_key) = made.ok_or(NoRandomness)?;
    let id = hex::encode(random::bytes::<16>()?);
    let now = clock::now();
    let expires_at = now.saturating_add(LIFETIME);
    let master = &attestor.keys.master;
    let wrapped = master.wrap(&purpose(&id), &private).await?;
    let mut tx = attestor.store.write().await?;
    master.agrees(&mut tx).await?;
    tx.forget_import_keys(now).await?;
    tx.add_import_key(&id, &wrapped, now, expires_at).await?;
    let event = Event::ImportKeyMade {
        import_key: id.clone(),
        expires_at,
    };
    audit::append(&mut tx, &event, actor, now).await?;
    tx.commit().await?;
    Ok(ImportKey {
        id,
        public_key,
        expires_at,
    })
}

/// Takes a key in: as the first version of a new one, or as the next of one that there is. The import key is used up,
/// also by what does not decrypt.
pub(crate) async fn import(
    attestor: &Attestor,
    actor: &Actor,
    brought: Imported,
) -> Result<LayerKeyRecord, LayerKeyError> {
    let bytes = bytes_of(attestor, &brought).await?;
    loop {
        let version = next_version(attestor, &brought.name).await?;
        let next = match &bytes {
            Some(bytes) => Some(wrapped_version(attestor, &brought.name, version, bytes).await?),
            None => None,
        };
        let now = clock::now();
        let mut tx = attestor.store.write().await?;
        attestor.store.overwrite_deleted(&mut tx).await?;
        if !tx.take_import_key(&brought.import_key, now).await? {
            return Err(LayerKeyError::ImportKeyUnknown);
        }
        let Some(next) = next else {
            tx.commit().await?;
            return Err(LayerKeyError::ImportMalformed);
        };
        let key = match tx.layer_key(&brought.name).await? {
            Some(key) => next_of(usable(key)?, &brought)?,
            None => begin(attestor, &mut tx, actor, wanted(&brought)?).await?,
        };
        if key.version.saturating_add(1) != version {
            // Somebody else made that version meanwhile.
            continue;
        }
        let key = add_version(attestor, &mut tx, key, &next, Origin::Imported).await?;
        let event = Event::LayerKeyImported {
            key: key.name.clone(),
            version,
            import_key: brought.import_key,
        };
        audit::append(&mut tx, &event, actor, now).await?;
        tx.commit().await?;
        attestor.store.scrub().await;
        return Ok(key);
    }
}

/// What was encrypted to the import key, if that is 32 bytes.
async fn bytes_of(
    attestor: &Attestor,
    brought: &Imported,
) -> Result<Option<KeyBytes>, LayerKeyError> {
    let id = &brought.import_key;
    let found = attestor
        .store
        .read()
        .await?
        .import_key(id, clock::now())
        .await?;
    let private = found.ok_or(LayerKeyError::ImportKeyUnknown)?;
    let private = attestor.keys.master.open(&purpose(id), &private).await?;
    Ok(decrypt(&private, &brought.wrapped))
}

/// A key that there was not.
fn wanted(brought: &Imported) -> Result<Wanted, LayerKeyError> {
    let (name, policy) = (brought.name.clone(), brought.policy.clone());
    Ok(Wanted {
        policy: policy.ok_or_else(|| LayerKeyError::PolicyMissing(name.clone()))?,
        name,
        registered: brought.registered,
    })
}

/// The key that gets another version, if it is for the policy that was named with it.
fn next_of(key: LayerKeyRecord, brought: &Imported) -> Result<LayerKeyRecord, LayerKeyError> {
    match &brought.policy {
        Some(policy) if *policy != key.policy => Err(LayerKeyError::PolicyOther {
            key: key.name,
            policy: key.policy,
        }),
        _ => Ok(key),
    }
}

fn purpose(id: &str) -> Vec<u8> {
    format!("touchstone import key v1\0{id}").into_bytes()
}

/// PKCS #8, and SubjectPublicKeyInfo.
fn key_pair() -> Option<(Zeroizing<Vec<u8>>, Vec<u8>)> {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa3072).ok()?;
    let public: PublicKeyX509Der<'_> = private.public_key().as_der().ok()?;
    let der: Pkcs8V1Der<'_> = private.as_der().ok()?;
    Some((
        Zeroizing::new(der.as_ref().to_vec()),
        public.as_ref().to_vec(),
    ))
}

/// 32 bytes, or nothing.
fn decrypt(private: &[u8], wrapped: &[u8]) -> Option<KeyBytes> {
    let private = PrivateDecryptingKey::from_pkcs8(private).ok()?;
    let private = OaepPrivateDecryptingKey::new(private).ok()?;
    let mut out = Zeroizing::new(vec![0; private.min_output_size()]);
    let opened = private
        .decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut out, None)
        .ok()?;
    let mut bytes = KeyBytes::default();
    match opened.len() == bytes.len() {
        true => bytes.copy_from_slice(opened),
        false => return None,
    }
    Some(bytes)
}
