//! `/v1/inventory`, `/v1/inventory-imports`: machines and the EKs of their TPMs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::{Acting, Body, PathHost, Why};
use crate::enrollment::{self, MachineError};
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::InventoryEntry;

/// A machine as it is written in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Machine {
    host: HostId,
    ek_digests: Vec<Sha256Digest>,
}

impl From<InventoryEntry> for Machine {
    fn from(entry: InventoryEntry) -> Self {
        Self {
            host: entry.host,
            ek_digests: entry.ek_digests,
        }
    }
}

impl From<Machine> for InventoryEntry {
    fn from(machine: Machine) -> Self {
        Self {
            host: machine.host,
            ek_digests: machine.ek_digests,
        }
    }
}

/// Adds a machine.
pub(super) async fn add(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(machine): Body<Machine>,
) -> Result<Json<Machine>, Problem> {
    let added = enrollment::add_machine(&app.attestor, &actor, machine.into())
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(added.into()))
}

/// Every machine with its state.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let machines: Vec<Value> = tx
        .inventory()
        .await?
        .into_iter()
        .map(|(entry, state)| {
            json!({ "host": entry.host, "ek_digests": entry.ek_digests, "state": state.word() })
        })
        .collect();
    Ok(Json(json!({ "inventory": machines })))
}

/// One machine with its state.
pub(super) async fn show(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let state = tx.machine_state(&host).await?;
    let state = state.ok_or_else(|| {
        let unknown = MachineError::Unknown(host.clone());
        Problem::refused(StatusCode::NOT_FOUND, unknown.code(), &unknown)
    })?;
    let ek_digests = tx.eks_of_any(&host, state).await?;
    let node = app.attestor.index.nodes_of(&host);
    Ok(Json(
        json!({ "host": host, "ek_digests": ek_digests, "state": state.word(), "nodes": node }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    machines: Vec<Machine>,
}

/// Adds many machines, all or none.
pub(super) async fn import(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(import): Body<Import>,
) -> Result<Json<Value>, Problem> {
    let entries = import.machines.into_iter().map(Into::into).collect();
    let count = enrollment::import_machines(&app.attestor, &actor, entries)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({ "imported": count })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Eks {
    ek_digests: Vec<Sha256Digest>,
}

/// Adds EKs to a machine.
pub(super) async fn add_eks(
    State(app): State<App>,
    Acting(actor): Acting,
    PathHost(host): PathHost,
    Body(eks): Body<Eks>,
) -> Result<Json<Machine>, Problem> {
    let entry = enrollment::add_eks(&app.attestor, &actor, &host, eks.ek_digests)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(entry.into()))
}

/// Takes a machine out.
pub(super) async fn remove(
    State(app): State<App>,
    Acting(actor): Acting,
    PathHost(host): PathHost,
    Body(Why { reason }): Body<Why>,
) -> Result<Json<Value>, Problem> {
    enrollment::remove_machine(&app.attestor, &actor, &host, reason)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({ "host": host, "state": "removed" })))
}

pub(super) fn refusal(error: &MachineError) -> Problem {
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error)
}
