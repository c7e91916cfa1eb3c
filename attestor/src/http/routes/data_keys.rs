//! `/v1/data-keys`: keys that encrypt the secrets of a host, for a host that proves itself with the same request.

use axum::body::Bytes as Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::value::RawValue;
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::data_key::{WRAPPED_MAX, WrappedDataKey};
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::wire::{DataKeyMade, Release};

use super::{layer_keys, releases, rounds};
use crate::data_keys::{self, Asking};
use crate::http::App;
use crate::http::access::CallingHost;
use crate::http::problem::Problem;
use crate::releases::ReleaseError;

/// As `DataKeyWish`, with the evidence as it was sent: so it is kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish<'a> {
    #[serde(borrow)]
    evidence: &'a RawValue,
    key: KeyName,
}

/// As `DataKeyRequest`, with the evidence as it was sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening<'a> {
    #[serde(borrow)]
    evidence: &'a RawValue,
    wrapped: Bytes<WRAPPED_MAX>,
}

/// Appraises the calling host's evidence, and makes it a data key if it may have one.
pub(super) async fn make(
    State(app): State<App>,
    Extension(caller): Extension<CallingHost>,
    body: Result<Body, BytesRejection>,
) -> Result<Json<DataKeyMade>, Problem> {
    let body = body?;
    let wish = || {
        let Wish { evidence, key } = read(&body)?;
        Ok((asking(&caller, evidence)?, key))
    };
    let (asking, key) = admitted(&app, &caller, body.len(), wish).await?;
    let made = data_keys::make(&app.attestor, asking, key).await;
    let made = made.and_then(|(wrapped, release)| {
        let wrapped = wrapped.to_json().map_err(|_| ReleaseError::Unwritable)?;
        let wrapped = wrapped.into();
        Ok(DataKeyMade { wrapped, release })
    });
    answer(&app, &caller, made).await
}

/// Appraises the calling host's evidence, and gives it the data key if it may have it.
pub(super) async fn open(
    State(app): State<App>,
    Extension(caller): Extension<CallingHost>,
    body: Result<Body, BytesRejection>,
) -> Result<Json<Release>, Problem> {
    let body = body?;
    let opening = || {
        let Opening { evidence, wrapped } = read(&body)?;
        let asking = asking(&caller, evidence)?;
        // What is no data key is no reason for a round.
        let wrapped = WrappedDataKey::parse(&wrapped);
        let wrapped = wrapped.map_err(|error| layer_keys::refusal(&error.into()))?;
        Ok((asking, wrapped))
    };
    let (asking, wrapped) = admitted(&app, &caller, body.len(), opening).await?;
    let opened = data_keys::open(&app.attestor, asking, wrapped).await;
    answer(&app, &caller, opened).await
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, "malformed-body", error)
    })
}

fn asking(caller: &CallingHost, evidence: &RawValue) -> Result<Asking, Problem> {
    let evidence = evidence.get().as_bytes();
    Ok(Asking {
        host: caller.host.clone(),
        tls_key: caller.tls_key,
        evidence: rounds::read(evidence)?,
        body: evidence.to_vec(),
    })
}

/// What was read, if the host may send so much; a refusal is counted.
async fn admitted<T>(
    app: &App,
    caller: &CallingHost,
    bytes: usize,
    read: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Problem> {
    match rounds::within_budget(app, &caller.host, bytes).and_then(|()| read()) {
        Ok(read) => Ok(read),
        Err(problem) => {
            app.attestor.note_refusal(problem.code()).await;
            Err(problem)
        }
    }
}

async fn answer<T>(
    app: &App,
    caller: &CallingHost,
    outcome: Result<T, ReleaseError>,
) -> Result<Json<T>, Problem> {
    match outcome {
        Ok(answer) => Ok(Json(answer)),
        Err(error) => {
            let (host, code) = (&caller.host, error.code());
            tracing::warn!(host.id = %host, code, "no data key was released: {error}");
            Err(releases::refusal(app, error).await)
        }
    }
}
