//! Enrolment: a machine of the inventory proves that its TPM holds its keys.
//!
//! The EK certificate shows a genuine TPM of a configured root; the inventory says whose it is;
//! credential activation shows that this very TPM holds EK and AK together. All three are needed.
//! A genuine TPM that nobody called ours waits in quarantine, unless its machine's maker vouches for it.

mod ending;
mod endorsements;
mod error;
mod join_tokens;
mod joining;
mod machines;
mod platforms;
mod quarantine;

use subtle::ConstantTimeEq as _;
use touchstone_evidence::credential::{CredentialSecrets, make_credential};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::endorsement::{RootClass, VerifiedEndorsement};
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::wire::{Activation, Enrolled, EnrolmentChallenge, EnrolmentRequest};
use touchstone_policies::manifest::Reprovision;
use zeroize::Zeroizing;

pub(crate) use endorsements::{Endorsements, Import, ImportError, import as import_endorsements};
pub(crate) use error::EnrolmentError;
pub(crate) use join_tokens::{
    JoinTokenError, JoinTokenRequest, create_join_token, revoke_join_token,
};
pub(crate) use joining::Joining;
pub(crate) use machines::{
    MachineError, add_eks, add_machine, import_machines, open_reenrolment, remove_machine,
    replace_tpm, retire_host,
};
pub(crate) use platforms::{add_oem, oems};
pub(crate) use quarantine::{QuarantineError, approve, reject};

use crate::appraisal::{self, RoundError, Verdict};
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::random;
use crate::store::{
    self, End, Endorsed, HostRecord, Identity, KeyHolder, MachineState, PendingEnrolment,
    StoreError, Tx,
};
use ending::Ending;
use platforms::{Admission, Offer};

/// Seconds between the two messages of an enrolment.
const ACTIVATION_SECONDS: i64 = 120;

/// First message: checks the keys, and protects a secret for the TPM that claims them.
pub(crate) async fn begin(
    attestor: &Attestor,
    request: EnrolmentRequest,
    joining: &Joining,
) -> Result<EnrolmentChallenge, EnrolmentError> {
    let now = clock::now();
    let parse = |what, bytes: &[u8]| {
        Public::parse(bytes).map_err(|error| EnrolmentError::Malformed(what, error))
    };
    let ek = parse("endorsement key", &request.ek_public)?;
    let ak = AttestationKey::under(&ek, parse("attestation key", &request.ak_public)?)?;
    let mut tx = attestor.store.read().await?;
    let joining = &joining.still_in_force(&mut tx, now).await?;
    joining
        .check(&mut tx, &ek.spki_digest(), &request.ak_public)
        .await?;
    let known = Endorsements::read(&mut tx).await?;
    drop(tx);
    let ek_certificate = request.ek_certificate.clone();
    let offered = (request.ek_certificate, request.intermediates.0);
    let endorsement = endorse(attestor, known, &ek, offered, now).await?;
    let identity = Identity {
        ek_digest: endorsement.ek_digest(),
        ek_public: request.ek_public,
        ak_public: request.ak_public,
        tls_key: joining.tls_key,
        root_class: endorsement.class(),
    };

    let mut tx = attestor.store.write().await?;
    let host = match tx.machine_of(&identity.ek_digest).await? {
        Some((host, MachineState::Active)) => host,
        Some((host, _)) => return Err(EnrolmentError::Retired(host)),
        None => {
            let offer = Offer {
                platform_certificate: request.platform_certificate.as_deref(),
                ek_certificate: &ek_certificate,
                endorsement: &endorsement,
            };
            let refusal = match platforms::admit(&mut tx, offer, now).await? {
                Admission::Admitted(host) => Ok(host),
                Admission::NotAsked => Err(None),
                Admission::Refused(refusal) => Err(Some(refusal)),
            };
            match refusal {
                Ok(host) => host,
                Err(refusal) => {
                    let noted = quarantine::note(tx, &endorsement, joining, refusal, now).await?;
                    return Err(noted);
                }
            }
        }
    };
    let replaces = may_enrol(attestor, &mut tx, &host, &identity, joining, now).await?;
    tx.forget_unmatched(&identity.ek_digest).await?;
    let secrets = CredentialSecrets {
        secret: Zeroizing::new(random::bytes()?),
        seed: Zeroizing::new(random::bytes()?),
    };
    let credential = make_credential(&ek, &ak.public().name(), &secrets)?;
    let id: [u8; 16] = random::bytes()?;
    let pending = PendingEnrolment {
        host: host.clone(),
        secret_hash: Sha256Digest::of(&secrets.secret[..]),
        identity,
        endorsed: Endorsed {
            tpm: endorsement.tpm().clone(),
            root_key: endorsement.root_key_digest(),
        },
        replaces,
        expires_at: now.saturating_add(ACTIVATION_SECONDS),
    };
    tx.add_enrolment(&id, &pending, now).await?;
    tx.commit().await?;
    Ok(EnrolmentChallenge {
        enrolment: Bytes(id.to_vec()),
        host,
        credential: Bytes(credential.blob),
        encrypted_seed: Bytes(credential.encrypted_seed),
    })
}

