//! Taking back every current tag of an authority that is believed no more. A fleet has many: each page is a
//! transaction of its own, so that rounds and admissions get their turn between two of them.
//!
//! Invariant: a sweep that broke off is begun anew, here or at another replica, until its end is in the database.

use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::untrusted_tag;

use super::revoke::{Ended, Revoked, Voided, publish, take_back};
use crate::attestor::Attestor;
use crate::audit::{Actor, Reason};
use crate::clock;
use crate::kill_points::{self, Step};
use crate::store::StoreError;

/// Tags that are taken back in one transaction: some tens of milliseconds for which other writers wait.
const PAGE: usize = 50;

/// Brings to their end the sweeps that broke off. Those that are under way here are left alone.
pub(crate) async fn resume_sweeps(attestor: &Arc<Attestor>) -> Result<(), StoreError> {
    if attestor.sweeping.try_lock().is_err() {
        return Ok(());
    }
    let unswept = attestor.store.read().await?.unswept_authorities().await?;
    for authority in unswept {
        let hosts = sweep(attestor, &Actor::Attestor, &authority, None).await?;
        tracing::warn!(
            "{hosts} tags of the revoked location authority {authority} were left, and are taken back"
        );
    }
    Ok(())
}

/// Takes back all current tags of `authority`, which was revoked: no further one can be issued. Returns how many.
pub(super) async fn sweep(
    attestor: &Attestor,
    actor: &Actor,
    authority: &Sha256Digest,
    reason: Option<Reason>,
) -> Result<usize, StoreError> {
    let _one_at_a_time = attestor.sweeping.lock().await;
    let (mut after, mut hosts) = (String::new(), 0);
    loop {
        // Read beside the writers: most tags may be of other authorities.
        let page = attestor.store.read().await?.tags_in_force(&after).await?;
        let Some((last, _)) = page.last() else { break };
        last.as_str().clone_into(&mut after);
        for page in tags_of(authority, page)?.chunks(PAGE) {
            let voided = take_back_page(attestor, actor, authority, page, reason.as_ref()).await?;
            hosts += voided.len();
            publish(attestor, voided);
        }
    }
    let mut tx = attestor.store.write().await?;
    tx.mark_swept(authority, clock::now()).await?;
    tx.commit().await?;
    Ok(hosts)
}

fn tags_of(
    authority: &Sha256Digest,
    page: Vec<(HostId, Vec<u8>)>,
) -> Result<Vec<Revoked>, StoreError> {
    let mut theirs = Vec::new();
    for (host, signed) in page {
        let tag = untrusted_tag(&signed).map_err(|_| StoreError::Malformed("location tag"))?;
        if tag.authority == *authority {
            theirs.push(Revoked {
                host,
                serial: tag.serial,
                tag: Sha256Digest::of(&signed),
            });
        }
    }
    Ok(theirs)
}

/// One transaction. Passes over tags that another one took the place of since they were read.
async fn take_back_page(
    attestor: &Attestor,
    actor: &Actor,
    authority: &Sha256Digest,
    page: &[Revoked],
    reason: Option<&Reason>,
) -> Result<Vec<Voided>, StoreError> {
    let mut voided = Vec::with_capacity(page.len());
    let mut tx = attestor.store.write().await?;
    for revoked in page {
        let current = tx.tag_in_force(&revoked.host).await?;
        if current.is_some_and(|signed| Sha256Digest::of(&signed) == revoked.tag) {
            let end = Ended::With(*authority);
            voided.push(take_back(&mut tx, actor, revoked, end, reason.cloned()).await?);
        }
    }
    tx.commit().await?;
    kill_points::pass(Step::PageSwept);
    Ok(voided)
}
