//! Evidence to claims: gathers what the attestor knows, then verifies without the database.

use std::sync::Arc;

use touchstone_evidence::boot_log::{BootLog, BootLogError, ReplayedLog};
use touchstone_evidence::claims::{Claims, Proof};
use touchstone_evidence::continuity::{Continuity, ContinuityError, History, Reading, Window};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::ima::ImaState;
use touchstone_evidence::location::{
    AuthorityKey, LocationError, TagExpectation, VerifiedPlace, ek_set_digest, untrusted_tag,
};
use touchstone_evidence::nv::CarriedTag;
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::quote::{Authentic, NotAuthentic, VerifiedQuote};
use touchstone_evidence::release_key::release_key_name;
use touchstone_evidence::tpm::attest::{Attest, Attested, ClockInfo};
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::wire::Evidence;

use super::runtime::{self, Runtime};
use super::{RoundError, banks, release_key};
use crate::logs::BootLogs;
use crate::store::{Boot, Held, HostRecord, QuoteClock, StoreError, StoredChallenge};

/// All that verification needs; no database after this.
pub(super) struct Inputs {
    pub(super) held: Arc<Held>,
    pub(super) evidence: Arc<Evidence>,
    pub(super) challenge: StoredChallenge,
    /// The log that the evidence names, when it was not sent along.
    pub(super) stored_boot_log: Option<Arc<BootLog>>,
    pub(super) logs: Arc<BootLogs>,
    pub(super) authorities: Arc<[AuthorityKey]>,
    /// When the evidence was there; clocks are compared with it.
    pub(super) received_at: i64,
    /// When it is judged; what expires is compared with it.
    pub(super) now: i64,
}

/// What an authentic round established.
pub(super) struct Verified {
    pub(super) host: HostId,
    pub(super) claims: Claims,
    pub(super) clock: QuoteClock,
    /// The boot that the round is in.
    pub(super) boot: Boot,
    /// The answer is behind what this key said before the challenge: another TPM has it too.
    pub(super) behind: bool,
    pub(super) challenged_at: i64,
    pub(super) now: i64,
    pub(super) boot_log_digest: Sha256Digest,
    /// The log's bytes, when they were sent and are proven.
    pub(super) sent_boot_log: Option<Vec<u8>>,
    /// Whether the log is known to be kept.
    pub(super) boot_log_is_kept: bool,
    /// Where replay of the runtime list stands after this round.
    pub(super) runtime: Option<ImaState>,
}

