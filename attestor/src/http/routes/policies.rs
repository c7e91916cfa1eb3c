//! `/v1/policies`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;

use super::{Acting, Body};
use crate::http::App;
use crate::http::problem::Problem;
use crate::policy::{self, ApplyError, Origin, Plan};
use crate::store::StoredPolicy;

/// After which it is worth while to ask for a plan again.
const PLAN_SECONDS: u64 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifests {
    manifests: String,
    /// Whether it may take affirming away from however many hosts.
    #[serde(default)]
    drain: bool,
    /// Whether they may take the place of the objects of a cluster that another process serves.
    #[serde(default)]
    take_over: bool,
}

/// Puts manifests into force, all or none.
pub(super) async fn apply(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(manifests): Body<Manifests>,
) -> Result<Json<Value>, Problem> {
    come_from_here(&app)?;
    let Manifests {
        manifests,
        drain,
        take_over,
    } = manifests;
    let origin = Origin::Applied { take_over };
    let applied = policy::apply(&app.attestor, &actor, &manifests, drain, origin).await;
    let applied = applied.map_err(|error| refusal(&error))?;
    Ok(Json(
        json!({ "version": applied.version, "digest": applied.digest }),
    ))
}

/// Whether policies are put into force by whoever calls: never beside the cluster, or nobody would know which are.
pub(super) fn come_from_here(app: &App) -> Result<(), Problem> {
    let cluster = app.webhook.cluster.as_ref();
    match cluster.and_then(|cluster| cluster.policies()) {
        None => Ok(()),
        Some(_) => Err(Problem::refused(
            StatusCode::CONFLICT,
            "policies-from-cluster",
            "this attestor takes its policies from the objects of its cluster alone (`policies = \"objects\"` in its \
             Kubernetes settings); change them there, with `kubectl apply`",
        )),
    }
}

/// What manifests would do to the fleet; nothing is changed.
pub(super) async fn plan(
    State(app): State<App>,
    Body(manifests): Body<Manifests>,
) -> Result<Json<Plan>, Problem> {
    let plan = policy::plan(&app.attestor, manifests.manifests).await;
    Ok(Json(plan.map_err(|error| refusal(&error))?))
}

pub(super) fn refusal(error: &ApplyError) -> Problem {
    match error {
        ApplyError::Store(error) => Problem::internal(error),
        ApplyError::Busy => {
            let busy = Problem::refused(StatusCode::SERVICE_UNAVAILABLE, error.code(), error);
            busy.until(PLAN_SECONDS)
        }
        _ => Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error),
    }
}

/// The manifests in force.
pub(super) async fn show(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let policy = tx.policy().await?.ok_or_else(|| {
        Problem::refused(
            StatusCode::NOT_FOUND,
            "policy-absent",
            "no policy was applied yet; use `touchstone policy apply FILE`",
        )
    })?;
    Ok(view(&policy))
}

/// The manifests of one version.
pub(super) async fn show_version(
    State(app): State<App>,
    version: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(version) = version?;
    let mut tx = app.attestor.store.read().await?;
    let policy = tx.policy_version(version).await?.ok_or_else(|| {
        Problem::refused(
            StatusCode::NOT_FOUND,
            "policy-version-unknown",
            "there never was such a version; `touchstone policy history` lists them",
        )
    })?;
    Ok(view(&policy))
}

fn view(policy: &StoredPolicy) -> Json<Value> {
    Json(json!({
        "version": policy.version,
        "digest": Sha256Digest::of(policy.manifests.as_bytes()),
        "manifests": policy.manifests,
    }))
}

/// All versions, the newest first.
pub(super) async fn history(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let versions = app.attestor.store.read().await?.policy_versions().await?;
    let versions: Vec<Value> = versions
        .iter()
        .map(|(version, digest, applied_at)| {
            json!({ "version": version, "digest": digest, "applied_at": applied_at })
        })
        .collect();
    Ok(Json(json!({ "policies": versions })))
}
