//! `POST /v1/challenges`, `POST /v1/evidence`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use touchstone_evidence::encoded;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire::{CA_HEADER, Challenge, Evidence, NODE_TOKEN_HEADER};

use crate::appraisal::{self, Accepted, RoundError};
use crate::clock;
use crate::http::App;
use crate::http::access::{self, CallingHost};
use crate::http::problem::Problem;

/// Most bytes by which evidence may be longer than its shortest JSON: line breaks and spaces between what is there.
const PADDING_MAX: usize = 4 << 10;

/// What a challenge counts, in bytes of evidence: a host that loses answers needs one now and then, and each
/// takes a place in a commit that others wait for.
const CHALLENGE_COST: usize = 60 << 10;

/// Gives the calling host a challenge.
pub(super) async fn challenge(
    State(app): State<App>,
    Extension(caller): Extension<CallingHost>,
) -> Result<Json<Challenge>, Problem> {
    within_budget(&app, &caller.host, CHALLENGE_COST)?;
    match appraisal::challenge(&app.attestor, &caller.tls_key).await {
        Ok(challenge) => Ok(Json(challenge)),
        Err(error) => Err(refusal(&app, error).await),
    }
}

/// Appraises the calling host's evidence. The answer is sent as it was stored, with the digest of the CAs that
/// the host is to believe.
pub(super) async fn evidence(
    State(app): State<App>,
    Extension(CallingHost { host, tls_key }): Extension<CallingHost>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Problem> {
    let body = body?;
    let evidence = match within_budget(&app, &host, body.len()).and_then(|()| read(&body)) {
        Ok(evidence) => evidence,
        Err(problem) => {
            app.attestor.note_refusal(problem.code()).await;
            return Err(problem);
        }
    };
    // On the heap: it is large, and whatever wraps this would copy it along.
    let round = Box::pin(appraisal::round(
        &app.attestor,
        &tls_key,
        evidence,
        body.into(),
    ));
    match round.await {
        Ok(Accepted {
            answer, node_token, ..
        }) => {
            if let Some((links, signed)) = app.node_links.as_ref().zip(node_token) {
                links.offer(signed, headers.get(NODE_TOKEN_HEADER));
            }
            let ca = &app.attestor.keys.ca;
            ca.note(&host, headers.get(CA_HEADER));
            let json = HeaderValue::from_static("application/json");
            let told = ca.bundle().header.clone();
            let ca_header = HeaderName::from_static(CA_HEADER);
            Ok(([(CONTENT_TYPE, json), (ca_header, told)], answer))
        }
        Err(error) => {
            tracing::warn!(host.id = %host, finding.code = error.code(), "refused evidence: {error}");
            Err(refusal(&app, error).await)
        }
    }
}

/// Takes a message of this many bytes off what the host may send.
pub(super) fn within_budget(app: &App, host: &HostId, bytes: usize) -> Result<(), Problem> {
    let spent = app.attestor.budgets.spend(host, bytes, clock::now());
    spent.map_err(|seconds| {
        let detail = format_args!("this host sent more than is kept of one; wait {seconds} s");
        Problem::refused(StatusCode::TOO_MANY_REQUESTS, "evidence-too-much", detail).until(seconds)
    })
}

/// The evidence is kept as it was sent, so it is read only where the body is hardly more than that.
pub(super) fn read(body: &[u8]) -> Result<Evidence, Problem> {
    let malformed = |error: serde_json::Error| {
        Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, "malformed-body", error)
    };
    let evidence: Evidence = serde_json::from_slice(body).map_err(malformed)?;
    if body.len() <= PADDING_MAX.saturating_add(long_texts(&evidence)) {
        return Ok(evidence);
    }
    let compact = serde_json::to_vec(&evidence).map_err(malformed)?;
    match body.len() > compact.len().saturating_add(PADDING_MAX) {
        false => Ok(evidence),
        true => Err(Problem::refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "evidence-padded",
            format_args!(
                "{} bytes say what {} bytes would; send JSON without padding",
                body.len(),
                compact.len()
            ),
        )),
    }
}

/// How long the texts are that can be long.
fn long_texts(evidence: &Evidence) -> usize {
    let log = evidence.boot_log.as_ref().map(|log| log.len());
    let list = evidence.runtime.as_ref().map(|part| part.entries.len());
    let lengths = [log, list].into_iter().flatten();
    lengths.filter_map(encoded::text_length).sum()
}

pub(super) async fn refusal(app: &App, error: RoundError) -> Problem {
    noted(app, Problem::from(error)).await
}

/// Counts a refusal.
pub(super) async fn noted(app: &App, problem: Problem) -> Problem {
    if !problem.is_internal() {
        app.attestor.note_refusal(problem.code()).await;
    }
    problem
}

impl From<RoundError> for Problem {
    fn from(error: RoundError) -> Self {
        match error {
            RoundError::Busy => Self::busy(),
            RoundError::Ended(end) => access::ended(end),
            RoundError::ResultKey(error) => {
                Self::of(StatusCode::SERVICE_UNAVAILABLE, error.code(), &error).until(60)
            }
            error => Self::of(StatusCode::CONFLICT, error.code(), &error),
        }
    }
}
