//! The name of a key in a token: a PKCS #11 URI (RFC 7512), of which a part is taken and the rest refused, so that
//! nothing is passed over that was meant to narrow the choice.

use std::path::{Path, PathBuf};

/// How such a URI begins.
const SCHEME: &str = "pkcs11:";

/// Which key, in which token, through which module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenUri {
    /// The module's file: a shared library.
    pub(super) module: PathBuf,
    /// The token's label.
    pub(super) token: String,
    /// Its serial number, where several have that label.
    pub(super) serial: Option<String>,
    /// The key's label.
    pub(super) object: String,
    /// The file of the PIN.
    pub(super) pin: Option<PathBuf>,
}

/// Why it names no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UriError {
    #[error(
        "a PIN is never in the URI (`pin-value`), where every list of processes shows it: change it, write it into a file \
         of mode 0600, and name that with `pin-source=`"
    )]
    PinValue,
    #[error("a PKCS#11 URI of the master key has no attribute `{0}`")]
    Unknown(String),
    #[error("the attribute `{0}` of the PKCS#11 URI is no text, or is there twice")]
    Malformed(String),
    #[error(
        "the PKCS#11 URI lacks `{0}`; it is pkcs11:token=…;object=…?module-path=…&pin-source=…"
    )]
    Missing(&'static str),
    #[error("`{0}` of the PKCS#11 URI must be the path of a file, from `/` on")]
    Relative(&'static str),
}

impl TokenUri {
    /// `None`: that is a file.
    pub(in super::super) fn of(place: &Path) -> Option<Result<Self, super::TokenError>> {
        let rest = place.to_str()?.strip_prefix(SCHEME)?;
        Some(Self::parse(rest).map_err(Into::into))
    }

    fn parse(rest: &str) -> Result<Self, UriError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut given = Given::default();
        for part in path.split(';').filter(|part| !part.is_empty()) {
            given.take(part, &["token", "serial", "object", "type"])?;
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            given.take(part, &["module-path", "pin-source"])?;
        }
        if given.get("type").is_some_and(|kind| kind != "secret-key") {
            return Err(UriError::Malformed("type".to_owned()));
        }
        let pin = given.get("pin-source");
        let pin = pin.map(|pin| pin.strip_prefix("file:").map(str::to_owned).unwrap_or(pin));
        Ok(Self {
            module: file("module-path", given.demand("module-path")?)?,
            token: given.demand("token")?,
            serial: given.get("serial"),
            object: given.demand("object")?,
            pin: pin.map(|pin| file("pin-source", pin)).transpose()?,
        })
    }
}

fn file(name: &'static str, path: String) -> Result<PathBuf, UriError> {
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(UriError::Relative(name)),
    }
}

/// Attributes and their values.
#[derive(Default)]
struct Given(Vec<(String, String)>);

impl Given {
    /// Takes `name=value`.
    fn take(&mut self, part: &str, known: &[&str]) -> Result<(), UriError> {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if name == "pin-value" {
            return Err(UriError::PinValue);
        }
        if !known.contains(&name) {
            return Err(UriError::Unknown(name.to_owned()));
        }
        let value = decode(value).filter(|_| self.get(name).is_none());
        let value = value.ok_or_else(|| UriError::Malformed(name.to_owned()))?;
        self.0.push((name.to_owned(), value));
        Ok(())
    }

    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    fn demand(&self, name: &'static str) -> Result<String, UriError> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.ok_or(UriError::Missing(name))
    }
}

/// Percent-encoding (RFC 3986 §2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'%' => {
                let (digits, after) = after.split_first_chunk::<2>()?;
                bytes.extend(hex::decode(digits).ok()?);
                rest = after;
            }
            byte => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn a_uri_names_a_key_a_token_a_module_and_the_file_of_a_pin() {
        let uri = "token=our%20token;object=a%3Bb;type=secret-key?module-path=/usr/lib/m.so&pin-source=file:/etc/pin";
        assert_eq!(
            TokenUri::parse(uri).unwrap(),
            TokenUri {
                module: "/usr/lib/m.so".into(),
                token: "our token".to_owned(),
                serial: None,
                object: "a;b".to_owned(),
                pin: Some("/etc/pin".into()),
            }
        );
        let uri = "serial=1a;token=t;object=o?module-path=/m";
        let uri = TokenUri::parse(uri).unwrap();
        assert_eq!((uri.serial.as_deref(), uri.pin), (Some("1a"), None));
    }

    #[test]
    fn what_is_not_taken_is_refused_and_a_pin_is_not_repeated() {
        let parse = |uri| TokenUri::parse(uri).unwrap_err();
        let pin = parse("token=t;object=o?module-path=/m&pin-value=4711");
        assert_eq!(pin, UriError::PinValue);
        assert!(!format!("{pin} {pin:?}").contains("4711"));
        let unknown = UriError::Unknown("id".to_owned());
        assert_eq!(parse("token=t;id=%01;object=o?module-path=/m"), unknown);
        let twice = UriError::Malformed("object".to_owned());
        assert_eq!(parse("token=t;object=o;object=p?module-path=/m"), twice);
        let malformed = UriError::Malformed("token".to_owned());
        assert_eq!(parse("token=%4;object=o?module-path=/m"), malformed);
        let kind = UriError::Malformed("type".to_owned());
        assert_eq!(parse("token=t;object=o;type=private?module-path=/m"), kind);
        assert_eq!(parse("token=t?module-path=/m"), UriError::Missing("object"));
        assert_eq!(
            parse("token=;object=o?module-path=/m"),
            UriError::Missing("token")
        );
        assert_eq!(parse("token=t;object=o"), UriError::Missing("module-path"));
        let relative = UriError::Relative("module-path");
        assert_eq!(parse("token=t;object=o?module-path=m.so"), relative);
        let program = "token=t;object=o?module-path=/m&pin-source=|/bin/pin";
        assert_eq!(parse(program), UriError::Relative("pin-source"));
    }
}
