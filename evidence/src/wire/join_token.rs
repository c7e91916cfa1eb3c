//! Join tokens: what an operator hands to a new machine, so that it needs to trust nothing on first
//! use: where the attestor is, which CA it has, and a secret that allows machines of the inventory to enrol.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Stands before the encoded token, so that it is recognised wherever it turns up.
const PREFIX: &str = "touchstone-join-v1.";
/// Largest token, characters.
const TOKEN_MAX: usize = 16 * 1024;

/// A join token. Its text form is one line: a prefix and base64url of JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// Base URL of the attestor, `https://…`.
    pub server: String,
    /// The attestor's CA certificate, PEM. The only one the agent will believe.
    pub ca: String,
    /// Bearer secret of the enrolment requests.
    pub secret: String,
}

/// Text that is not a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a join token; make one with `touchstone join-token create`")]
pub struct NotAJoinToken;

impl FromStr for JoinToken {
    type Err = NotAJoinToken;

    fn from_str(text: &str) -> Result<Self, NotAJoinToken> {
        let text = text.trim();
        if text.len() > TOKEN_MAX {
            return Err(NotAJoinToken);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(NotAJoinToken)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| NotAJoinToken)?;
        serde_json::from_slice(&json).map_err(|_| NotAJoinToken)
    }
}

impl JoinToken {
    /// The text form. It is a secret: it belongs in a file of mode 0600, not on a command line.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Three strings always become JSON.
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "join token for {}", self.server)
    }
}

impl Drop for JoinToken {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_comes_back_and_debug_hides_the_secret() {
        let token = JoinToken {
            server: "https://attestor:8443".to_owned(),
            ca: "pem".to_owned(),
            secret: "hush".to_owned(),
        };
        assert_eq!(format!("{}\n", token.to_text()).parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("hush"));
        assert_eq!(
            "touchstone-join-v1.AAAA".parse::<JoinToken>(),
            Err(NotAJoinToken)
        );
        assert_eq!("".parse::<JoinToken>(), Err(NotAJoinToken));
    }
}
