//! Refusals: RFC 9457 problems whose `type` is `touchstone:CODE`.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

/// Characters of a detail that are kept.
const DETAIL_MAX: usize = 500;

/// The longest time that an answer can silence an agent for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What the attestor refuses, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attestor refuses ({status} `{code}`): {detail}")]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable and kebab-case; empty if what answered is no attestor.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
    /// From the `Retry-After` field.
    pub retry_after: Option<Duration>,
}

/// The members that we read; others are extensions (RFC 9457 §3.2).
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

impl Problem {
    /// Makes the best of an answer that is not a success.
    pub(super) fn read(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let (code, detail) = serde_json::from_slice::<Body>(body)
            .ok()
            .and_then(|body| {
                let code = body.kind.strip_prefix("touchstone:")?;
                let detail = if body.detail.is_empty() {
                    body.title
                } else {
                    body.detail
                };
                Some((printable(code), printable(&detail)))
            })
            .unwrap_or_else(|| {
                let detail =
                    "the answer is not an attestor's; see what is between it and this host";
                (String::new(), detail.to_owned())
            });
        Self {
            status: status.as_u16(),
            code,
            detail,
            retry_after,
        }
    }
}

/// Seconds only; the other form, a date, would need this host's clock to be right.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// It goes to terminals and logs.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(DETAIL_MAX)
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    fn read(body: &str) -> Problem {
        Problem::read(StatusCode::CONFLICT, None, body.as_bytes())
    }

    #[test]
    fn a_problem_has_code_and_detail() {
        let problem = read(
            r#"{"type":"touchstone:challenge-expired","title":"Too late","status":409,
               "detail":"the challenge expired at 12","instance":"/v1/evidence","extra":[1]}"#,
        );
        assert_eq!(problem.code, "challenge-expired");
        assert_eq!(
            problem.to_string(),
            "the attestor refuses (409 `challenge-expired`): the challenge expired at 12"
        );
        let bare = read(r#"{"type":"touchstone:x","title":"A title"}"#);
        assert_eq!((bare.code.as_str(), bare.detail.as_str()), ("x", "A title"));
    }

    #[test]
    fn what_is_no_problem_has_no_code() {
        for body in ["", "<html>", "{}", r#"{"type":"about:blank"}"#, "[1]"] {
            let problem = read(body);
            assert_eq!((problem.status, problem.code.as_str()), (409, ""), "{body}");
        }
    }

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        let problem = read("{\"type\":\"touchstone:x\",\"detail\":\"a\\u001b[2Jb\\nc\"}");
        assert_eq!(problem.detail, "a [2Jb c");
    }

    #[test]
    fn retry_after_is_seconds_and_bounded() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(after("-1"), None);
    }
}
