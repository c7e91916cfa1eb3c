//! Byte strings as they stand in JSON, base64url without padding, and lists: bounded when read.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of at most `MAX`; more is an error while reading, before anything looks at them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes<const MAX: usize>(pub Vec<u8>);

impl<const MAX: usize> Serialize for Bytes<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(&self.0))
    }
}

/// The text of `bytes`: base64url without padding (RFC 4648 §5), the only one that is read as them.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How long the text of so many bytes is; `None`: no text is that long.
#[must_use]
pub fn text_length(bytes: usize) -> Option<usize> {
    base64::encoded_len(bytes, false)
}

impl<'de, const MAX: usize> Deserialize<'de> for Bytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ReadText)
    }
}

/// Reads a text out of where it stands: a copy of a boot log costs as much as its digest.
struct ReadText<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for ReadText<MAX> {
    type Value = Bytes<MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "base64url of at most {MAX} bytes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text.as_bytes())
            .map_err(|error| E::custom(format_args!("not base64url: {error}")))?;
        if bytes.len() > MAX {
            return Err(E::custom(format_args!(
                "{} bytes where at most {MAX} are allowed",
                bytes.len()
            )));
        }
        Ok(Bytes(bytes))
    }
}

impl<const MAX: usize> fmt::Debug for Bytes<MAX> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

impl<const MAX: usize> From<Vec<u8>> for Bytes<MAX> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl<const MAX: usize> std::ops::Deref for Bytes<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A list of at most `MAX`; the first beyond it is an error while reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for Few<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Few<T, MAX> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize, const MAX: usize> Serialize for Few<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Few<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for FewVisitor<T, MAX> {
    type Value = Few<T, MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX} where at most {MAX} are allowed"
                )));
            }
            items.push(item);
        }
        Ok(Few(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_items_do_not_parse() {
        let three: Few<u8, 3> = serde_json::from_str("[1,2,3]").unwrap();
        assert_eq!(three.0, [1, 2, 3]);
        assert!(serde_json::from_str::<Few<u8, 2>>("[1,2,3]").is_err());
        assert_eq!(serde_json::to_string(&three).unwrap(), "[1,2,3]");
    }

    #[test]
    fn too_many_bytes_do_not_parse() {
        let five = serde_json::to_string(&Bytes::<5>(vec![7; 5])).unwrap();
        assert_eq!(serde_json::from_str::<Bytes<5>>(&five).unwrap().0, [7; 5]);
        assert!(serde_json::from_str::<Bytes<4>>(&five).is_err());
        assert!(serde_json::from_str::<Bytes<4>>("\"a+b=\"").is_err());
    }
}
