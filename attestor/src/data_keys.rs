//! Data keys for hosts: a new one to encrypt a secret with, or the one of a secret that is there. Both are released as the
//! key of a layer is (`releases.rs`): to a host that has just proven itself, by the host half of the key's policy, sealed to
//! its TPM and this boot of it, with an entry before the answer. The secret itself never comes here.

use touchstone_evidence::annotation::{KeyName, PolicyName};
use touchstone_evidence::claims::Proof;
use touchstone_evidence::data_key::{Opened, WrappedDataKey};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::release_key::VerifiedReleaseKey;
use touchstone_evidence::sealed_release::{SealSecrets, payload, seal};
use touchstone_evidence::wire::{DataKeyLease, Evidence, Release};
use zeroize::Zeroizing;

use crate::appraisal::{self, CommittedRound};
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::layer_keys::{self, LayerKeyError};
use crate::leases::{self, NotGiven};
use crate::random;
use crate::releases::{ReleaseError, judge, milliseconds, revoked};
use crate::store::Claim;

/// A host that asks, and the round by which it proves itself.
pub(crate) struct Asking {
    pub(crate) host: HostId,
    pub(crate) tls_key: Sha256Digest,
    pub(crate) evidence: Evidence,
    /// The evidence exactly as it was received.
    pub(crate) body: Vec<u8>,
}

/// Makes a data key under the current version of the key `name`.
pub(crate) async fn make(
    attestor: &Attestor,
    asking: Asking,
    name: KeyName,
) -> Result<(WrappedDataKey, Release), ReleaseError> {
    let (asked, round) = prove(attestor, asking, Named::Key(name.clone())).await?;
    let made = layer_keys::make_data_key(attestor, name).await;
    let (wrapped, opened) = asked.usable(attestor, made).await?;
    let release = asked.release(attestor, &round, &opened).await?;
    Ok((wrapped, release))
}

/// Opens a data key that was made before.
pub(crate) async fn open(
    attestor: &Attestor,
    asking: Asking,
    wrapped: WrappedDataKey,
) -> Result<Release, ReleaseError> {
    let (asked, round) = prove(attestor, asking, Named::of(&wrapped)).await?;
    let opened = layer_keys::open_data_key(attestor, &wrapped).await;
    let opened = asked.usable(attestor, opened).await?;
    asked.release(attestor, &round, &opened).await
}

/// Appraises the round, which must bring a release key.
async fn prove(
    attestor: &Attestor,
    asking: Asking,
    named: Named,
) -> Result<(Asked, CommittedRound), ReleaseError> {
    let Asking { host, tls_key, .. } = asking;
    let accepted = appraisal::round(attestor, &tls_key, asking.evidence, asking.body).await?;
    let round = accepted.committed.ok_or(ReleaseError::NoReleaseKey)?;
    let asked = Asked {
        host,
        tls_key,
        named,
    };
    Ok((asked, round))
}

/// As the request says: nobody has opened it.
enum Named {
    /// One that is to be made.
    Key(KeyName),
    /// One that is there.
    DataKey {
        key: KeyName,
        version: u32,
        id: Sha256Digest,
    },
}

impl Named {
    fn of(wrapped: &WrappedDataKey) -> Self {
        let named = wrapped.untrusted_binding();
        Self::DataKey {
            key: named.key.clone(),
            version: named.key_version,
            id: named.id,
        }
    }
}

/// Who asks, and for what.
struct Asked {
    host: HostId,
    tls_key: Sha256Digest,
    named: Named,
}

