//! Location authorities and the tags that they issue. The attestor verifies tags; it signs none.

mod history;
mod revoke;
mod sweep;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::{
    AuthorityKey, LocationError, LocationTag, Place, ek_set_digest, verify_tag,
};

use crate::appraisal::Verdict;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::store::{StoreError, Tx};
pub(crate) use history::{History, Move, history};
pub(crate) use revoke::{Meant, revoke_authority, revoke_tag};
pub(crate) use sweep::resume_sweeps;

/// Most that a serial may rise by, so that nobody uses up those of a host with one tag. Room for an authority that
/// counts by seconds since 1970.
const SERIAL_STEP_MAX: u64 = 1 << 32;

/// Why a tag or an authority was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TagRefused {
    #[error("the bytes are no Ed25519 public key")]
    NotAKey,
    #[error("the inventory has no machine called `{0}`; add it with `touchstone inventory add`")]
    HostUnknown(HostId),
    #[error("the tag is refused: {0}")]
    Tag(#[from] LocationError),
    #[error("the tag's serial {0} is not higher than that of the current tag")]
    SerialNotHigher(u64),
    #[error(
        "the tag's serial {serial} is too far above the last one, {last}: at most {SERIAL_STEP_MAX} more, so that \
         further tags can be higher; `touchstone location tag` takes the next one"
    )]
    SerialTooHigh { serial: u64, last: u64 },
    #[error("no current tag is meant by this; see `touchstone location history HOST`")]
    NotCurrent,
    #[error("no authority with this id is believed; see `touchstone location authority list`")]
    AuthorityUnknown,
    #[error("this authority was revoked, and its key may be in other hands; make another one")]
    AuthorityRevoked,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TagRefused {
    /// Stable code.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::NotAKey => "authority-key-malformed".to_owned(),
            Self::HostUnknown(_) => "host-not-in-inventory".to_owned(),
            Self::Tag(error) => error.finding().code,
            Self::SerialNotHigher(_) => "location-serial-not-higher".to_owned(),
            Self::SerialTooHigh { .. } => "location-serial-too-high".to_owned(),
            Self::NotCurrent => "location-tag-not-current".to_owned(),
            Self::AuthorityUnknown => "location-authority-not-believed".to_owned(),
            Self::AuthorityRevoked => "location-authority-revoked".to_owned(),
            Self::Store(_) => "internal".to_owned(),
        }
    }
}

/// What an authority must know to issue the next tag of a host.
pub(crate) struct TagBasis {
    pub(crate) ek_set: Sha256Digest,
    pub(crate) next_serial: u64,
}

/// Voids the verdict of `host` if it says another place than `proven`: it must prove its place first. The voided
/// verdict is published after the commit.
pub(crate) async fn void_place(
    tx: &mut Tx,
    host: &HostId,
    proven: Option<&Place>,
) -> Result<Option<Verdict>, StoreError> {
    let held = match tx.host(host).await? {
        Some(record) => Verdict::of(&record)?,
        None => None,
    };
    let voided = held
        .filter(|held| held.place.as_ref() != proven)
        .map(|held| held.voided(Finding::new("place-not-proven-yet").about(host)));
    if let Some(voided) = &voided {
        tx.void_verdict(host, &voided.to_json()?).await?;
    }
    Ok(voided)
}

/// Believes an authority from now on.
pub(crate) async fn add_authority(
    attestor: &Attestor,
    actor: &Actor,
    public_key: &[u8; 32],
) -> Result<Sha256Digest, TagRefused> {
    let key = AuthorityKey::from_bytes(public_key).ok_or(TagRefused::NotAKey)?;
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    if !tx.add_authority(&key.id(), public_key, now).await? {
        return Err(TagRefused::AuthorityRevoked);
    }
    Entry::new(
        &Event::LocationAuthorityAdded {
            authority: key.id(),
        },
        actor,
        now,
    )?
    .append(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(key.id())
}

/// EKs and next serial of `host`.
pub(crate) async fn tag_basis(attestor: &Attestor, host: &HostId) -> Result<TagBasis, TagRefused> {
    let mut tx = attestor.store.read().await?;
    let eks = tx.eks_of(host).await?;
    if eks.is_empty() {
        return Err(TagRefused::HostUnknown(host.clone()));
    }
    Ok(TagBasis {
        ek_set: ek_set_digest(&eks),
        next_serial: last_serial(&mut tx, host).await?.saturating_add(1),
    })
}

/// Of the tags that `host` ever had; 0: it had none.
async fn last_serial(tx: &mut Tx, host: &HostId) -> Result<u64, StoreError> {
    let last = tx.last_tag_serial(host).await?;
    u64::try_from(last).map_err(|_| StoreError::Malformed("serial"))
}

/// Makes a signed tag the current one of `host`; the host writes it into its TPM in its next round.
pub(crate) async fn issue_tag(
    attestor: &Attestor,
    actor: &Actor,
    host: &HostId,
    signed: &[u8],
) -> Result<LocationTag, TagRefused> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let eks = tx.eks_of(host).await?;
    if eks.is_empty() {
        return Err(TagRefused::HostUnknown(host.clone()));
    }
    let authorities: Vec<AuthorityKey> = tx
        .authorities()
        .await?
        .iter()
        .filter_map(AuthorityKey::from_bytes)
        .collect();
    let tag = verify_tag(signed, &authorities)?;
    let digest = Sha256Digest::of(signed);
    if tag.ek_set != ek_set_digest(&eks) {
        return Err(LocationError::OtherHost.into());
    }
    if now >= tag.not_after {
        return Err(LocationError::Expired(tag.not_after).into());
    }
    let (serial, last) = (tag.serial, last_serial(&mut tx, host).await?);
    if serial.saturating_sub(last) > SERIAL_STEP_MAX {
        return Err(TagRefused::SerialTooHigh { serial, last });
    }
    let moved_from = history::proven_last(&mut tx, host).await?;
    let higher = match i64::try_from(tag.serial) {
        Ok(serial) => {
            tx.set_tag(host, serial, signed, moved_from.as_ref(), now)
                .await?
        }
        Err(_) => false,
    };
    if !higher {
        return Err(TagRefused::SerialNotHigher(tag.serial));
    }
    // A challenge that was given before names the old tag; its answer would be held against the host.
    tx.forget_unanswered_challenges(host).await?;
    let event = Event::LocationTagIssued {
        host: host.clone(),
        serial: tag.serial,
        tag: digest,
        place: tag.place.clone(),
    };
    let order = Entry::new(&event, actor, now)?.append(&mut tx).await?;
    // A host that was moved is not where its verdict says: it must prove the new place first.
    let voided = void_place(&mut tx, host, Some(&tag.place)).await?;
    tx.commit().await?;
    if let Some(voided) = voided {
        attestor
            .index
            .put_host(order, voided.standing(host), voided.entry, now);
    }
    Ok(tag)
}