/// Verifies the EK certificate with the intermediates that the host offers: milliseconds, so only callers
/// whose join token lets them in get here. Where no root is found, a machine of the inventory is remembered for the
/// operator, who may want to import its maker's.
async fn endorse(
    attestor: &Attestor,
    known: Endorsements,
    ek: &Public,
    offered: (Bytes<8192>, Vec<Bytes<4096>>),
    now: i64,
) -> Result<VerifiedEndorsement, EnrolmentError> {
    let spki = ek.subject_public_key_info();
    let verified = tokio::task::spawn_blocking(move || {
        let (certificate, intermediates) = offered;
        let intermediates: Vec<&[u8]> = intermediates.iter().map(|der| &der[..]).collect();
        let roots = known.parse()?;
        Ok::<_, StoreError>(roots.verify(&certificate, &intermediates, &spki, now))
    })
    .await
    .map_err(|_| RoundError::Cancelled)??;
    if let Err(error) = &verified
        && let Some(authority) = error.missing_authority()
    {
        let ek = ek.spki_digest();
        let mut tx = attestor.store.write().await?;
        if let Some((machine, MachineState::Active)) = tx.machine_of(&ek).await? {
            tx.note_unmatched(&ek, &machine, error.code(), authority, now)
                .await?;
            tx.commit().await?;
        }
    }
    let verified = verified?;
    // Whoever else works on this database may have imported such a root.
    if attestor.production && verified.class() == RootClass::Simulator {
        return Err(EnrolmentError::Simulator);
    }
    Ok(verified)
}

/// Whether `identity` may become that of `host`; returns the TLS key of the identity that it would end.
async fn may_enrol(
    attestor: &Attestor,
    tx: &mut Tx,
    host: &HostId,
    identity: &Identity,
    joining: &Joining,
    now: i64,
) -> Result<Option<Sha256Digest>, EnrolmentError> {
    joining.check_host(Some(host))?;
    let enrolled = tx.host(host).await?;
    // The same keys once more: the answer to the first activation was lost.
    if is_of(enrolled.as_ref(), identity) {
        return Ok(None);
    }
    joining.check_uses()?;
    check_holders(tx, host, identity).await?;
    let Some(record) = enrolled else {
        return Ok(None);
    };
    // A key that lived on would be that of two identities, and tell neither from the other.
    if record.identity.shares_key_with(identity) {
        return Err(EnrolmentError::KeyUsedBefore);
    }
    if !may_replace(attestor, tx, &record, now).await? {
        return Err(EnrolmentError::AlreadyEnrolled(host.clone()));
    }
    Ok(Some(record.identity.tls_key))
}

fn is_of(record: Option<&HostRecord>, identity: &Identity) -> bool {
    record.is_some_and(|record| record.identity.has_keys_of(identity))
}

/// Whether the identity of an enrolled host may give way to another one under the same TPM. By itself it may
/// not where a second TPM spoke with its key, or the firmware is not the accepted one: that is for an operator,
/// and would be forgotten.
async fn may_replace(
    attestor: &Attestor,
    tx: &mut Tx,
    enrolled: &HostRecord,
    now: i64,
) -> Result<bool, EnrolmentError> {
    let host = &enrolled.host;
    if tx.open_reenrolment_of(host, now).await?.is_some() {
        return Ok(true);
    }
    let automatic = attestor.index.policies().reprovision(host) == Reprovision::Automatic;
    let verdict = Verdict::of(enrolled)?;
    let suspect = verdict.is_some_and(|verdict| verdict.says_another_tpm());
    Ok(automatic && !suspect && !tx.is_copied(host).await?)
}

async fn check_holders(
    tx: &mut Tx,
    host: &HostId,
    identity: &Identity,
) -> Result<(), EnrolmentError> {
    match tx.holder_of_keys(host, identity).await? {
        // Nor is a host's key that of an operator or officer.
        None if tx.credential(&identity.tls_key).await?.is_some() => {
            Err(EnrolmentError::TlsKeyInUse)
        }
        None => Ok(()),
        Some(KeyHolder::Ak(_)) => Err(EnrolmentError::AkInUse),
        Some(KeyHolder::TlsKey(_)) => Err(EnrolmentError::TlsKeyInUse),
        Some(KeyHolder::Former(_)) => Err(EnrolmentError::KeyUsedBefore),
    }
}

