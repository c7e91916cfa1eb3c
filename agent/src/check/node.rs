//! The service account token, which shows the node that this host is.

use super::Check;
use crate::node_token;
use crate::settings::Settings;

/// Nothing where none is configured. Without it the host attests all the same.
pub(super) fn check(settings: &Settings) -> Option<Check> {
    const SUBJECT: &str = "node token";
    let path = settings.node_token.as_deref()?;
    Some(match node_token::read(path) {
        Ok(token) => Check::good(SUBJECT, format!("SHA-256 {}", token.digest())),
        Err(error) => Check::harmless(SUBJECT, &error),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_token_that_is_not_there_is_told_and_keeps_no_host_from_attesting() {
        assert_eq!(check(&Settings::default()), None);
        let settings = Settings {
            node_token: Some("/nowhere/token".into()),
            ..Settings::default()
        };
        let told = check(&settings).unwrap();
        assert_eq!((told.verdict, told.trouble), (Verdict::Notice, None));
        assert!(told.seen.contains("`/nowhere/token`"), "{}", told.seen);
        assert!(told.next.unwrap().contains("serviceAccountToken"));
    }
}
