//! Taking back a location tag, or an authority with all of its tags: at once, and on every replica, since the
//! entries name the hosts whose verdicts are void.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::untrusted_tag;

use super::TagRefused;
use crate::appraisal::Verdict;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event, Reason};
use crate::clock;
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

/// A committed end of a verdict, to be published.
struct Voided {
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
    let voided = take_back(&mut tx, actor, &revoked, TagEnd::Revoked, reason).await?;
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

/// Believes an authority no more, and takes back every current tag of it. Returns how many there were.
pub(crate) async fn revoke_authority(
    attestor: &Attestor,
    actor: &Actor,
    authority: &Sha256Digest,
    reason: Option<Reason>,
) -> Result<usize, TagRefused> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    if !tx.revoke_authority(authority, now).await? {
        return Err(TagRefused::AuthorityUnknown);
    }
    let voided = take_back_all(&mut tx, actor, authority, reason.as_ref()).await?;
    let event = Event::LocationAuthorityRevoked {
        authority: *authority,
        hosts: u64::try_from(voided.len()).unwrap_or(u64::MAX),
        reason,
    };
    let order = Entry::new(&event, actor, now)?.append(&mut tx).await?;
    tx.commit().await?;
    let hosts = voided.len();
    publish(attestor, voided);
    attestor.index.note(order);
    Ok(hosts)
}

async fn take_back_all(
    tx: &mut Tx,
    actor: &Actor,
    authority: &Sha256Digest,
    reason: Option<&Reason>,
) -> Result<Vec<Voided>, StoreError> {
    let (mut after, mut voided) = (String::new(), Vec::new());
    loop {
        let page = tx.tags_in_force(&after).await?;
        let Some((last, _)) = page.last() else {
            return Ok(voided);
        };
        last.as_str().clone_into(&mut after);
        for (host, signed) in page {
            let tag = untrusted_tag(&signed).map_err(|_| StoreError::Malformed("location tag"))?;
            if tag.authority == *authority {
                let revoked = Revoked {
                    host,
                    serial: tag.serial,
                    tag: Sha256Digest::of(&signed),
                };
                let end = TagEnd::AuthorityRevoked;
                voided.push(take_back(tx, actor, &revoked, end, reason.cloned()).await?);
            }
        }
    }
}

/// Within `tx`: the tag counts no more, and no verdict that says a place.
async fn take_back(
    tx: &mut Tx,
    actor: &Actor,
    revoked: &Revoked,
    end: TagEnd,
    reason: Option<Reason>,
) -> Result<Voided, StoreError> {
    let Revoked { host, serial, tag } = revoked;
    let now = clock::now();
    tx.revoke_tag(host, end, now).await?;
    let held = match tx.host(host).await? {
        Some(record) => Verdict::of(&record)?,
        None => None,
    };
    let verdict = held
        .filter(|held| held.place.is_some())
        .map(|held| held.voided(Finding::new("location-tag-revoked").observed(tag)));
    if let Some(verdict) = &verdict {
        tx.void_verdict(host, &verdict.to_json()?).await?;
    }
    let event = Event::LocationTagRevoked {
        host: host.clone(),
        serial: *serial,
        tag: *tag,
        reason,
    };
    let order = Entry::new(&event, actor, now)?.append(tx).await?;
    Ok(Voided {
        host: host.clone(),
        order,
        verdict,
    })
}

fn publish(attestor: &Attestor, voided: Vec<Voided>) {
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
