//! Looks at everything that a round takes and says what is wrong with it: `touchstone-agent check`.
//!
//! Invariant: nothing is changed, neither in the state folder, nor in the TPM, nor at the attestor.

mod attestor;
mod kernel;
mod node;
mod runtimes;
mod state;
mod tpm;

use std::error::Error;

use serde::Serialize;

use crate::purge::Runtimes;
use crate::settings::Settings;
use crate::trouble::Trouble;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing; rounds go on.
    Notice,
    /// It keeps this host from attesting.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub subject: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do.
    pub next: Option<String>,
    #[serde(skip)]
    trouble: Option<Trouble>,
}

impl Check {
    fn good(subject: &'static str, seen: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Good,
            seen: seen.into(),
            next: None,
            trouble: None,
        }
    }

    fn notice(subject: &'static str, seen: impl Into<String>, next: &str) -> Self {
        Self {
            verdict: Verdict::Notice,
            next: Some(next.to_owned()),
            ..Self::good(subject, seen)
        }
    }

    fn bad<'a, E>(subject: &'static str, error: &'a E) -> Self
    where
        E: Error + 'static,
        Trouble: From<&'a E>,
    {
        let (seen, next) = told(error);
        Self {
            verdict: Verdict::Bad,
            next,
            trouble: Some(Trouble::from(error)),
            ..Self::good(subject, seen)
        }
    }

    /// An error that does not keep the host from attesting.
    fn harmless(subject: &'static str, error: &(dyn Error + 'static)) -> Self {
        let (seen, next) = told(error);
        Self {
            verdict: Verdict::Notice,
            next,
            ..Self::good(subject, seen)
        }
    }
}

/// What an error says, with its causes, and after the semicolon what is to be done.
fn told(error: &(dyn Error + 'static)) -> (String, Option<String>) {
    let text = error.to_string();
    let (mut seen, next) = match text.split_once("; ") {
        Some((seen, next)) => (seen.to_owned(), Some(next.to_owned())),
        None => (text, None),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Those of the TSS say twice what they say.
        if !seen.ends_with(&text) {
            seen = format!("{seen}: {text}");
        }
        cause = error.source();
    }
    (seen, next)
}

/// What was looked at, in the order of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each thing.
    pub checks: Vec<Check>,
}

impl Report {
    /// What keeps this host from attesting, the first of it.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.checks.iter().find_map(|check| check.trouble)
    }
}

/// Looks at all of it. A running agent does not mind.
pub async fn check(settings: &Settings, runtimes: &Runtimes) -> Report {
    let (mut checks, identity) = state::checks(&settings.state);
    checks.extend(tpm::checks(&settings.tcti, identity.as_ref()).await);
    checks.extend(kernel::checks(settings));
    checks.extend(node::check(settings));
    if let Some(identity) = &identity {
        checks.extend(attestor::checks(identity).await);
    }
    checks.extend(runtimes::checks(runtimes).await);
    Report { checks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_follows_the_semicolon() {
        let error = crate::state::Error::Busy("/s".into());
        let check = Check::bad("state folder", &error);
        assert_eq!(check.seen, "another agent works with the state folder `/s`");
        assert_eq!(
            check.next.as_deref(),
            Some("stop it first, or let it do the work")
        );
        assert_eq!(check.trouble, Some(Trouble::Passing));
    }

    #[test]
    fn the_first_trouble_counts() {
        let checks = vec![
            Check::good("a", "b"),
            Check::bad("c", &crate::attest::Error::NotEnrolled),
            Check::bad("d", &crate::tpm::Error::NoBank),
        ];
        assert_eq!(Report { checks }.trouble(), Some(Trouble::NotEnrolled));
    }
}
