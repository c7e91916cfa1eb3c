//! The shape that names of hosts and of keys share.
//!
//! No other characters exist in one, so that it is safe in a path, a log line and a signed text, and has no
//! look-alikes.

/// Whether `text` is 1 to 63 of `a-z`, `0-9`, `-` and `.`, with letters or digits at both ends.
pub(crate) fn is_label(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: &u8| edge(byte) || matches!(byte, b'-' | b'.');
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge);
    ends && bytes.len() <= 63 && bytes.iter().all(inner)
}

/// What an error shows of a text that is none.
pub(crate) fn shown(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    shown.escape_debug().to_string()
}
