//! Roles of those who are no hosts, the names of their credentials, and the ways in which they are shown.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What somebody may do; docs/api.md has the routes of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads verdicts and signed results of hosts
    RelyingParty,
    /// Wraps keys of encrypted layers and registers images, and nothing else
    Publisher,
    /// Reads everything, and changes nothing
    Auditor,
    /// Reads everything; decides policy, reference values, places and TPM firmware
    Officer,
    /// May do everything, and hands out credentials
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::RelyingParty,
        Self::Publisher,
        Self::Auditor,
        Self::Officer,
        Self::Operator,
    ];

    /// The word for it, in JSON and in the database.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RelyingParty => "relying-party",
            Self::Publisher => "publisher",
            Self::Auditor => "auditor",
            Self::Officer => "officer",
            Self::Operator => "operator",
        }
    }

    /// The role of a word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// How a credential is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// A bearer token.
    Token,
    /// A TLS client certificate, of whose key the handshake proves possession.
    TlsKey,
}

impl Way {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::TlsKey => "tls-key",
        }
    }

    /// The way of a word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        [Self::Token, Self::TlsKey]
            .into_iter()
            .find(|way| way.word() == word)
    }
}

/// Most characters of a credential's name.
const NAME_MAX: usize = 63;

/// How a credential is called in lists and in the audit log: 1 to 63 of `a-z 0-9 - . @`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct CredentialName(String);

/// This is no name of a credential.
#[derive(Debug, thiserror::Error)]
#[error("a credential's name has 1 to {NAME_MAX} of `a-z`, `0-9`, `-`, `.` and `@`")]
pub(crate) struct NotAName;

impl CredentialName {
    /// That of whoever started the attestor for the first time.
    pub(crate) fn of_first_start() -> Self {
        Self("operator".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.@".contains(&byte);
        match (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAName),
        }
    }
}

impl TryFrom<String> for CredentialName {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<CredentialName> for String {
    fn from(name: CredentialName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json_and_lead_back() {
        for role in Role::ALL {
            assert_eq!(
                serde_json::to_value(role).ok(),
                Some(role.word().to_owned().into())
            );
            assert_eq!(Role::of(role.word()), Some(role));
        }
        for way in [Way::Token, Way::TlsKey] {
            assert_eq!(
                serde_json::to_value(way).ok(),
                Some(way.word().to_owned().into())
            );
            assert_eq!(Way::of(way.word()), Some(way));
        }
    }

    #[test]
    fn names_fit_into_a_line_and_a_path() {
        for name in ["anna", "ci@example.org", "0", &"a".repeat(63)] {
            assert!(name.parse::<CredentialName>().is_ok(), "{name}");
        }
        for name in ["", "Anna", "a b", "a/b", "a\n", &"a".repeat(64)] {
            assert!(name.parse::<CredentialName>().is_err(), "{name}");
        }
    }
}
