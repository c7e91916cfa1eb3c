//! A release: the key of a layer goes to a host that has just proven itself, sealed to its TPM, this boot of it and the
//! boot PCRs that were quoted. What a host asks for is judged by that one round alone, by the host half of the policy that
//! the key is for, and becomes an entry before it is answered.

use touchstone_evidence::annotation::{Annotation, Binding, KeyName, Opened, PolicyName};
use touchstone_evidence::claims::Proof;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::release_key::VerifiedReleaseKey;
use touchstone_evidence::sealed_release::{SealError, SealSecrets, payload, seal};
use touchstone_evidence::wire::{Evidence, Lease, Release};
use touchstone_policies::{prose, release};
use zeroize::Zeroizing;

use crate::appraisal::{self, CommittedRound, RoundError};
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::layer_keys::{self, LayerKeyError};
use crate::leases::{self, NotGiven};
use crate::random::{self, NoRandomness};
use crate::store::{Claim, NewLease, StoreError};

/// Why nothing was released.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    #[error(transparent)]
    Round(#[from] RoundError),
    /// The evidence was good for a verdict, and no key can be sealed by it.
    #[error(
        "this round carries no release key, or was answered before; ask for a new challenge and answer it with a release key"
    )]
    NoReleaseKey,
    #[error(transparent)]
    LayerKey(#[from] LayerKeyError),
    /// Each of them stands in an entry.
    #[error("touchstone: {} (policy {policy})", prose::summary(refusals))]
    Refused {
        refusals: Vec<Finding>,
        policy: PolicyName,
    },
    #[error("the key could not be sealed to this host: {0}")]
    Seal(#[from] SealError),
    #[error("what is released cannot be written")]
    Unwritable,
}

impl From<StoreError> for ReleaseError {
    fn from(error: StoreError) -> Self {
        Self::Round(error.into())
    }
}

impl From<NoRandomness> for ReleaseError {
    fn from(error: NoRandomness) -> Self {
        Self::Round(error.into())
    }
}

impl ReleaseError {
    /// Stable code.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Round(error) => error.code(),
            Self::NoReleaseKey => "release-key-absent",
            Self::LayerKey(error) => error.code(),
            Self::Refused { refusals, .. } => match refusals.first() {
                Some(finding) => &finding.code,
                None => "internal",
            },
            Self::Seal(_) | Self::Unwritable => "internal",
        }
    }
}

/// What a host asks for.
pub(crate) struct Wanted {
    pub(crate) host: HostId,
    pub(crate) tls_key: Sha256Digest,
    pub(crate) evidence: Evidence,
    /// The evidence exactly as it was received.
    pub(crate) body: Vec<u8>,
    pub(crate) annotation: Vec<u8>,
    pub(crate) manifest: Option<OciDigest>,
}

/// Appraises the round, judges, writes it down, and seals.
pub(crate) async fn release(attestor: &Attestor, wanted: Wanted) -> Result<Release, ReleaseError> {
    let Wanted {
        host,
        annotation,
        manifest,
        ..
    } = wanted;
    let accepted =
        appraisal::round(attestor, &wanted.tls_key, wanted.evidence, wanted.body).await?;
    let round = accepted.committed.ok_or(ReleaseError::NoReleaseKey)?;
    // Only who it is about; whether it is so is seen when it is opened.
    let named = Annotation::parse(&annotation).map_err(LayerKeyError::from)?;
    let asked = Asked {
        host,
        tls_key: wanted.tls_key,
        manifest,
        named: named.untrusted_binding().clone(),
    };
    let key = match round.release_key() {
        Proof::Proven(key) => key,
        Proof::Refuted(findings) => return Err(asked.refuse(attestor, findings.clone()).await?),
    };
    let opened = match open(attestor, &annotation, manifest.as_ref()).await {
        Ok(opened) => opened,
        Err(error) if error.code() == "internal" => return Err(error),
        Err(error) => {
            let why = Finding::new(error.code());
            asked.refuse(attestor, vec![why]).await?;
            return Err(error);
        }
    };
    let now = clock::now();
    match judge(&round, &opened.binding().policy, now) {
        refusals if refusals.is_empty() => asked.grant(attestor, &round, key, &opened, now).await,
        refusals => Err(asked.refuse(attestor, refusals).await?),
    }
}