/// Second message: the secret shows that one TPM holds both keys. An enrolment can be answered once;
/// a wrong answer burns it.
pub(crate) async fn activate(
    attestor: &Attestor,
    activation: Activation,
    joining: &Joining,
) -> Result<Enrolled, EnrolmentError> {
    let secret = Zeroizing::new(activation.secret.0);
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let joining = &joining.still_in_force(&mut tx, now).await?;
    let pending = tx
        .take_enrolment(&activation.enrolment)
        .await?
        .filter(|pending| now < pending.expires_at);
    let checked = check_activation(pending, &secret, &joining.tls_key);
    let ready = match checked {
        Ok(pending) => conclude(attestor, &mut tx, pending, joining, now).await,
        Err(refusal) => Err(refusal),
    };
    let (host, ending) = match ready {
        Ok(ready) => ready,
        // Half a change must not stay: all is as it was, and the same activation may come again.
        Err(failure) if failure.is_failure() => return Err(failure),
        Err(refusal) => {
            // Nothing was changed but that the burnt enrolment stays burnt.
            tx.commit().await?;
            return Err(refusal);
        }
    };
    let challenge = appraisal::first_challenge(&mut tx, &host).await?;
    tx.commit().await?;
    if let Some(ending) = ending {
        ending.publish(attestor, now);
    }
    tracing::info!(host.id = %host, "enrolled a host");
    Ok(Enrolled { host, challenge })
}

fn check_activation(
    pending: Option<PendingEnrolment>,
    secret: &[u8],
    tls_key: &Sha256Digest,
) -> Result<PendingEnrolment, EnrolmentError> {
    let pending = pending.ok_or(EnrolmentError::EnrolmentUnknown)?;
    let hash = Sha256Digest::of(secret);
    if !bool::from(hash.0.ct_eq(&pending.secret_hash.0)) {
        return Err(EnrolmentError::ActivationFailed);
    }
    if pending.identity.tls_key != *tls_key {
        return Err(EnrolmentError::OtherTlsKey);
    }
    Ok(pending)
}

/// Asks again all that could have changed since the first message, then enrols. A refusal has changed
/// nothing.
async fn conclude(
    attestor: &Attestor,
    tx: &mut Tx,
    pending: PendingEnrolment,
    joining: &Joining,
    now: i64,
) -> Result<(HostId, Option<Ending>), EnrolmentError> {
    let PendingEnrolment { host, identity, .. } = &pending;
    let machine = tx.machine_of(&identity.ek_digest).await?;
    if machine != Some((host.clone(), MachineState::Active)) {
        return Err(EnrolmentError::EnrolmentUnknown);
    }
    let enrolled = tx.host(host).await?;
    if is_of(enrolled.as_ref(), identity) {
        return Ok((pending.host, None));
    }
    // Another enrolment was faster: this one was begun against an identity that is no longer there.
    if enrolled.as_ref().map(|record| record.identity.tls_key) != pending.replaces {
        return Err(EnrolmentError::AlreadyEnrolled(pending.host));
    }
    may_enrol(attestor, tx, host, identity, joining, now).await?;
    if !tx.use_join_token(&joining.token.hash, now).await? {
        return Err(EnrolmentError::TokenUsedUp);
    }
    let ending = enrol(tx, &pending, enrolled, joining, now).await?;
    Ok((pending.host, ending))
}

/// Everything that makes `pending` the one identity of its host.
async fn enrol(
    tx: &mut Tx,
    pending: &PendingEnrolment,
    former: Option<HostRecord>,
    joining: &Joining,
    now: i64,
) -> Result<Option<Ending>, EnrolmentError> {
    let PendingEnrolment { host, identity, .. } = pending;
    if let Some(former) = &former {
        tx.end_identity(former, End::Reenrolled, now).await?;
        tx.void_what_rests_on(host, now).await?;
    }
    if !tx.add_host(host, identity, &pending.endorsed, now).await? {
        return Err(StoreError::Malformed("identity").into());
    }
    // The same TPM: its firmware changes for an operator to accept, not by new keys.
    let same_tpm = former
        .as_ref()
        .filter(|former| former.identity.ek_digest == identity.ek_digest);
    if let Some(version) = same_tpm.and_then(|former| former.firmware_version) {
        tx.accept_firmware(host, version).await?;
    }
    let event = Event::HostEnrolled {
        host: host.clone(),
        ek_digest: identity.ek_digest,
        ak: Sha256Digest::of(&identity.ak_public),
        tls_key: identity.tls_key,
        root_class: store::class_word(identity.root_class),
        join_token: joining.token.id(),
        replaced_ak: former
            .as_ref()
            .map(|former| Sha256Digest::of(&former.identity.ak_public)),
    };
    let entry = Entry::new(&event, &Actor::JoinToken, now)?;
    let order = entry.append(tx).await?;
    Ok(former.map(|_| Ending::new(host.clone(), End::Reenrolled, order, entry.leaf())))
}
