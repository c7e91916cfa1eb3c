//! Byte strings as they stand in JSON: base64url without padding, bounded when read.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of at most `MAX`; more is an error while reading, before anything looks at them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes<const MAX: usize>(pub Vec<u8>);

impl<const MAX: usize> Serialize for Bytes<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Bytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(text.as_bytes())
            .map_err(|error| D::Error::custom(format_args!("not base64url: {error}")))?;
        if bytes.len() > MAX {
            return Err(D::Error::custom(format_args!(
                "{} bytes where at most {MAX} are allowed",
                bytes.len()
            )));
        }
        Ok(Self(bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_bytes_do_not_parse() {
        let five = serde_json::to_string(&Bytes::<5>(vec![7; 5])).unwrap();
        assert_eq!(serde_json::from_str::<Bytes<5>>(&five).unwrap().0, [7; 5]);
        assert!(serde_json::from_str::<Bytes<4>>(&five).is_err());
        assert!(serde_json::from_str::<Bytes<4>>("\"a+b=\"").is_err());
    }
}
