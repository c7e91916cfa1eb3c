//! Why an operator did it, in a few words of theirs.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest reason, characters.
const REASON_MAX: usize = 200;

/// One line of at most 200 characters, kept in the entry of the act.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Reason(String);

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let length = text.chars().count();
        if !(1..=REASON_MAX).contains(&length) || text.chars().any(char::is_control) {
            return Err(format!(
                "a reason is one line of 1 to {REASON_MAX} characters"
            ));
        }
        Ok(Self(text))
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}
