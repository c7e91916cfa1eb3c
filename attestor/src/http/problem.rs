//! Errors as RFC 9457 problems; `type` is `touchstone:CODE`.

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Serialize;

/// A refusal as it is sent. The detail is for the caller: it says what to do, and holds no secret.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    /// Seconds after which it is worth another try.
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// The request was understood and is refused.
    pub(crate) fn refused(status: StatusCode, code: &str, detail: impl ToString) -> Self {
        Self {
            status,
            code: code.to_owned(),
            detail: detail.to_string(),
            retry_after: None,
        }
    }

    /// Asks the caller to be quiet for `seconds` (RFC 9110 §10.2.3).
    pub(crate) fn until(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// The caller did not show who it is.
    pub(crate) fn unauthenticated(detail: &str) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// Denied without saying more.
    pub(crate) fn denied(code: &str, detail: &str) -> Self {
        Self::refused(StatusCode::FORBIDDEN, code, detail)
    }

    /// More is asked than gets done.
    pub(crate) fn busy() -> Self {
        let detail = "more is asked of the attestor than it gets done; ask again in a while";
        Self::refused(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).until(1)
    }

    /// Our own failure: logged with its chain here, not shown to the caller.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "internal",
            "the attestor could not do its work; try again, and look into its log",
        )
    }

    /// What an error with this code comes to: a refusal, or our own failure, which is what the code `internal` says.
    pub(crate) fn of(
        status: StatusCode,
        code: &str,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        match code {
            "internal" => Self::internal(error),
            code => Self::refused(status, code, error),
        }
    }

    /// Whether it is our own failure.
    pub(crate) fn is_internal(&self) -> bool {
        self.code == "internal"
    }

    /// The code.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::refused(rejection.status(), "malformed-body", rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::refused(rejection.status(), "malformed-body", rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::refused(rejection.status(), "malformed-path", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::refused(rejection.status(), "malformed-query", rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: format!("touchstone:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let quiet = self
            .retry_after
            .map(|seconds| [(RETRY_AFTER, seconds.to_string())]);
        (
            self.status,
            [(CONTENT_TYPE, "application/problem+json")],
            AppendHeaders(quiet.into_iter().flatten()),
            json,
        )
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_is_to_wait_is_told_how_long() {
        let refused = || Problem::unauthenticated("detail");
        let told = refused().until(7).into_response();
        assert_eq!(
            told.headers()
                .get(RETRY_AFTER)
                .map(|seconds| seconds.as_bytes()),
            Some(&b"7"[..])
        );
        assert_eq!(refused().into_response().headers().get(RETRY_AFTER), None);
    }
}