impl Asked {
    /// What the key gave; that it gave nothing is written down.
    async fn usable<T>(
        &self,
        attestor: &Attestor,
        outcome: Result<T, LayerKeyError>,
    ) -> Result<T, ReleaseError> {
        match outcome {
            Err(error) if error.code() != "internal" => {
                self.note(attestor, &[Finding::new(error.code())]).await?;
                Err(error.into())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Judges the host, then seals the data key to it.
    async fn release(
        &self,
        attestor: &Attestor,
        round: &CommittedRound,
        opened: &Opened,
    ) -> Result<Release, ReleaseError> {
        let policy = &opened.binding().policy;
        let key = match round.release_key() {
            Proof::Proven(key) => key,
            Proof::Refuted(findings) => {
                return Err(self.refuse(attestor, findings.clone(), policy).await?);
            }
        };
        let now = clock::now();
        match judge(round, policy, now) {
            refusals if refusals.is_empty() => self.grant(attestor, round, key, opened, now).await,
            refusals => Err(self.refuse(attestor, refusals, policy).await?),
        }
    }

    async fn refuse(
        &self,
        attestor: &Attestor,
        refusals: Vec<Finding>,
        policy: &PolicyName,
    ) -> Result<ReleaseError, ReleaseError> {
        self.note(attestor, &refusals).await?;
        let policy = policy.clone();
        Ok(ReleaseError::Refused { refusals, policy })
    }

    /// Writes down that nothing was released, and why.
    async fn note(&self, attestor: &Attestor, refusals: &[Finding]) -> Result<(), ReleaseError> {
        let (key, version, data_key) = match &self.named {
            Named::Key(key) => (key, None, None),
            Named::DataKey { key, version, id } => (key, Some(*version), Some(*id)),
        };
        let codes = refusals.iter().map(|finding| finding.code.clone());
        let event = Event::DataKeyRefused {
            host: self.host.clone(),
            key: key.clone(),
            version,
            data_key,
            refusals: codes.collect(),
        };
        let entry = Entry::new(&event, &Actor::Host, clock::now())?;
        attestor.commits.entry(entry).await?;
        Ok(())
    }

    /// Writes the lease down, then seals to the host.
    async fn grant(
        &self,
        attestor: &Attestor,
        round: &CommittedRound,
        key: &VerifiedReleaseKey,
        opened: &Opened,
        now: i64,
    ) -> Result<Release, ReleaseError> {
        let expires_at = round.standing().expires_at;
        let clock = key.quote().clock();
        let clock_end = clock.clock.saturating_add(milliseconds(now, expires_at));
        let bound = opened.binding();
        let secrets = SealSecrets {
            secret: Zeroizing::new(random::bytes()?),
            obfuscation: Zeroizing::new(random::bytes()?),
        };
        // Before the entry, which would speak of a release that there cannot be.
        let sealed = seal(key, clock_end, &secrets)?;
        let event = Event::DataKeyReleased {
            host: self.host.clone(),
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            key: bound.key.clone(),
            version: bound.key_version,
            data_key: bound.id,
            made: matches!(self.named, Named::Key(_)),
            policy: bound.policy.clone(),
            policy_digest: round.policies().digest,
            result_entry: round.entry(),
            expires_at,
            clock_end,
        };
        let entry = Entry::new(&event, &Actor::Host, now)?;
        let lease = DataKeyLease {
            host: self.host.clone(),
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            key: bound.key.clone(),
            key_version: bound.key_version,
            data_key: bound.id,
            policy: bound.policy.clone(),
            issued_at: now,
            expires_at,
            clock_end,
            entry: entry.leaf(),
        };
        let lease = serde_json::to_vec(&lease).map_err(|_| ReleaseError::Unwritable)?;
        let payload = payload::encrypt(&secrets.secret, &lease, opened.data_key().bytes());
        let payload = payload.map_err(|_| ReleaseError::Unwritable)?;
        let wanted = leases::Wanted {
            claim: Claim {
                host: self.host.clone(),
                tls_key: self.tls_key,
                standing: round.standing_digest(),
                key: bound.key.clone(),
            },
            entry,
            lease: None,
            policies: round.policies().digest,
        };
        match attestor.giving.give(wanted).await {
            Ok(()) => Ok(Release {
                lease: lease.into(),
                sealed,
                payload: payload.into(),
                round_due: round.tells_of_revoked(),
            }),
            Err(why) => Err(self.not_given(attestor, why, opened).await?),
        }
    }

    async fn not_given(
        &self,
        attestor: &Attestor,
        why: NotGiven,
        opened: &Opened,
    ) -> Result<ReleaseError, ReleaseError> {
        let bound = opened.binding();
        let error = match why {
            NotGiven::Round(error) => return Ok(error.into()),
            NotGiven::Revoked => {
                let why = vec![revoked(&bound.key)];
                return self.refuse(attestor, why, &bound.policy).await;
            }
            NotGiven::Inactive(state) => LayerKeyError::inactive(bound.key.clone(), state),
        };
        self.note(attestor, &[Finding::new(error.code())]).await?;
        Ok(error.into())
    }
}
