//! `/v1/layer-keys`: the keys of encrypted layers, and what is wrapped under them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::annotation::{KeyName, OPTIONS_MAX, PolicyName};
use touchstone_evidence::encoded::Bytes;
use zeroize::Zeroizing;

use super::{Acting, Body, PathKey, Why};
use crate::http::App;
use crate::http::problem::Problem;
use crate::layer_keys::{self, Imported, LayerKeyError, Wanted};
use crate::store::LayerKeyRecord;

/// Most bytes of a key that was encrypted to an import key: those of RSA with 3072 bits.
const IMPORT_MAX: usize = 384;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Creation {
    name: KeyName,
    policy: PolicyName,
    #[serde(default)]
    registered: bool,
}

/// Every key there ever was.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let keys = app.attestor.store.read().await?.layer_keys().await?;
    let keys: Vec<Value> = keys.iter().map(view).collect();
    Ok(Json(json!({ "layer_keys": keys })))
}

/// Makes a key.
pub(super) async fn create(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(creation): Body<Creation>,
) -> Result<Json<Value>, Problem> {
    let wanted = Wanted {
        name: creation.name,
        policy: creation.policy,
        registered: creation.registered,
    };
    answer(layer_keys::create(&app.attestor, &actor, wanted).await)
}

/// Makes the next version of a key.
pub(super) async fn rotate(
    State(app): State<App>,
    Acting(actor): Acting,
    PathKey(key): PathKey,
    Body(Why { reason }): Body<Why>,
) -> Result<Json<Value>, Problem> {
    answer(layer_keys::rotate(&app.attestor, &actor, key, reason).await)
}

/// Lets a key be used for nothing.
pub(super) async fn disable(
    State(app): State<App>,
    Acting(actor): Acting,
    PathKey(key): PathKey,
    Body(Why { reason }): Body<Why>,
) -> Result<Json<Value>, Problem> {
    answer(layer_keys::set_enabled(&app.attestor, &actor, key, false, reason).await)
}

/// Lets a key be used again.
pub(super) async fn enable(
    State(app): State<App>,
    Acting(actor): Acting,
    PathKey(key): PathKey,
    Body(Why { reason }): Body<Why>,
) -> Result<Json<Value>, Problem> {
    answer(layer_keys::set_enabled(&app.attestor, &actor, key, true, reason).await)
}

/// Deletes the bytes of all versions of a key.
pub(super) async fn destroy(
    State(app): State<App>,
    Acting(actor): Acting,
    PathKey(key): PathKey,
    Body(Why { reason }): Body<Why>,
) -> Result<Json<Value>, Problem> {
    answer(layer_keys::destroy(&app.attestor, &actor, key, reason).await)
}

/// Makes a key pair to which one key can be encrypted.
pub(super) async fn make_import_key(
    State(app): State<App>,
    Acting(actor): Acting,
) -> Result<Json<Value>, Problem> {
    let made = layer_keys::make_import_key(&app.attestor, &actor).await;
    let made = made.map_err(|error| refusal(&error))?;
    Ok(Json(json!({
        "import_key": made.id,
        "public_key": Bytes::<1024>::from(made.public_key),
        "expires_at": made.expires_at,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    import_key: String,
    wrapped: Bytes<IMPORT_MAX>,
    policy: Option<PolicyName>,
    #[serde(default)]
    registered: bool,
}

/// Takes in a key that was encrypted to an import key.
pub(super) async fn import(
    State(app): State<App>,
    Acting(actor): Acting,
    PathKey(name): PathKey,
    Body(import): Body<Import>,
) -> Result<Json<Value>, Problem> {
    let brought = Imported {
        name,
        import_key: import.import_key,
        wrapped: import.wrapped.0,
        policy: import.policy,
        registered: import.registered,
    };
    answer(layer_keys::import(&app.attestor, &actor, brought).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wrapping {
    options: Bytes<OPTIONS_MAX>,
}

/// Wraps the cipher options of a layer.
pub(super) async fn wrap(
    State(app): State<App>,
    Acting(actor): Acting,
    PathKey(key): PathKey,
    Body(Wrapping { options }): Body<Wrapping>,
) -> Result<Json<Value>, Problem> {
    let options = Zeroizing::new(options.0);
    let sealed = layer_keys::wrap(&app.attestor, &actor, key, &options).await;
    let sealed = sealed.map_err(|error| refusal(&error))?;
    let json = sealed
        .to_json()
        .map_err(|error| Problem::internal(&error))?;
    let bound = sealed.untrusted_binding();
    Ok(Json(json!({
        "annotation": Bytes::<{ 16 << 10 }>::from(json),
        "key": bound.key,
        "key_version": bound.key_version,
        "layer": bound.layer,
        "policy": bound.policy,
    })))
}

fn answer(done: Result<LayerKeyRecord, LayerKeyError>) -> Result<Json<Value>, Problem> {
    Ok(Json(view(&done.map_err(|error| refusal(&error))?)))
}

fn view(key: &LayerKeyRecord) -> Value {
    json!({
        "name": key.name,
        "policy": key.policy,
        "registered": key.registered,
        "state": key.state.word(),
        "version": key.version,
        "created_at": key.created_at,
        "destroyed_at": key.destroyed_at,
    })
}

pub(super) fn refusal(error: &LayerKeyError) -> Problem {
    let status = match error.code() {
        "busy" => return Problem::busy(),
        "layer-key-unknown" => StatusCode::NOT_FOUND,
        "master-key-away" | "master-key-other" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::of(status, error.code(), error)
}
