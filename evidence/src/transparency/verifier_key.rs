//! The public half of a checkpoint key as text, `name+hash+key` (C2SP signed-note, "vkey"): what an
//! auditor is handed once, over a channel that is not the log.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;

use crate::digest::Sha256Digest;

/// The signature type of plain Ed25519 (C2SP signed-note, "Signature types").
const ED25519: u8 = 0x01;

/// Longest key name accepted, in bytes: room for a host name and a path.
const MAX_NAME: usize = 255;

/// An Ed25519 key with the name under which it signs.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
    hash: [u8; 4],
}

/// Text that is no verifier key, or a name that cannot sign notes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VerifierKeyError {
    /// Not three parts joined by `+`.
    #[error("a verifier key reads `name+hash+key`")]
    Shape,
    /// The name is empty, too long, or holds a blank, a control character or `+`.
    #[error("a key name has 1 to {MAX_NAME} bytes, none of them blank, a control character or `+`")]
    Name,
    /// The key part is not canonical base64 of an algorithm byte and a key.
    #[error("the key is not base64 of an algorithm byte and 32 bytes")]
    Encoding,
    /// Another algorithm than Ed25519.
    #[error("algorithm {0} is not Ed25519")]
    Algorithm(u8),
    /// Not a point of the curve, or one of small order, under which forgeries verify.
    #[error("the key is no sound Ed25519 key")]
    Key,
    /// The hash is not that of the name and the key: one of the two was altered.
    #[error("the key hash is not that of this name and key")]
    Hash,
}

impl VerifierKey {
    /// A key under a name.
    ///
    /// # Errors
    /// [`VerifierKeyError::Name`], [`VerifierKeyError::Key`].
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, VerifierKeyError> {
        check_name(name)?;
        if key.is_weak() {
            return Err(VerifierKeyError::Key);
        }
        let hash = Sha256Digest::of_parts(&[name.as_bytes(), &[0x0a, ED25519], key.as_bytes()]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        Ok(Self {
            name: name.to_owned(),
            key,
            hash: [a, b, c, d],
        })
    }

    /// The name, which is also the origin of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key): finds the signature line, proves
    /// nothing.
    #[must_use]
    pub fn hash(&self) -> [u8; 4] {
        self.hash
    }

    /// The key itself.
    pub(super) fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

/// The names that C2SP signed-note allows, short of control characters, which would garble a log.
fn check_name(name: &str) -> Result<(), VerifierKeyError> {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(allowed) {
        return Err(VerifierKeyError::Name);
    }
    Ok(())
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        // The base64 part may hold `+` itself.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VerifierKeyError::Shape);
        };
        check_name(name)?;
        let key = STANDARD
            .decode(key)
            .map_err(|_| VerifierKeyError::Encoding)?;
        let (algorithm, key) = key.split_first().ok_or(VerifierKeyError::Encoding)?;
        if *algorithm != ED25519 {
            return Err(VerifierKeyError::Algorithm(*algorithm));
        }
        let key = key.try_into().map_err(|_| VerifierKeyError::Encoding)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| VerifierKeyError::Key)?;
        let key = Self::new(name, key)?;
        if hex::encode(key.hash) != hash {
            return Err(VerifierKeyError::Hash);
        }
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.as_bytes());
        let (hash, key) = (hex::encode(self.hash), STANDARD.encode(key));
        write!(out, "{}+{hash}+{key}", self.name)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VerifierKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn key() -> VerifierKey {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        VerifierKey::new("log.example/audit", key).unwrap()
    }

    #[test]
    fn the_checksum_database_key_parses() {
        // A verifier key that is known to everybody: that of the Go checksum database.
        let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let key: VerifierKey = text.parse().unwrap();
        assert_eq!(key.name(), "sum.golang.org");
        assert_eq!(key.to_string(), text);
    }

    #[test]
    fn text_round_trips() {
        assert_eq!(key().to_string().parse(), Ok(key()));
    }

    #[test]
    fn every_damage_has_its_error() {
        let text = key().to_string();
        let damaged = |from: &str, to: &str| text.replacen(from, to, 1).parse::<VerifierKey>();
        assert_eq!(damaged("+", ""), Err(VerifierKeyError::Shape));
        assert_eq!(damaged("audit", "au dit"), Err(VerifierKeyError::Name));
        assert_eq!(damaged("audit", "au\u{a0}dit"), Err(VerifierKeyError::Name));
        assert_eq!(damaged("audit", "audio"), Err(VerifierKeyError::Hash));
        assert_eq!(damaged("+A", "+B"), Err(VerifierKeyError::Algorithm(5)));
        assert_eq!(
            format!("{text}\n").parse::<VerifierKey>(),
            Err(VerifierKeyError::Encoding)
        );
        assert_eq!(
            text[..text.len() - 4].parse::<VerifierKey>(),
            Err(VerifierKeyError::Encoding)
        );
        let hash = hex::encode(key().hash());
        assert_eq!(
            damaged(&hash, &hash.to_uppercase()),
            Err(VerifierKeyError::Hash)
        );
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let identity = VerifyingKey::from_bytes(&{
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        });
        assert_eq!(
            VerifierKey::new("log", identity.unwrap()),
            Err(VerifierKeyError::Key)
        );
    }
}
