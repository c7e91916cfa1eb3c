//! `POST /v1/hosts/{host}/firmware`: the version of its TPM's firmware that a host may have, in the
//! officer's word.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Acting, Body, PathHost};
use crate::audit::{Entry, Event};
use crate::clock;
use crate::http::App;
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    /// As findings show it: `0x` and hexadecimal digits.
    version: String,
}

/// Accepts a version instead of the one that was accepted before. The next round is judged by it.
pub(super) async fn accept(
    State(app): State<App>,
    Acting(actor): Acting,
    PathHost(host): PathHost,
    Body(accepted): Body<Accepted>,
) -> Result<Json<Value>, Problem> {
    let digits = accepted.version.strip_prefix("0x");
    let version = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let Some(version) = version else {
        return Err(Problem::refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "firmware-version-malformed",
            "write the version as the finding shows it: `0x` and hexadecimal digits",
        ));
    };
    let mut tx = app.attestor.store.write().await?;
    let record = tx.host(&host).await?.ok_or_else(|| {
        Problem::refused(
            StatusCode::NOT_FOUND,
            "host-unknown",
            "no host of this name is enrolled",
        )
    })?;
    // Before the first round there is nothing to replace: the first round says the version.
    let Some(last) = record.last_quote else {
        return Err(Problem::refused(
            StatusCode::NOT_FOUND,
            "result-absent",
            "the host has not attested yet; its first round says which firmware it has",
        ));
    };
    tx.accept_firmware(&host, version.cast_signed()).await?;
    let (before, version) = (
        format!("{:#x}", last.firmware_version),
        format!("{version:#x}"),
    );
    let event = Event::FirmwareAccepted {
        host: host.clone(),
        version: version.clone(),
        before: before.clone(),
    };
    Entry::new(&event, &actor, clock::now())?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(Json(
        json!({ "host": host, "version": version, "before": before }),
    ))
}
