//! Taking back a location tag, or an authority and then all of its tags: on every replica, since the entries name
//! the hosts whose verdicts are void.

use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::untrusted_tag;

use super::TagRefused;
use super::sweep::sweep;
use crate::appraisal::Verdict;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event, Reason};
use crate::clock;
use crate::kill_points::{self, Step};
use crate::store::{StoreError, TagEnd, Tx};

/// Which tag is meant.
pub(crate) enum Meant {
    /// The current one of a host; with a serial, only if it has that.
    Host(HostId, Option<u64>),
    /// The one with this SHA-256, if it is current.
    Tag(Sha256Digest),
}

/// What was taken back.
pub(crate) struct Revoked {
    pub(crate) host: HostId,
    pub(crate) serial: u64,
    pub(crate) tag: Sha256Digest,
}

/// What a tag ended by.
#[derive(Clone, Copy)]
pub(super) enum Ended {
    /// It was taken back.
    Alone,
    /// Its authority was, which has this id.
    With(Sha256Digest),
}

/// A committed end of a verdict, to be published.
pub(super) struct Voided {
    host: HostId,
    order: u64,
    verdict: Option<Verdict>,
}

/// Takes back one current tag.
pub(crate) async fn revoke_tag(
    attestor: &Attestor,
    actor: &Actor,
    meant: Meant,
    reason: Option<Reason>,
) -> Result<Revoked, TagRefused> {
    let host = match &meant {
        Meant::Host(host, _) => host.clone(),
        Meant::Tag(digest) => holder(attestor, digest).await?,
    };
    let mut tx = attestor.store.write().await?;
    let signed = tx.tag_in_force(&host).await?;
    let signed = signed.ok_or(TagRefused::NotCurrent)?;
    let tag = untrusted_tag(&signed).map_err(|_| StoreError::Malformed("location tag"))?;
    let is_meant = match &meant {
        Meant::Host(_, serial) => serial.is_none_or(|serial| serial == tag.serial),
        Meant::Tag(digest) => Sha256Digest::of(&signed) == *digest,
    };
    if !is_meant {
        return Err(TagRefused::NotCurrent);
    }
    let revoked = Revoked {
        host,
        serial: tag.serial,
        tag: Sha256Digest::of(&signed),
    };
    let voided = take_back(&mut tx, actor, &revoked, Ended::Alone, reason).await?;
    tx.commit().await?;
    publish(attestor, vec![voided]);
    Ok(revoked)
}

/// Whose current tag has this SHA-256. It takes the longer the more hosts there are, so no writer waits for it.
async fn holder(attestor: &Attestor, digest: &Sha256Digest) -> Result<HostId, TagRefused> {
    let mut after = String::new();
    loop {
        let page = attestor.store.read().await?.tags_in_force(&after).await?;
        let Some((last, _)) = page.last() else {
            return Err(TagRefused::NotCurrent);
        };
        last.as_str().clone_into(&mut after);
        let mut page = page.into_iter();
        if let Some((host, _)) = page.find(|(_, tag)| Sha256Digest::of(tag) == *digest) {
            return Ok(host);
        }
    }
}

/// Believes an authority no more, then takes back every current tag of it. Returns how many there were.
pub(crate) async fn revoke_authority(
    attestor: &Arc<Attestor>,
    actor: &Actor,
    authority: &Sha256Digest,
    reason: Option<Reason>,
) -> Result<usize, TagRefused> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    if !tx.revoke_authority(authority, now).await? {
        return Err(TagRefused::AuthorityUnknown);
    }
    let event = Event::LocationAuthorityRevoked {
        authority: *authority,
        reason: reason.clone(),
    };
    let order = Entry::new(&event, actor, now)?.append(&mut tx).await?;
    // COMMIT POINT: no round proves a place by a tag of it any more, whatever becomes of what follows.
    tx.commit().await?;
    attestor.index.note(order);
    kill_points::pass(Step::Disbelieved);
    let (attestor, actor, authority) = (Arc::clone(attestor), actor.clone(), *authority);
    // A caller that goes away does not end it.
    let sweep = tokio::spawn(async move { sweep(&attestor, &actor, &authority, reason).await });
    Ok(sweep.await.map_err(|_| StoreError::Unavailable)??)
}

/// Within `tx`: the tag counts no more, and no verdict that says a place.
pub(super) async fn take_back(
    tx: &mut Tx,
    actor: &Actor,
    revoked: &Revoked,
    end: Ended,
    reason: Option<Reason>,
) -> Result<Voided, StoreError> {
    let Revoked { host, serial, tag } = revoked;
    let now = clock::now();
    let (word, authority, why) = match end {
        Ended::Alone => {
            let why = Finding::new("location-tag-revoked").observed(tag);
            (TagEnd::Revoked, None, why)
        }
        Ended::With(authority) => {
            let why = Finding::new("location-authority-revoked").observed(authority);
            (TagEnd::AuthorityRevoked, Some(authority), why)
        }
    };
    tx.revoke_tag(host, word, now).await?;
    let held = match tx.host(host).await? {
        Some(record) => Verdict::of(&record)?,
        None => None,
    };
    let verdict = held
        .filter(|held| held.place.is_some())
        .map(|held| held.voided(why));
    if let Some(verdict) = &verdict {
        tx.void_verdict(host, &verdict.to_json()?).await?;
    }
    let event = Event::LocationTagRevoked {
        host: host.clone(),
        serial: *serial,
        tag: *tag,
        authority,
        reason,
    };
    let order = Entry::new(&event, actor, now)?.append(tx).await?;
    Ok(Voided {
        host: host.clone(),
        order,
        verdict,
    })
}

/// Publishes what is durable.
pub(super) fn publish(attestor: &Attestor, voided: Vec<Voided>) {
    let now = clock::now();
    for Voided {
        host,
        order,
        verdict,
    } in voided
    {
        match verdict {
            Some(verdict) => {
                let standing = verdict.standing(&host);
                attestor.index.put_host(order, standing, verdict.entry, now);
            }
            None => attestor.index.note(order),
        }
    }
}
