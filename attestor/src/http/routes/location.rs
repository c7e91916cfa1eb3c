//! `/v1/location/…`: authorities and tags.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::TAG_MAX;

use super::{Acting, Body, PathHost};
use crate::audit::Reason;
use crate::http::App;
use crate::http::problem::Problem;
use crate::location::{self, History, Meant, TagRefused};
use crate::store::KeptAuthority;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authority {
    public_key: String,
}

/// Believes an authority.
pub(super) async fn add_authority(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(authority): Body<Authority>,
) -> Result<Json<Value>, Problem> {
    let mut key = [0; 32];
    let decoded = hex::decode_to_slice(&authority.public_key, &mut key);
    decoded.map_err(|_| refusal(&TagRefused::NotAKey))?;
    let id = location::add_authority(&app.attestor, &actor, &key)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({ "id": id })))
}

/// What an authority needs for the next tag of a host.
pub(super) async fn basis(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<Value>, Problem> {
    let basis = location::tag_basis(&app.attestor, &host)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({
        "host": host,
        "ek_set": basis.ek_set,
        "next_serial": basis.next_serial,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tag {
    host: HostId,
    tag: Bytes<TAG_MAX>,
}

/// Makes a tag the current one of its host.
pub(super) async fn issue(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(tag): Body<Tag>,
) -> Result<Json<Value>, Problem> {
    let issued = location::issue_tag(&app.attestor, &actor, &tag.host, &tag.tag)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({
        "host": tag.host,
        "serial": issued.serial,
        "place": issued.place,
        "valid_until": issued.not_after,
    })))
}

/// Every authority that ever was believed.
pub(super) async fn authorities(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let authorities = app.attestor.store.read().await?.all_authorities().await?;
    let view = |one: &KeptAuthority| json!({ "id": one.id, "added_at": one.added_at, "revoked_at": one.revoked_at });
    let authorities: Vec<Value> = authorities.iter().map(view).collect();
    Ok(Json(json!({ "authorities": authorities })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorityEnd {
    id: Sha256Digest,
    reason: Option<Reason>,
}

/// Believes an authority no more: none of its tags counts.
pub(super) async fn revoke_authority(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(end): Body<AuthorityEnd>,
) -> Result<Json<Value>, Problem> {
    let hosts = location::revoke_authority(&app.attestor, &actor, &end.id, end.reason)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({ "id": end.id, "hosts": hosts })))
}

/// Which tag is taken back: a host's current one, with its serial or without, or one by its SHA-256.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum TagEnd {
    OfHost {
        host: HostId,
        serial: Option<u64>,
        reason: Option<Reason>,
    },
    ByDigest {
        tag: Sha256Digest,
        reason: Option<Reason>,
    },
}

/// Takes back a current tag.
pub(super) async fn revoke(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(end): Body<TagEnd>,
) -> Result<Json<Value>, Problem> {
    let (meant, reason) = match end {
        TagEnd::OfHost {
            host,
            serial,
            reason,
        } => (Meant::Host(host, serial), reason),
        TagEnd::ByDigest { tag, reason } => (Meant::Tag(tag), reason),
    };
    let revoked = location::revoke_tag(&app.attestor, &actor, meant, reason)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(
        json!({ "host": revoked.host, "serial": revoked.serial, "tag": revoked.tag }),
    ))
}

/// Every tag and every move of a host.
pub(super) async fn history(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<History>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    if tx.machine_state(&host).await?.is_none() {
        return Err(refusal(&TagRefused::HostUnknown(host)));
    }
    Ok(Json(location::history(&mut tx, &host).await?))
}

fn refusal(error: &TagRefused) -> Problem {
    match error {
        TagRefused::Store(error) => Problem::internal(error),
        _ => Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, &error.code(), error),
    }
}
