//! Byte strings of the protocol: base64 as Go writes them, or lists of numbers as Rust's ocicrypt does.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// How byte strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Base64 with padding.
    Base64,
    /// A list of numbers.
    Numbers,
}

/// At most `MAX` bytes, which may be a key; more is an error while reading.
pub(super) struct ProviderBytes<const MAX: usize> {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) form: Form,
}

impl<'de, const MAX: usize> Deserialize<'de> for ProviderBytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor::<MAX>)
    }
}

struct BytesVisitor<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for BytesVisitor<MAX> {
    type Value = ProviderBytes<MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "at most {MAX} bytes, in base64 or as a list of numbers"
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let most = base64::encoded_len(MAX, true).unwrap_or(usize::MAX);
        if text.len() > most {
            return Err(E::custom("too many bytes"));
        }
        let bytes = STANDARD.decode(text).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| E::custom("no base64"))?;
        match bytes.len() <= MAX {
            true => Ok(ProviderBytes {
                bytes,
                form: Form::Base64,
            }),
            false => Err(E::custom("too many bytes")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
        // Whole from the start: a list that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX));
        while let Some(byte) = numbers.next_element()? {
            if bytes.len() == MAX {
                return Err(A::Error::custom("too many bytes"));
            }
            bytes.push(byte);
        }
        Ok(ProviderBytes {
            bytes,
            form: Form::Numbers,
        })
    }
}

/// `{"RESULTS":{"FIELD":bytes}}`.
pub(super) fn answer(
    results: &'static str,
    field: &'static str,
    bytes: &[u8],
    form: Form,
) -> Zeroizing<Vec<u8>> {
    // Neither form has more than four characters a byte.
    let most = bytes.len().saturating_mul(4).saturating_add(64);
    let mut json = Zeroizing::new(Vec::with_capacity(most));
    json.extend_from_slice(format!("{{\"{results}\":{{\"{field}\":").as_bytes());
    match form {
        Form::Base64 => {
            let text = Zeroizing::new(STANDARD.encode(bytes));
            json.push(b'"');
            json.extend_from_slice(text.as_bytes());
            json.push(b'"');
        }
        Form::Numbers => {
            json.push(b'[');
            for (at, byte) in bytes.iter().enumerate() {
                if at > 0 {
                    json.push(b',');
                }
                json.extend_from_slice(byte.to_string().as_bytes());
            }
            json.push(b']');
        }
    }
    json.extend_from_slice(b"}}");
    json
}