/// Verifies the round. An error: it is not an authentic round, or not a whole one.
pub(super) fn verify(inputs: Inputs) -> Result<Verified, RoundError> {
    let record = &inputs.held.record;
    let key = attestation_key(record)?;
    let qualifying = qualifying_data(&inputs)?;
    let statement = Authentic::verify(&inputs.evidence.quote, &key, &qualifying)?;
    let clock = quote_clock(&statement).ok_or(RoundError::NotNewer)?;
    let reading = Reading::from(statement.clock());
    let boot_log = boot_log(&inputs, &reading)?;

    let kept = record.runtime;
    let values = inputs.evidence.pcrs.clone();
    let quote = match VerifiedQuote::verify(&statement, inputs.challenge.pcrs, values) {
        Ok(quote) => Proof::Proven(quote),
        Err(error) => Proof::Refuted(vec![error.finding()]),
    };
    let mut boot = Boot {
        reset_count: reading.reset_count,
        restart_count: reading.restart_count,
        window: window(&inputs),
        banks: None,
        copied: copied(&inputs),
    };
    let mut behind = false;
    let release_key = release_key::prove(&inputs.evidence, &key, &qualifying, &quote);
    let (continuity, log, runtime, place) = match &quote {
        Proof::Proven(quote) => {
            let proven = prove(&inputs, &key, &qualifying, boot_log, quote)?;
            boot.banks = proven.banks;
            let continuity = match proven.continuity {
                Ok(continuity) => Proof::Proven(continuity),
                Err(error) => {
                    behind = matches!(error, ContinuityError::Behind { .. });
                    Proof::Refuted(vec![error.finding()])
                }
            };
            let runtime = runtime::prove(inputs.evidence.runtime.as_ref(), kept.as_ref(), quote);
            (continuity, proven.log, runtime, proven.place)
        }
        Proof::Refuted(findings) => (
            Proof::Refuted(findings.clone()),
            Proof::Refuted(findings.clone()),
            Runtime {
                proof: Proof::Refuted(findings.clone()),
                kept,
            },
            Proof::Refuted(findings.clone()),
        ),
    };
    let log_digest = inputs.evidence.boot_log_digest;
    let sent_boot_log = inputs
        .evidence
        .boot_log
        .as_ref()
        .filter(|_| matches!(log, Proof::Proven(_)))
        .map(|log| log.to_vec());
    let claims = Claims::new(
        record.host.clone(),
        record.identity.root_class,
        quote,
        continuity,
        log,
        runtime.proof,
        place,
    );
    Ok(Verified {
        claims: claims
            .with_tpm(record.tpm.clone())
            .with_release_key(release_key),
        host: record.host.clone(),
        clock,
        boot,
        behind,
        challenged_at: inputs.challenge.issued_at,
        now: inputs.now,
        boot_log_digest: log_digest,
        sent_boot_log,
        boot_log_is_kept: inputs.logs.is_kept(&log_digest),
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

/// From the attestor's own values, but for what only the host can say: boot id, tag, release key and the digest of its
/// node's token. The tag is taken from the NV certification, which must then carry this same digest, and so must the
/// certification of the release key. The token itself is looked at once the round is durable.
fn qualifying_data(inputs: &Inputs) -> Result<Sha256Digest, RoundError> {
    // Bytes of another length cannot be the challenge's nonce, or a boot id.
    let other = |_| RoundError::NotAuthentic(NotAuthentic::OtherRound);
    let (nonce, boot_id): (&[u8], &[u8]) = (&inputs.evidence.nonce, &inputs.evidence.boot_id);
    let nonce = nonce.try_into().map_err(other)?;
    let boot_id = boot_id.try_into().map_err(other)?;
    let carried = inputs.evidence.location.as_ref().and_then(|signed| {
        match Attest::parse(&signed.attest).ok()?.attested {
            Attested::Nv { contents, .. } => Some(Sha256Digest::of(&contents)),
            _ => None,
        }
    });
    let release_key = inputs.evidence.release_key.as_ref();
    let release_key = release_key.map(|key| release_key_name(&key.public));
    Ok(QualifyingData {
        nonce,
        host: &inputs.held.record.host,
        boot_id,
        location_tag: carried,
        release_key: release_key.as_ref().map(Name::as_bytes),
        tls_key: &inputs.held.record.identity.tls_key,
        node_token: inputs.evidence.node_token,
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

/// What is remembered of the boot that `reading` is of, if the last accepted round was in it too.
fn this_boot<'a>(inputs: &'a Inputs, reading: &Reading) -> Option<&'a Boot> {
    inputs.held.record.last_quote?;
    inputs.held.boot.as_ref().filter(|boot| boot.holds(reading))
}

/// Whether a copy of the TPM spoke with this key, in whatever boot.
fn copied(inputs: &Inputs) -> bool {
    let Held { record, boot, .. } = &*inputs.held;
    record.last_quote.is_some() && boot.as_ref().is_some_and(|boot| boot.copied)
}

/// The banks that an earlier round of this boot proved for the log that the evidence names.
fn remembered_banks<'a>(inputs: &'a Inputs, reading: &Reading) -> Option<&'a str> {
    let same_log = inputs.held.record.boot_log == Some(inputs.evidence.boot_log_digest);
    let boot = this_boot(inputs, reading).filter(|_| same_log)?;
    boot.banks.as_deref()
}

/// The log that the round rests on.
enum LogOf<'a> {
    Sent(&'a [u8]),
    Stored(&'a Arc<BootLog>),
}

/// After either counter moved the whole log must come anew, and so must one whose banks are not proven.
fn boot_log<'a>(inputs: &'a Inputs, reading: &Reading) -> Result<LogOf<'a>, RoundError> {
    if let Some(log) = &inputs.evidence.boot_log {
        return Ok(LogOf::Sent(log));
    }
    match &inputs.stored_boot_log {
        Some(log) if remembered_banks(inputs, reading).is_some() => Ok(LogOf::Stored(log)),
        _ => Err(RoundError::BootLogRequired),
    }
}

/// What a proven quote lets be proven.
struct Proven {
    continuity: Result<Continuity, ContinuityError>,
    log: Proof<Arc<ReplayedLog>>,
    banks: Option<String>,
    place: Proof<VerifiedPlace>,
}

fn prove(
    inputs: &Inputs,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    boot_log: LogOf<'_>,
    quote: &VerifiedQuote,
) -> Result<Proven, RoundError> {
    let (log, banks) = prove_boot(inputs, key, qualifying, boot_log, quote);
    Ok(Proven {
        continuity: Continuity::verify(quote, window(inputs), &history(inputs, quote)?),
        log,
        banks,
        place: prove_place(inputs, key, qualifying, quote),
    })
}

fn window(inputs: &Inputs) -> Window {
    Window {
        challenged_at: inputs.challenge.issued_at,
        received_at: inputs.received_at,
    }
}

fn history(inputs: &Inputs, quote: &VerifiedQuote) -> Result<History, RoundError> {
    let last = inputs.held.record.last_quote;
    let boot = this_boot(inputs, &quote.clock().into());
    let reading = last.map(|last| last.reading()).transpose()?;
    Ok(History {
        firmware_version: inputs.held.record.firmware_version.map(i64::cast_unsigned),
        last: reading.map(|reading| (reading, boot.map(|boot| boot.window))),
        // What another key of this host said is no measure for this one.
        floor: inputs.challenge.floor.filter(|_| last.is_some()),
        copied: copied(inputs),
    })
}

/// The log, and the banks in which it was replayed: it is proven only if it leads to all active ones.
fn prove_boot(
    inputs: &Inputs,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    log: LogOf<'_>,
    quote: &VerifiedQuote,
) -> (Proof<Arc<ReplayedLog>>, Option<String>) {
    let refuted = |findings| (Proof::Refuted(findings), None);
    let digest = inputs.evidence.boot_log_digest;
    let log = match log {
        LogOf::Stored(log) => Arc::clone(log),
        LogOf::Sent(bytes) if Sha256Digest::of(bytes) != digest => {
            return refuted(vec![Finding::new("boot-log-digest-mismatch")]);
        }
        LogOf::Sent(bytes) => match parsed(&inputs.logs, digest, bytes) {
            Ok(log) => log,
            Err(error) => return refuted(vec![error.finding()]),
        },
    };
    let sent = inputs.evidence.banks.as_ref();
    let remembered = remembered_banks(inputs, &quote.clock().into());
    let banks = banks::prove(sent, remembered, &log, key, qualifying, quote);
    match (inputs.logs.replay(digest, &log, quote), banks) {
        (Ok(replayed), Ok(banks)) => {
            inputs.logs.keep(digest, log);
            (Proof::Proven(replayed), Some(banks))
        }
        // If it is not even the history of the quoted bank, that says it all.
        (Err(error), _) => refuted(error.findings()),
        (Ok(_), Err(findings)) => refuted(findings),
    }
}

/// The log of these bytes, of which `digest` is the digest.
fn parsed(
    logs: &BootLogs,
    digest: Sha256Digest,
    bytes: &[u8],
) -> Result<Arc<BootLog>, BootLogError> {
    match logs.parsed(&digest) {
        Some(log) => Ok(log),
        None => BootLog::parse(bytes).map(Arc::new),
    }
}

/// Why a tag proves nothing that was issued here: its authority was believed then, and may not be any more.
fn revoked_authority(inputs: &Inputs, carried: &CarriedTag) -> Option<LocationError> {
    let (_, issued) = inputs.held.tag.as_ref()?;
    let authority = untrusted_tag(issued).ok()?.authority;
    let believed = inputs.authorities.iter().any(|key| key.id() == authority);
    (carried.contents() == issued && !believed)
        .then_some(LocationError::RevokedAuthority(authority))
}

fn prove_place(
    inputs: &Inputs,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    quote: &VerifiedQuote,
) -> Proof<VerifiedPlace> {
    let tag = inputs.held.tag.as_ref();
    let taken_back = tag.filter(|_| inputs.held.tag_state.revoked);
    let revoked: Vec<Sha256Digest> = taken_back
        .map(|(_, tag)| Sha256Digest::of(tag))
        .into_iter()
        .collect();
    let serial = tag.and_then(|(serial, _)| u64::try_from(*serial).ok());
    let place = || -> Result<VerifiedPlace, LocationError> {
        let signed = inputs
            .evidence
            .location
            .as_ref()
            .ok_or(LocationError::Absent)?;
        let statement =
            Authentic::verify(signed, key, qualifying).map_err(LocationError::NotAuthentic)?;
        let carried = CarriedTag::verify(&statement, quote).map_err(LocationError::Nv)?;
        let place = VerifiedPlace::verify(
            &carried,
            &TagExpectation {
                authorities: &inputs.authorities,
                ek_set: ek_set_digest(&inputs.held.eks),
                current_serial: serial,
                revoked: &revoked,
                now: inputs.now,
            },
        );
        place.map_err(|error| revoked_authority(inputs, &carried).unwrap_or(error))
    };
    match place() {
        Ok(place) => Proof::Proven(place),
        Err(error) => Proof::Refuted(vec![error.finding()]),
    }
}
