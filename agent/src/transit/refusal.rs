//! Why a secret is not encrypted or decrypted, in words for whoever asked, and as Vault says such things.

use hyper::StatusCode;
use touchstone_evidence::annotation::{KeyName, NotAKeyName};
use touchstone_evidence::keyprovider::grpc::Status;
use touchstone_evidence::secret::SecretError;

use crate::keyprovider::Refusal;
use crate::{attest, client};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Nothing of that name is done here.
    #[error(
        "there is nothing at `{0}`; `/v1/transit/encrypt/KEY` and `/v1/transit/decrypt/KEY` are served"
    )]
    Route(String),
    /// Neither POST nor PUT.
    #[error("send it with POST or PUT")]
    Method,
    /// More than any body has.
    #[error("the body has too many bytes; at most 64 KiB are encrypted")]
    TooLarge,
    /// It did not come whole.
    #[error("the body broke off, or took too long to come; send it again")]
    Broke,
    /// It is none.
    #[error(
        "the body does not read (line {0}, column {1}): JSON is expected, each parameter once, `plaintext` and \
         `associated_data` as base64 with padding"
    )]
    Body(usize, usize),
    /// What it takes.
    #[error("the body has no `{0}`")]
    Missing(&'static str),
    /// It would change what is encrypted.
    #[error("`{0}` is not supported here; leave it out")]
    Unsupported(&'static str),
    /// The path's.
    #[error(transparent)]
    KeyName(#[from] NotAKeyName),
    /// The ciphertext names another.
    #[error("the ciphertext is of the key `{found}`, not of `{asked}`")]
    OtherKey { found: KeyName, asked: KeyName },
    /// Encrypting is by the current one alone.
    #[error(
        "secrets are encrypted with the current version of the key, which is {current}, not with {asked}; leave \
         `key_version` out"
    )]
    KeyVersion { current: u32, asked: u32 },
    /// What is encrypted or decrypted.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The data key, for which the attestor was asked.
    #[error(transparent)]
    Keys(#[from] Refusal),
    /// Neither randomness nor memory is expected to be missing.
    #[error("the answer cannot be written; try again")]
    Unwritable,
}

impl Refused {
    /// The status that Vault gives in such a case.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Route(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broke => StatusCode::REQUEST_TIMEOUT,
            Self::Unwritable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Keys(refusal) => of(refusal),
            Self::Body(..)
            | Self::Missing(_)
            | Self::Unsupported(_)
            | Self::KeyName(_)
            | Self::OtherKey { .. }
            | Self::KeyVersion { .. }
            | Self::Secret(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// All of it on one line.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Keys(refusal) => refusal.text(),
            other => format!("touchstone: {other}").replace(char::is_control, " "),
        }
    }
}

/// A key or a ciphertext that is none is the caller's mistake; a host that may not is forbidden.
fn of(refusal: &Refusal) -> StatusCode {
    if let Refusal::Round(attest::Error::Client(client::Error::Refused(problem))) = refusal
        && matches!(problem.status, 404 | 422)
        && !problem.code.is_empty()
    {
        return StatusCode::BAD_REQUEST;
    }
    match refusal.status() {
        Status::PermissionDenied => StatusCode::FORBIDDEN,
        Status::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Status::InvalidArgument | Status::Unimplemented => StatusCode::BAD_REQUEST,
        Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Status::Ok => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Problem;

    fn refused(status: u16, code: &str) -> StatusCode {
        let problem = Problem {
            status,
            code: code.to_owned(),
            detail: String::new(),
            retry_after: None,
        };
        Refused::Keys(client::Error::from(problem).into()).status()
    }

    #[test]
    fn mistakes_refusals_and_what_may_pass_are_told_apart() {
        for (status, code, expected) in [
            (403, "tier-insufficient", 403),
            (401, "host-retired", 403),
            (404, "layer-key-unknown", 400),
            (422, "data-key-not-opened", 400),
            (429, "evidence-too-much", 503),
            (503, "not-ready", 503),
            (404, "", 503),
        ] {
            assert_eq!(refused(status, code).as_u16(), expected, "{status} {code}");
        }
        assert_eq!(Refused::Keys(Refusal::Busy(1)).status().as_u16(), 429);
        assert_eq!(Refused::Keys(Refusal::Stranger(7)).status().as_u16(), 403);
        assert_eq!(Refused::Keys(Refusal::NotReady).status().as_u16(), 503);
    }
}
