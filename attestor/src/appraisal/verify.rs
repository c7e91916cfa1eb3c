//! Evidence to claims: gathers what the attestor knows, then verifies without the database.

use std::sync::Arc;

use touchstone_evidence::boot_log::{BootLog, ReplayedLog};
use touchstone_evidence::claims::{Claims, Proof};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::RootClass;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::ima::ImaState;
use touchstone_evidence::location::{
    AuthorityKey, LocationError, TagExpectation, VerifiedPlace, ek_set_digest,
};
use touchstone_evidence::nv::CarriedTag;
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::quote::{Authentic, NotAuthentic, VerifiedQuote};
use touchstone_evidence::tpm::attest::{Attest, Attested, ClockInfo};
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::wire::Evidence;

use super::RoundError;
use super::runtime::{self, Runtime};
use crate::clock;
use crate::store::{HostRecord, QuoteClock, StoreError, StoredChallenge, Tx};

/// All that verification needs; no database after this.
pub(super) struct Inputs {
    record: HostRecord,
    evidence: Evidence,
    challenge: StoredChallenge,
    /// The log that the evidence names, when it was not sent along.
    stored_boot_log: Option<Vec<u8>>,
    authorities: Vec<AuthorityKey>,
    ek_set: Sha256Digest,
    current_serial: Option<u64>,
    revoked_tags: Arc<[Sha256Digest]>,
    now: i64,
}

/// What an authentic round established.
pub(super) struct Verified {
    pub(super) host: HostId,
    pub(super) claims: Claims,
    pub(super) clock: QuoteClock,
    pub(super) challenged_at: i64,
    pub(super) now: i64,
    pub(super) boot_log_digest: Sha256Digest,
    /// The log's bytes, when they were sent and are what the digest says.
    pub(super) new_boot_log: Option<Vec<u8>>,
    /// Where replay of the runtime list stands after this round.
    pub(super) runtime: Option<ImaState>,
}

/// Reads what the attestor knows about the host.
pub(super) async fn gather(
    tx: &mut Tx,
    revoked_tags: Arc<[Sha256Digest]>,
    record: HostRecord,
    evidence: Evidence,
    challenge: StoredChallenge,
) -> Result<Inputs, RoundError> {
    let stored_boot_log = match evidence.boot_log {
        Some(_) => None,
        None => tx.boot_log(&evidence.boot_log_digest).await?,
    };
    let authorities = tx.authorities().await?;
    let eks = tx.eks_of(&record.host).await?;
    let tag = tx.tag(&record.host).await?;
    Ok(Inputs {
        stored_boot_log,
        authorities: authorities
            .iter()
            .filter_map(AuthorityKey::from_bytes)
            .collect(),
        ek_set: ek_set_digest(&eks),
        current_serial: tag.and_then(|(serial, _)| u64::try_from(serial).ok()),
        revoked_tags,
        now: clock::now(),
        record,
        evidence,
        challenge,
    })
}

/// Verifies the round. An error: it is not an authentic round, or not a whole one.
pub(super) fn verify(inputs: Inputs) -> Result<Verified, RoundError> {
    let key = attestation_key(&inputs.record)?;
    let qualifying = qualifying_data(&inputs)?;
    let statement = Authentic::verify(&inputs.evidence.quote, &key, &qualifying)?;
    let clock = quote_clock(&statement).ok_or(RoundError::NotNewer)?;
    let boot_log = boot_log_bytes(&inputs, &clock)?;

    let quote = prove_quote(&inputs, &statement, &clock);
    let kept = inputs.record.runtime;
    let (boot, runtime, place) = match &quote {
        Proof::Proven(quote) => (
            prove_boot(&inputs, boot_log, quote),
            runtime::prove(inputs.evidence.runtime.as_ref(), kept.as_ref(), quote),
            prove_place(&inputs, &key, &qualifying, quote),
        ),
        Proof::Refuted(findings) => (
            Proof::Refuted(findings.clone()),
            Runtime {
                proof: Proof::Refuted(findings.clone()),
                kept,
            },
            Proof::Refuted(findings.clone()),
        ),
    };
    let class: RootClass = inputs.record.identity.root_class;
    let log_digest = inputs.evidence.boot_log_digest;
    let new_boot_log = inputs
        .evidence
        .boot_log
        .filter(|log| Sha256Digest::of(log) == log_digest)
        .map(|log| log.0);
    Ok(Verified {
        claims: Claims::new(
            inputs.record.host.clone(),
            class,
            quote,
            boot,
            runtime.proof,
            place,
        )
        .with_tpm(inputs.record.tpm),
        host: inputs.record.host,
        clock,
        challenged_at: inputs.challenge.issued_at,
        now: inputs.now,
        boot_log_digest: log_digest,
        new_boot_log,
        runtime: runtime.kept,
    })
}

