//! Distinguished names, brought to the form in which vendors' issuers and subjects compare equal.

use std::fmt;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::X509Name;

/// Longest name shown in an error, in characters.
const MAX_SHOWN: usize = 160;

/// A name, compared without regard to string type, case and runs of blanks (RFC 5280 §7.1): real
/// issuers write PrintableString where their children write UTF8String.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// Per RDN the attributes, sorted, as (type, normalised value).
    rdns: Vec<Vec<(String, Value)>>,
    shown: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    /// Not a string: tag and bytes as they are.
    Raw(u32, Vec<u8>),
}

impl Name {
    pub(super) fn of(name: &X509Name<'_>) -> Self {
        let rdns = name.iter_rdn().map(|rdn| {
            let mut attributes: Vec<_> = rdn
                .iter()
                .map(|attribute| {
                    let value = normalise(attribute.attr_value());
                    (attribute.attr_type().to_id_string(), value)
                })
                .collect();
            attributes.sort();
            attributes
        });
        Self {
            rdns: rdns.collect(),
            shown: show(&name.to_string()),
        }
    }

    /// An empty name names nobody and equals nothing, itself included.
    pub(super) fn matches(&self, other: &Self) -> bool {
        !self.is_empty() && self.rdns == other.rdns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shown)
    }
}

/// The text of a directory string; `None` for anything that is not one.
pub(super) fn directory_text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => std::str::from_utf8(value.data).ok().map(str::to_owned),
        // In practice T61String holds Latin-1.
        Tag::T61String => Some(value.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, rest) = value.data.as_chunks::<2>();
            let units = units.iter().copied().map(u16::from_be_bytes);
            let text: Result<String, _> = char::decode_utf16(units).collect();
            text.ok().filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

fn normalise(value: &Any<'_>) -> Value {
    match directory_text(value) {
        Some(text) => {
            let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
            Value::Text(words.join(" "))
        }
        None => Value::Raw(value.tag().0, value.data.to_vec()),
    }
}

/// Names come from strangers and end in logs: control characters are escaped, long ones cut.
pub(super) fn show(text: &str) -> String {
    let shown: String = text.chars().take(MAX_SHOWN).collect();
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use x509_parser::asn1_rs::oid;
    use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName};

    use super::*;

    fn name(tag: Tag, value: &[u8]) -> Name {
        let value = Any::from_tag_and_data(tag, value);
        let attribute = AttributeTypeAndValue::new(oid!(2.5.4.3), value);
        let rdn = RelativeDistinguishedName::new(vec![attribute]);
        Name::of(&X509Name::new(vec![rdn], &[]))
    }

    #[test]
    fn string_type_case_and_blanks_do_not_matter() {
        let plain = name(Tag::Utf8String, b"TPM Root CA");
        for other in [
            name(Tag::PrintableString, b"TPM Root CA"),
            name(Tag::PrintableString, b" tpm  root ca "),
            name(Tag::T61String, b"TPM Root CA"),
            name(Tag::BmpString, b"\0T\0P\0M\0 \0R\0o\0o\0t\0 \0C\0A"),
        ] {
            assert!(plain.matches(&other), "{other:?}");
        }
        for other in [
            name(Tag::Utf8String, b"TPM RootCA"),
            name(Tag::OctetString, b"TPM Root CA"),
            name(Tag::BmpString, b"\0T\0P\0"),
        ] {
            assert!(!plain.matches(&other), "{other:?}");
        }
    }

    #[test]
    fn an_empty_name_matches_nothing() {
        let empty = Name::of(&X509Name::new(Vec::new(), &[]));
        assert!(!empty.matches(&empty));
    }

    #[test]
    fn hostile_names_are_shown_tamely() {
        assert_eq!(
            name(Tag::Utf8String, b"a\r\nb\x1b[0m").to_string(),
            "CN=a\\r\\nb\\u{1b}[0m"
        );
        let long = name(Tag::Utf8String, &[b'x'; 5000]);
        assert_eq!(long.to_string().len(), MAX_SHOWN);
    }
}
