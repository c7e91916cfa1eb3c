//! Every tag that a host ever had, and its moves: changes of the place that it proved.

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::{Place, untrusted_tag};

use crate::store::{KeptTag, StoreError, Tx};

/// Where a host was said and proven to be, the oldest first.
#[derive(Debug, Serialize)]
pub(crate) struct History {
    host: HostId,
    pub(crate) tags: Vec<TagView>,
    pub(crate) moves: Vec<Move>,
}

/// A tag that is or was the current one. Times are seconds since 1970, null where they were not kept.
#[derive(Debug, Serialize)]
pub(crate) struct TagView {
    pub(crate) serial: u64,
    tag: Sha256Digest,
    pub(crate) authority: Sha256Digest,
    pub(crate) place: Place,
    pub(crate) valid_until: i64,
    issued_at: Option<i64>,
    /// Of the first round that proved it.
    pub(crate) proven_at: Option<i64>,
    ended_at: Option<i64>,
    /// Why it is not the current one; null: it is.
    pub(crate) ended_by: Option<String>,
}

/// A round proved another place than the one before it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Move {
    from: Place,
    to: Place,
    at: i64,
}

/// The history of `host`, whether it is enrolled or not.
pub(crate) async fn history(tx: &mut Tx, host: &HostId) -> Result<History, StoreError> {
    let tags = tx.tag_history(host).await?;
    let tags: Vec<TagView> = tags.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(History {
        host: host.clone(),
        moves: moves(&tags),
        tags,
    })
}

/// Where the host was proven to be last; `None`: nowhere yet.
pub(super) async fn proven_last(tx: &mut Tx, host: &HostId) -> Result<Option<Place>, StoreError> {
    let tags = history(tx, host).await?.tags;
    let proven = tags.into_iter().rfind(|tag| tag.proven_at.is_some());
    Ok(proven.map(|tag| tag.place))
}

fn view(kept: KeptTag) -> Result<TagView, StoreError> {
    let tag = untrusted_tag(&kept.tag).map_err(|_| StoreError::Malformed("location tag"))?;
    Ok(TagView {
        serial: tag.serial,
        tag: Sha256Digest::of(&kept.tag),
        authority: tag.authority,
        place: tag.place,
        valid_until: tag.not_after,
        issued_at: kept.issued_at,
        proven_at: kept.proven_at,
        ended_at: kept.ended_at,
        ended_by: kept.ended_by,
    })
}

fn moves(tags: &[TagView]) -> Vec<Move> {
    let proven: Vec<(&Place, i64)> = tags
        .iter()
        .filter_map(|tag| Some((&tag.place, tag.proven_at?)))
        .collect();
    let pairs = proven.iter().zip(proven.iter().skip(1));
    pairs
        .filter(|((from, _), (to, _))| from != to)
        .map(|((from, _), (to, at))| Move {
            from: (*from).clone(),
            to: (*to).clone(),
            at: *at,
        })
        .collect()
}
