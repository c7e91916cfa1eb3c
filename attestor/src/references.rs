//! Reference values out of a host's last proven round: pending until an officer activates them.

mod manifest;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_policies::manifest::{ManifestError, with_reference};

use crate::appraisal::{NotReplayed, Verdict, replay};
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::policy::{self, Activated, Applied, ApplyError, Origin};
use crate::store::{PendingReference, StoreError};

/// Why values were not captured, or not activated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReferenceError {
    #[error("no host of this name is enrolled")]
    HostUnknown,
    #[error(
        "the boot of the host is not proven: {0}; values of an unproven boot would be anybody's"
    )]
    NotProven(String),
    #[error("the host's last round does not show its boot: {0}")]
    NotReplayed(String),
    #[error(
        "the host is contraindicated ({0}); if you know the machine to be good, and only its values are missing, \
         capture with --anyway"
    )]
    Contraindicated(String),
    #[error("`{0}` is no name of a manifest: use a-z, 0-9, `-` and `.`, at most 63")]
    Name(String),
    #[error("no values called `{0}` are pending; see `touchstone reference list`")]
    Unknown(String),
    #[error(
        "the pending values called `{name}` are others than those that were looked at: their manifest has the \
         SHA-256 {pending}; look at them with `touchstone reference list --json`"
    )]
    Changed { name: String, pending: Sha256Digest },
    #[error("the captured values do not read as a manifest: {0}")]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReferenceError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::HostUnknown => "host-unknown",
            Self::NotProven(_) => "reference-boot-not-proven",
            Self::Contraindicated(_) => "reference-host-contraindicated",
            Self::NotReplayed(_) => "reference-evidence-absent",
            Self::Name(_) => "reference-name",
            Self::Unknown(_) => "reference-unknown",
            Self::Changed { .. } => "reference-changed",
            Self::Manifest(_) => "policy-broken",
            Self::Apply(error) => error.code(),
            Self::Store(_) => "internal",
        }
    }
}

/// Longest name.
const NAME_MAX: usize = 63;

/// Keeps the boot of `host` as pending values called `name`; they replace pending ones of that name. `anyway`: even
/// if the host is contraindicated, as the first of its kind is.
pub(crate) async fn capture(
    attestor: &Attestor,
    actor: &Actor,
    host: &HostId,
    name: &str,
    anyway: bool,
) -> Result<PendingReference, ReferenceError> {
    check_name(name)?;
    let kept = attestor.store.read().await?.kept_round(host).await?;
    let kept = kept.ok_or(ReferenceError::HostUnknown)?;
    let now = clock::now();
    let verdict = Verdict::read(kept.verdict.as_deref())?;
    let replayed = replay(attestor, &kept, verdict.as_ref(), now)
        .await
        .map_err(|error| match error {
            NotReplayed::Store(error) => ReferenceError::Store(error),
            why => ReferenceError::NotReplayed(why.to_string()),
        })?;
    if !anyway {
        check_tier(verdict.as_ref())?;
    }
    let text = manifest::write(name, &replayed).map_err(ReferenceError::NotProven)?;
    policy::parse(text.clone()).await??;
    let pending = PendingReference {
        name: name.to_owned(),
        host: host.clone(),
        evidence: replayed.evidence,
        captured_at: now,
        manifest: text,
    };
    let mut tx = attestor.store.write().await?;
    tx.put_reference(&pending).await?;
    let event = Event::ReferenceCaptured {
        name: pending.name.clone(),
        host: host.clone(),
        evidence: pending.evidence,
        manifest: Sha256Digest::of(pending.manifest.as_bytes()),
        anyway,
    };
    let order = Entry::new(&event, actor, now)?.append(&mut tx).await?;
    tx.commit().await?;
    attestor.index.note(order);
    Ok(pending)
}

/// Puts pending values into force: in the manifests as they stand, they take the place of those of the same name,
/// or are added. The same checks as for any manifests hold, and the circuit breaker too.
/// `seen`: SHA-256 of the manifest that the officer looked at; other pending values are refused.
pub(crate) async fn activate(
    attestor: &Attestor,
    actor: &Actor,
    name: &str,
    seen: Option<Sha256Digest>,
    drain: bool,
) -> Result<Applied, ReferenceError> {
    let mut tx = attestor.store.read().await?;
    let pending = tx.reference(name).await?;
    let pending = pending.ok_or_else(|| ReferenceError::Unknown(name.to_owned()))?;
    let in_force = tx.policy().await?.map(|policy| policy.manifests);
    drop(tx);
    let digest = Sha256Digest::of(pending.manifest.as_bytes());
    if seen.is_some_and(|seen| seen != digest) {
        return Err(ReferenceError::Changed {
            name: pending.name,
            pending: digest,
        });
    }
    let active = manifest::activated(&pending.manifest);
    let base = in_force
        .as_ref()
        .map(|text| Sha256Digest::of(text.as_bytes()));
    let (in_force, named) = (in_force.unwrap_or_default(), name.to_owned());
    let written = tokio::task::spawn_blocking(move || with_reference(&in_force, &named, &active));
    let manifests = written.await.map_err(|_| StoreError::Unavailable)??;
    let activated = Activated {
        pending: &pending,
        base,
    };
    Ok(policy::apply(
        attestor,
        actor,
        &manifests,
        drain,
        Origin::Activated(activated),
    )
    .await?)
}

fn check_tier(verdict: Option<&Verdict>) -> Result<(), ReferenceError> {
    match verdict.filter(|verdict| verdict.tier == TrustTier::Contraindicated) {
        Some(verdict) => {
            let mut codes: Vec<&str> = verdict
                .findings
                .iter()
                .map(|finding| finding.code.as_str())
                .collect();
            codes.dedup();
            Err(ReferenceError::Contraindicated(codes.join(", ")))
        }
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), ReferenceError> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    match (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err(ReferenceError::Name(name.to_owned())),
    }
}
