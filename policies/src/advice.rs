//! What to do about a finding: read out of `docs/findings.md`, so that page and program say the same.

/// The page, whose rows are `| code | meaning | what to do |`.
const PAGE: &str = include_str!("../../docs/findings.md");

/// What to do about a finding or a problem of this code, in Markdown; `None`: the page has no line for it.
#[must_use]
pub fn advice(code: &str) -> Option<&'static str> {
    let row = format!("| `{code}` |");
    let mut above: Option<&'static str> = None;
    for line in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.trim_end_matches(" |").rsplit(" | ").next()?;
        let cell = match cell.strip_prefix("As above.") {
            // The row above says it, and this one may add something.
            Some(_) => above?,
            None => cell,
        };
        if line.starts_with(&row) {
            return match cell.strip_prefix("As for `") {
                Some(rest) => rest
                    .split('`')
                    .next()
                    .filter(|other| *other != code)
                    .and_then(advice),
                None => Some(cell),
            };
        }
        above = Some(cell);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prose::sentences;

    #[test]
    fn there_is_something_to_do_about_every_finding() {
        for (code, _) in sentences() {
            let said = advice(code).unwrap_or_else(|| panic!("no advice for {code}"));
            assert!(
                !said.is_empty() && !said.starts_with("As "),
                "{code}: {said}"
            );
        }
        assert_eq!(advice("pcr-bank-mismatch"), advice("not-a-quote"));
        assert_eq!(advice("no-such-code"), None);
    }
}
