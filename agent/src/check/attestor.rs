//! The attestor: whether it is reached, is the right one, and can do its work; and whose clock is right.

use super::Check;
use crate::client::{Client, Error, Readiness};
use crate::clock;
use crate::identity::Identity;

/// Seconds between the clocks beyond which a challenge may look expired, or an expired one good.
const APART: i64 = 10;

const ATTESTOR: &str = "attestor";

pub(super) async fn checks(identity: &Identity) -> Vec<Check> {
    let asked = match Client::new(&identity.server, &identity.ca, &identity.keys.tls) {
        Ok(client) => client.readiness().await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(Readiness { refusal, date }) => vec![
            match refusal {
                None => Check::good(ATTESTOR, format!("{} is ready", identity.server)),
                Some(problem) => Check::bad(ATTESTOR, &Error::from(problem)),
            },
            clocks(date),
        ],
        Err(error) => vec![Check::bad(ATTESTOR, &error)],
    }
}

fn clocks(date: Option<i64>) -> Check {
    const SUBJECT: &str = "clock";
    let Some(date) = date else {
        return Check::good(SUBJECT, "the attestor does not say what time it is");
    };
    let ahead = clock::now().saturating_sub(date);
    let seen = format!("{ahead} s ahead of the attestor's");
    if ahead.saturating_abs() > APART {
        let next = "set both by NTP: a round costs more while they differ, and certificates may look expired";
        return Check::notice(SUBJECT, seen, next);
    }
    Check::good(SUBJECT, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn clocks_that_differ_are_noticed() {
        assert_eq!(clocks(Some(clock::now())).verdict, Verdict::Good);
        for off in [-60, 60] {
            let check = clocks(Some(clock::now() - off));
            assert_eq!(check.verdict, Verdict::Notice, "{check:?}");
        }
    }
}
