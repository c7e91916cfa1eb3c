//! `/v1/location/…`: authorities and tags.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::TAG_MAX;

use super::{Acting, Body, PathHost};
use crate::http::App;
use crate::http::problem::Problem;
use crate::location::{self, TagRefused};

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

fn refusal(error: &TagRefused) -> Problem {
    match error {
        TagRefused::Store(error) => Problem::internal(error),
        _ => Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, &error.code(), error),
    }
}
