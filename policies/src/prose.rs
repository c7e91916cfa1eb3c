//! Findings in words: one sentence each, for the person who has to act on it.

mod boot;
mod images;
mod location;
mod release_key;
mod runtime;
mod standing;
mod summary;
mod tpm;

use touchstone_evidence::finding::Finding;

pub use summary::summary;

/// A code and what it says. `{subject}`, `{expected}` and `{observed}` stand for the finding's fields.
pub type Sentence = (&'static str, &'static str);

/// Each sorted, so that what is added has one place.
const AREAS: [&[Sentence]; 7] = [
    boot::SENTENCES,
    images::SENTENCES,
    location::SENTENCES,
    release_key::SENTENCES,
    runtime::SENTENCES,
    standing::SENTENCES,
    tpm::SENTENCES,
];

/// Every code that a verdict can carry, once, with its sentence.
pub fn sentences() -> impl Iterator<Item = &'static Sentence> {
    AREAS.into_iter().flatten()
}

/// Sentences where nothing was expected that `{expected}` could stand for.
const WITHOUT_EXPECTED: &[Sentence] = &[(
    "location-tag-superseded",
    "the location tag has serial {observed}, and none is current; issue a new one with `touchstone location tag`",
)];

/// The sentence of `finding`; for an unknown code, the code and what is known.
#[must_use]
pub fn sentence(finding: &Finding) -> String {
    let expected = finding.expected.as_deref().unwrap_or("nothing");
    let observed = finding.observed.as_deref().unwrap_or("nothing");
    let bare = WITHOUT_EXPECTED
        .iter()
        .filter(|_| finding.expected.is_none());
    let template = bare
        .chain(sentences())
        .find(|(code, _)| *code == finding.code)
        .map_or(
            "{code} {subject}: expected {expected}, saw {observed}",
            |(_, sentence)| sentence,
        );
    fill(
        template,
        &[
            ("{code}", &finding.code),
            ("{subject}", &finding.subject),
            ("{expected}", expected),
            ("{observed}", observed),
        ],
    )
}

/// Fills each field once, from the left, so that what a field holds is never taken for a field.
fn fill(template: &str, fields: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        match fields.iter().find(|(name, _)| from.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(value);
                rest = from.strip_prefix(name).unwrap_or_default();
            }
            None => {
                out.push('{');
                rest = from.strip_prefix('{').unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sentences_are_sorted_and_filled_once() {
        for area in AREAS {
            assert!(area.is_sorted_by(|(one, _), (next, _)| one < next));
        }
        let codes: BTreeSet<&str> = sentences().map(|(code, _)| *code).collect();
        assert_eq!(codes.len(), sentences().count(), "a code is in two areas");
        let finding = Finding::new("tier-insufficient")
            .about("{observed}")
            .expected("affirming")
            .observed("none");
        assert_eq!(
            sentence(&finding),
            "host {observed} is none; policy demands affirming"
        );
    }

    #[test]
    fn a_tag_is_told_to_be_issued_where_none_is_current() {
        let old = Finding::new("location-tag-superseded").observed(3);
        let said = sentence(&old);
        assert!(said.contains("issue a new one"), "{said}");
        assert!(sentence(&old.expected(4)).contains("the current one is 4"));
    }
}
