//! How objects of a cluster are named: DNS labels and subdomains (RFC 1123).

/// Longest label, bytes.
const LABEL_MAX: usize = 63;
/// Longest subdomain, bytes.
const SUBDOMAIN_MAX: usize = 253;
/// Most characters that an error shows of what is no name.
const SHOWN_MAX: usize = 80;

/// Whether `text` can name a namespace: lower-case letters, digits and hyphens, none of them a hyphen at either end.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= LABEL_MAX && is_part(text)
}

/// Whether `text` can name an object of most kinds: parts as labels have them, with dots between.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_MAX && text.split('.').all(is_part)
}

/// What an error shows of a text that is no name: its beginning, in one line.
pub(crate) fn shown(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    shown.escape_debug().to_string()
}

fn is_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = text.starts_with('-') || text.ends_with('-');
    !text.is_empty() && !ends && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_part_and_a_subdomain_has_dots_between_parts() {
        let longest = "a".repeat(63);
        for label in ["a", "0", "eu-west-1", &longest] {
            assert!(is_label(label) && is_subdomain(label), "{label}");
        }
        let longest = format!("{}.b", "a".repeat(251));
        for subdomain in ["a.b", "0.a-b.c", &"a".repeat(64), &longest] {
            assert!(
                !is_label(subdomain) && is_subdomain(subdomain),
                "{subdomain}"
            );
        }
        let longer = format!("{}.b", "a".repeat(252));
        for wrong in [
            "", "-a", "a-", "A", "a/b", "a b", "a\n", "ä", ".a", "a.", "a..b", "a.-b", &longer,
        ] {
            assert!(!is_label(wrong) && !is_subdomain(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_error_shows_the_beginning_in_one_line() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"a".repeat(1000)).len(), SHOWN_MAX);
    }
}
