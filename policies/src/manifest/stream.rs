//! A text of several documents, cut at the lines that are `---`.
//!
//! Invariant: what it gives are parts of the text and nothing is copied, so that a text of a million separators
//! costs what any other of its size does.

use std::iter;

/// What stands between two separators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Lines of the whole text before it.
    pub(super) lines_before: u64,
    pub(super) text: &'a str,
}

/// All parts in order, also those without a manifest; one more than there are separators.
pub(super) fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = Some(Part {
        lines_before: 0,
        text,
    });
    iter::from_fn(move || {
        let (part, behind) = cut(rest.take()?);
        rest = behind;
        Some(part)
    })
}

/// Up to the first separator, and what follows it.
fn cut(whole: Part<'_>) -> (Part<'_>, Option<Part<'_>>) {
    let (mut length, mut lines_before) = (0_usize, whole.lines_before);
    for line in whole.text.split_inclusive('\n') {
        lines_before = lines_before.saturating_add(1);
        if line.trim_end() == "---" {
            let (text, from) = whole.text.split_at(length);
            let behind = from
                .strip_prefix(line)
                .map(|text| Part { lines_before, text });
            return (Part { text, ..whole }, behind);
        }
        length = length.saturating_add(line.len());
    }
    (whole, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_between_the_separators_and_know_their_line() {
        let cut = |text| -> Vec<_> {
            parts(text)
                .map(|part| (part.lines_before, part.text))
                .collect()
        };
        assert_eq!(cut(""), [(0, "")]);
        assert_eq!(cut("a\nb"), [(0, "a\nb")]);
        assert_eq!(cut("a\n---"), [(0, "a\n"), (2, "")]);
        assert_eq!(
            cut("---\na\n--- \r\n----\n ---\n---\n"),
            [(0, ""), (1, "a\n"), (3, "----\n ---\n"), (6, "")]
        );
    }
}