fn attestation_key(record: &HostRecord) -> Result<AttestationKey, RoundError> {
    let malformed = StoreError::Malformed("enrolled key");
    let ek = Public::parse(&record.identity.ek_public);
    let ak = Public::parse(&record.identity.ak_public);
    match (ek, ak) {
        (Ok(ek), Ok(ak)) => AttestationKey::under(&ek, ak).map_err(|_| malformed.into()),
        _ => Err(malformed.into()),
    }
}

/// From the attestor's own values, but for what only the host can say: boot id and tag. The tag is
/// taken from the NV certification, which must then carry this same digest. Release key and node
/// token are demanded to be absent: nothing verifies them yet.
fn qualifying_data(inputs: &Inputs) -> Result<Sha256Digest, RoundError> {
    // Bytes of another length cannot be the challenge's nonce, or a boot id.
    let other = |_| RoundError::NotAuthentic(NotAuthentic::OtherRound);
    let nonce = inputs.evidence.nonce.as_ref().try_into().map_err(other)?;
    let boot_id = inputs.evidence.boot_id.as_ref().try_into().map_err(other)?;
    let carried = inputs.evidence.location.as_ref().and_then(|signed| {
        match Attest::parse(&signed.attest).ok()?.attested {
            Attested::Nv { contents, .. } => Some(Sha256Digest::of(&contents)),
            _ => None,
        }
    });
    Ok(QualifyingData {
        nonce,
        host: &inputs.record.host,
        boot_id,
        location_tag: carried,
        release_key: None,
        tls_key: &inputs.record.identity.tls_key,
        node_token: None,
    }
    .digest())
}

fn quote_clock(statement: &Authentic) -> Option<QuoteClock> {
    let ClockInfo {
        clock,
        reset_count,
        restart_count,
        ..
    } = statement.clock();
    Some(QuoteClock {
        firmware_version: statement.firmware_version().cast_signed(),
        reset_count: i64::from(reset_count),
        restart_count: i64::from(restart_count),
        // 2^63 milliseconds do not pass in the life of a TPM.
        clock: i64::try_from(clock).ok()?,
    })
}

/// The log's bytes. After either counter moved the whole log must come anew.
fn boot_log_bytes<'a>(inputs: &'a Inputs, clock: &QuoteClock) -> Result<&'a [u8], RoundError> {
    if let Some(log) = &inputs.evidence.boot_log {
        return Ok(log);
    }
    let same_boot = inputs.record.last_quote.is_some_and(|last| {
        (last.reset_count, last.restart_count) == (clock.reset_count, clock.restart_count)
    });
    let same_log = inputs.record.boot_log == Some(inputs.evidence.boot_log_digest);
    match &inputs.stored_boot_log {
        Some(log) if same_boot && same_log => Ok(log),
        _ => Err(RoundError::BootLogRequired),
    }
}

fn prove_quote(inputs: &Inputs, statement: &Authentic, clock: &QuoteClock) -> Proof<VerifiedQuote> {
    if let Some(last) = inputs.record.last_quote
        && last.firmware_version != clock.firmware_version
    {
        return Proof::Refuted(vec![
            Finding::new("firmware-version-changed")
                .expected(format_args!("{:#x}", last.firmware_version))
                .observed(format_args!("{:#x}", clock.firmware_version)),
        ]);
    }
    let values = inputs.evidence.pcrs.clone();
    match VerifiedQuote::verify(statement, inputs.challenge.pcrs, values) {
        Ok(quote) => Proof::Proven(quote),
        Err(error) => Proof::Refuted(vec![error.finding()]),
    }
}

fn prove_boot(inputs: &Inputs, bytes: &[u8], quote: &VerifiedQuote) -> Proof<ReplayedLog> {
    if Sha256Digest::of(bytes) != inputs.evidence.boot_log_digest {
        return Proof::Refuted(vec![Finding::new("boot-log-digest-mismatch")]);
    }
    let log = match BootLog::parse(bytes) {
        Ok(log) => log,
        Err(error) => return Proof::Refuted(vec![error.finding()]),
    };
    match ReplayedLog::verify(log, quote) {
        Ok(log) => Proof::Proven(log),
        Err(error) => Proof::Refuted(error.findings()),
    }
}

fn prove_place(
    inputs: &Inputs,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    quote: &VerifiedQuote,
) -> Proof<VerifiedPlace> {
    let place = || -> Result<VerifiedPlace, LocationError> {
        let signed = inputs
            .evidence
            .location
            .as_ref()
            .ok_or(LocationError::Absent)?;
        let statement =
            Authentic::verify(signed, key, qualifying).map_err(LocationError::NotAuthentic)?;
        let carried = CarriedTag::verify(&statement, quote).map_err(LocationError::Nv)?;
        VerifiedPlace::verify(
            &carried,
            &TagExpectation {
                authorities: &inputs.authorities,
                ek_set: inputs.ek_set,
                current_serial: inputs.current_serial,
                revoked: &inputs.revoked_tags,
                now: inputs.now,
            },
        )
    };
    match place() {
        Ok(place) => Proof::Proven(place),
        Err(error) => Proof::Refuted(vec![error.finding()]),
    }
}