/// The layer's options, if the key is active, and the image registered where that is demanded.
async fn open(
    attestor: &Attestor,
    annotation: &[u8],
    manifest: Option<&OciDigest>,
) -> Result<Opened, ReleaseError> {
    let (key, opened) = layer_keys::open(attestor, annotation).await?;
    if !key.registered {
        return Ok(opened);
    }
    let Some(manifest) = manifest else {
        return Err(LayerKeyError::ManifestMissing(key.name).into());
    };
    let mut tx = attestor.store.read().await?;
    if !tx.image_holds(manifest, opened.binding()).await? {
        let (key, manifest) = (key.name, *manifest);
        return Err(LayerKeyError::Unregistered { key, manifest }.into());
    }
    Ok(opened)
}

/// Why what the round established is not enough; empty: it is.
pub(crate) fn judge(round: &CommittedRound, policy: &PolicyName, now: i64) -> Vec<Finding> {
    release::release(
        round.policies(),
        policy.as_str(),
        Some(round.standing()),
        now,
    )
}

/// Who asks, and for what.
struct Asked {
    host: HostId,
    tls_key: Sha256Digest,
    manifest: Option<OciDigest>,
    /// As the annotation says of itself: nobody has opened it.
    named: Binding,
}

impl Asked {
    /// Writes down that nothing was released, and why.
    async fn refuse(
        &self,
        attestor: &Attestor,
        refusals: Vec<Finding>,
    ) -> Result<ReleaseError, ReleaseError> {
        let event = Event::LayerKeyRefused {
            host: self.host.clone(),
            key: self.named.key.clone(),
            version: self.named.key_version,
            layer: self.named.layer,
            manifest: self.manifest,
            refusals: refusals
                .iter()
                .map(|finding| finding.code.clone())
                .collect(),
        };
        let entry = Entry::new(&event, &Actor::Host, clock::now())?;
        attestor.commits.entry(entry).await?;
        let policy = self.named.policy.clone();
        Ok(ReleaseError::Refused { refusals, policy })
    }

    /// Writes the lease down, then seals to the host what opens the layer.
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
        let event = Event::LayerKeyReleased {
            host: self.host.clone(),
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            key: bound.key.clone(),
            version: bound.key_version,
            layer: bound.layer,
            manifest: self.manifest,
            policy: bound.policy.clone(),
            policy_digest: round.policies().digest,
            result_entry: round.entry(),
            expires_at,
            clock_end,
        };
        let entry = Entry::new(&event, &Actor::Host, now)?;
        let lease = Lease {
            host: self.host.clone(),
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            key: bound.key.clone(),
            key_version: bound.key_version,
            layer: bound.layer,
            policy: bound.policy.clone(),
            manifest: self.manifest,
            issued_at: now,
            expires_at,
            clock_end,
            entry: entry.leaf(),
        };
        let kept = NewLease {
            host: self.host.clone(),
            bound: bound.clone(),
            manifest: self.manifest,
            issued_at: now,
            expires_at,
            entry: lease.entry,
        };
        let lease = serde_json::to_vec(&lease).map_err(|_| ReleaseError::Unwritable)?;
        let payload = payload::encrypt(&secrets.secret, &lease, opened.options());
        let payload = payload.map_err(|_| ReleaseError::Unwritable)?;
        let wanted = leases::Wanted {
            claim: Claim {
                host: self.host.clone(),
                tls_key: self.tls_key,
                standing: round.standing_digest(),
                key: bound.key.clone(),
            },
            entry,
            lease: Some(kept),
            policies: round.policies().digest,
        };
        match attestor.giving.give(wanted).await {
            Ok(()) => Ok(Release {
                lease: lease.into(),
                sealed,
                payload: payload.into(),
                round_due: round.tells_of_revoked(),
            }),
            Err(why) => Err(self.not_given(attestor, why).await?),
        }
    }

    async fn not_given(
        &self,
        attestor: &Attestor,
        why: NotGiven,
    ) -> Result<ReleaseError, ReleaseError> {
        let key = &self.named.key;
        let error = match why {
            NotGiven::Round(error) => return Ok(error.into()),
            NotGiven::Revoked => return self.refuse(attestor, vec![revoked(key)]).await,
            NotGiven::Inactive(state) => LayerKeyError::inactive(key.clone(), state),
        };
        self.refuse(attestor, vec![Finding::new(error.code())])
            .await?;
        Ok(error.into())
    }
}

/// Why a host gets nothing under a key that it may not have.
pub(crate) fn revoked(key: &KeyName) -> Finding {
    Finding::new("lease-revoked").about(key)
}

/// From `now` to `end`, both seconds; none if it is over.
pub(crate) fn milliseconds(now: i64, end: i64) -> u64 {
    let seconds = end.saturating_sub(now);
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}
