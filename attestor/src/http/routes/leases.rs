//! `/v1/leases`: what hosts were given keys for, and who may be given which no more.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;

use super::{Acting, Body};
use crate::audit::Reason;
use crate::clock;
use crate::http::App;
use crate::http::problem::Problem;
use crate::leases::{self, Done, LeaseError, Of};
use crate::store::{After, KeptLease, Revocation};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    host: Option<HostId>,
    key: Option<KeyName>,
    after: Option<String>,
}

/// A page of leases: all, or those of a host, of a key, or of both.
pub(super) async fn list(
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Wanted { host, key, after }) = wanted?;
    let after = after.as_deref().map(read_after).transpose()?;
    let (host, key) = (host.as_ref(), key.as_ref());
    let page = leases::page(&app.attestor.store, host, key, &after.unwrap_or_default()).await;
    let page = page.map_err(refusal)?;
    let last = page.leases.last().filter(|_| page.more);
    let now = clock::now();
    Ok(Json(json!({
        "leases": page.leases.iter().map(|lease| view(lease, now)).collect::<Vec<_>>(),
        "revocations": page.revocations.iter().map(revocation).collect::<Vec<_>>(),
        "next": last.map(written_after),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    host: HostId,
    key: Option<KeyName>,
    reason: Option<Reason>,
}

/// Gives a host a key no more, or none at all.
pub(super) async fn revoke(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(Act { host, key, reason }): Body<Act>,
) -> Result<Json<Value>, Problem> {
    answer(leases::revoke(&app.attestor, &actor, Of { host, key }, reason).await)
}

/// Lets a host have a key again, or all that were revoked for it.
pub(super) async fn restore(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(Act { host, key, reason }): Body<Act>,
) -> Result<Json<Value>, Problem> {
    answer(leases::restore(&app.attestor, &actor, Of { host, key }, reason).await)
}

fn answer(done: Result<Done, LeaseError>) -> Result<Json<Value>, Problem> {
    let Done { changed, leases } = done.map_err(refusal)?;
    Ok(Json(json!({ "changed": changed, "leases": leases })))
}

fn refusal(error: LeaseError) -> Problem {
    let status = match error {
        LeaseError::Store(error) => return error.into(),
        LeaseError::HostUnknown(_) | LeaseError::KeyUnknown(_) => StatusCode::NOT_FOUND,
        LeaseError::EveryKey(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::of(status, error.code(), &error)
}

fn view(lease: &KeptLease, now: i64) -> Value {
    let state = match lease {
        KeptLease {
            purged_at: Some(_), ..
        } => "purged",
        KeptLease { revoked: true, .. } => "revoked",
        lease if lease.expires_at <= now => "over",
        _ => "in-force",
    };
    let bound = &lease.bound;
    json!({
        "host": lease.host,
        "key": bound.key,
        "key_version": bound.key_version,
        "layer": bound.layer,
        "policy": bound.policy,
        "manifest": lease.manifest,
        "state": state,
        "issued_at": lease.issued_at,
        "expires_at": lease.expires_at,
        "purged_at": lease.purged_at,
        "entry": lease.entry,
    })
}

fn revocation(one: &Revocation) -> Value {
    json!({ "host": one.host, "key": one.key, "revoked_at": one.revoked_at })
}

/// No part has a stroke in it.
fn written_after(last: &KeptLease) -> String {
    let bound = &last.bound;
    format!(
        "{}/{}/{}/{}",
        last.host, bound.key, bound.key_version, bound.layer
    )
}

fn read_after(text: &str) -> Result<After, Problem> {
    let malformed = || {
        let detail =
            format_args!("`{text}` is no place in the list; take `next` of an answer as it is");
        Problem::refused(StatusCode::BAD_REQUEST, "malformed-query", detail)
    };
    let mut parts = text.split('/');
    let mut next = || parts.next().ok_or_else(malformed);
    let (host, key, version, layer) = (next()?, next()?, next()?, next()?);
    let layer: OciDigest = layer.parse().map_err(|_| malformed())?;
    Ok(After {
        host: host.to_owned(),
        key: key.to_owned(),
        version: version.parse().map_err(|_| malformed())?,
        layer: layer.0.0.to_vec(),
    })
}
