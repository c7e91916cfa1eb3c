//! Why the attestor gave no answer, and what that says of the request.

use std::time::Duration;

use super::{ANSWER_MAX, Problem};

/// Why the attestor gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's address in the join token.
    #[error(
        "`{0}` is not the address of an attestor; an `https://` URL is expected: ask for another join token"
    )]
    Server(String),

    /// The CA in the join token.
    #[error("the CA certificate in the join token does not read; ask for another join token")]
    Ca,

    /// TLS cannot be set up with these keys.
    #[error("the TLS key does not fit; restore the state folder from a backup")]
    Tls(#[source] rustls::Error),

    /// The client cannot be made.
    #[error("cannot set up the connection")]
    Setup(#[source] reqwest::Error),

    /// The message cannot be put into JSON.
    #[error("cannot write the request")]
    Request(#[source] serde_json::Error),

    /// What answers shows a certificate of another CA. Nothing was sent to it.
    #[error(
        "what answers at `{server}` is not the attestor that this host knows: its certificate is not of the CA with SHA-256 {expected}; somebody may stand between, so look into it first; if the attestor was given a new CA on purpose, take it from a join token: `touchstone-agent trust --join-token FILE`"
    )]
    OtherCa {
        /// Base URL.
        server: String,
        /// SHA-256 of the DER of each CA certificate that is believed.
        expected: String,
        /// Why.
        source: reqwest::Error,
    },

    /// It is of the right CA, but not in force, or for another name. Nothing was sent to it.
    #[error(
        "the attestor's certificate at `{server}` is of the right CA and still no good: {wrong}; see that the clocks of both are right, see in its log that it renews its certificate, and give it this name with `--name`"
    )]
    Certificate {
        /// Base URL.
        server: String,
        /// What is wrong with it.
        wrong: rustls::CertificateError,
        /// Why.
        source: reqwest::Error,
    },

    /// Nothing came back, or not all of it. What was sent may have arrived.
    #[error("no answer from `{server}`; see that the attestor runs and that this host reaches it")]
    Lost {
        /// Base URL.
        server: String,
        /// Why.
        source: reqwest::Error,
    },

    /// The attestor refuses.
    #[error(transparent)]
    Refused(#[from] Problem),

    /// More than [`ANSWER_MAX`].
    #[error("`{0}` answers with more than {ANSWER_MAX} bytes; see that it is an attestor")]
    TooLarge(String),

    /// Not the JSON that it should be.
    #[error(
        "`{server}` does not answer as an attestor of this version; see that it is one, then update the agent"
    )]
    Answer {
        /// Base URL.
        server: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Error {
    /// Whether the attestor refused with this code.
    #[must_use]
    pub fn is_problem(&self, code: &str) -> bool {
        matches!(self, Self::Refused(problem) if problem.code == code)
    }

    /// Whether the request may have been done all the same.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Lost { source, .. } => !source.is_connect(),
            // What a gateway says when the answer did not reach it (RFC 9110 §15.6.3, §15.6.5).
            Self::Refused(problem) => matches!(problem.status, 502 | 504),
            _ => false,
        }
    }

    /// Whether the connection broke under an answer, as opposed to one that was waited for too long.
    pub(crate) fn broke_off(&self) -> bool {
        let late = matches!(self, Self::Lost { source, .. } if source.is_timeout());
        self.may_have_arrived() && !late
    }

    /// How long the attestor asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            _ => None,
        }
    }
}
