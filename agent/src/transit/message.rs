//! Bodies of Vault's transit engine, as they are read and written; byte strings are base64 with padding (RFC 4648 §4).
//!
//! What would change what is encrypted, and is not done here, is refused; all else that is not known is ignored, and
//! named as a warning, as Vault does.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use touchstone_evidence::secret::{ASSOCIATED_MAX, SecretError};
use zeroize::Zeroizing;

use super::Refused;

/// Most warnings, and the most of a name that stands in one.
const WARNINGS_MAX: usize = 16;
const NAME_MAX: usize = 60;

/// What a body may say.
#[derive(Default)]
pub(super) struct Parameters {
    plaintext: Option<Zeroizing<Vec<u8>>>,
    ciphertext: Option<String>,
    /// Empty is as good as none.
    pub(super) associated: Vec<u8>,
    /// Of the attestor's key; 0 and none are its current one.
    pub(super) key_version: u32,
    /// The first that is not done here.
    unsupported: Option<&'static str>,
    /// What was ignored.
    pub(super) ignored: Vec<String>,
}

impl Parameters {
    /// Reads a body. Its own words are in no error: they may be the secret's.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refused> {
        let read: Result<Self, _> = serde_json::from_slice(body);
        let read = read.map_err(|error| Refused::Body(error.line(), error.column()))?;
        if let Some(parameter) = read.unsupported {
            return Err(Refused::Unsupported(parameter));
        }
        // Before anybody is asked for a key.
        if read.associated.len() > ASSOCIATED_MAX {
            return Err(SecretError::AssociatedTooLarge(read.associated.len()).into());
        }
        Ok(read)
    }

    /// What is to be encrypted.
    pub(super) fn plaintext(&mut self) -> Result<Zeroizing<Vec<u8>>, Refused> {
        self.plaintext.take().ok_or(Refused::Missing("plaintext"))
    }

    /// What is to be decrypted.
    pub(super) fn ciphertext(&mut self) -> Result<String, Refused> {
        self.ciphertext.take().ok_or(Refused::Missing("ciphertext"))
    }

    fn set<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "plaintext" => self.plaintext = map.next_value::<Option<Base64>>()?.map(|it| it.0),
            "associated_data" => {
                let associated = map.next_value::<Option<Base64>>()?;
                self.associated = associated.map_or_else(Vec::new, |it| it.0.to_vec());
            }
            "ciphertext" => self.ciphertext = map.next_value()?,
            "key_version" => self.key_version = version(map.next_value()?)?,
            "context" => self.refuse("context", map.next_value::<Option<Scalar>>()?),
            "nonce" => self.refuse("nonce", map.next_value::<Option<Scalar>>()?),
            "convergent_encryption" => {
                self.refuse("convergent_encryption", map.next_value::<Option<Scalar>>()?);
            }
            "batch_input" => {
                if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                    self.unsupported.get_or_insert("batch_input");
                }
            }
            other => {
                map.next_value::<IgnoredAny>()?;
                if self.ignored.len() < WARNINGS_MAX {
                    let shown: String = other.chars().take(NAME_MAX).collect();
                    self.ignored.push(shown.escape_debug().to_string());
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, name: &'static str, value: Option<Scalar>) {
        if value.is_some_and(|value| value.says_something()) {
            self.unsupported.get_or_insert(name);
        }
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
        let mut parameters = Parameters::default();
        let mut seen: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            // Of two, whoever looked before might have looked at the other one.
            if seen.contains(&name) || seen.len() > 64 {
                return Err(de::Error::custom("twice, or too many"));
            }
            parameters.set(&name, &mut map)?;
            seen.push(name);
        }
        Ok(parameters)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Bytes that may be the secret.
pub(super) struct Base64(pub(super) Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64Visitor;
        impl Visitor<'_> for Base64Visitor {
            type Value = Base64;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                let bytes = STANDARD.decode(text).map(Zeroizing::new);
                bytes.map(Base64).map_err(|_| E::custom("no base64"))
            }
        }
        deserializer.deserialize_str(Base64Visitor)
    }
}

/// Vault's command sends numbers and truth values as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Truth(bool),
    Number(u32),
    Text(String),
}

impl Scalar {
    fn says_something(&self) -> bool {
        match self {
            Self::Truth(truth) => *truth,
            Self::Number(number) => *number != 0,
            Self::Text(text) => !matches!(text.as_str(), "" | "false" | "0"),
        }
    }
}

/// A version of a key; none is the current one.
fn version<E: de::Error>(said: Option<Scalar>) -> Result<u32, E> {
    match said {
        None => Ok(0),
        Some(Scalar::Number(version)) => Ok(version),
        Some(Scalar::Text(text)) => text.parse().map_err(|_| E::custom("no version")),
        Some(Scalar::Truth(_)) => Err(E::custom("no version")),
    }
}

/// What is answered: Vault's envelope, of which `data` alone says something here.
#[derive(Serialize)]
struct Answer<'a, T> {
    request_id: String,
    lease_id: &'a str,
    renewable: bool,
    lease_duration: u32,
    data: T,
    wrap_info: (),
    warnings: Option<Vec<String>>,
    auth: (),
}

#[derive(Serialize)]
struct Encrypted<'a> {
    ciphertext: &'a str,
    key_version: u32,
}

#[derive(Serialize)]
struct Decrypted<'a> {
    plaintext: &'a str,
}

/// The body that a ciphertext is answered in.
pub(super) fn encrypted(
    id: [u8; 16],
    ciphertext: &str,
    key_version: u32,
    ignored: &[String],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let data = Encrypted {
        ciphertext,
        key_version,
    };
    written(id, ciphertext.len(), data, ignored)
}

/// The body that a secret is answered in.
pub(super) fn decrypted(
    id: [u8; 16],
    secret: &[u8],
    ignored: &[String],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    // Room for all of it: what grows leaves copies behind.
    let mut plaintext = Zeroizing::new(String::with_capacity(secret.len().div_ceil(3) * 4));
    STANDARD.encode_string(secret, &mut plaintext);
    let data = Decrypted {
        plaintext: &plaintext,
    };
    written(id, plaintext.len(), data, ignored)
}

fn written<T: Serialize>(
    id: [u8; 16],
    length: usize,
    data: T,
    ignored: &[String],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let warnings = (!ignored.is_empty()).then(|| {
        let names = ignored.join(", ");
        vec![format!(
            "these parameters are not known here and were ignored: {names}"
        )]
    });
    let answer = Answer {
        request_id: uuid(id),
        lease_id: "",
        renewable: false,
        lease_duration: 0,
        data,
        wrap_info: (),
        warnings,
        auth: (),
    };
    let room = length + 1024 + WARNINGS_MAX * NAME_MAX * 8;
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *body, &answer).map_err(|_| Refused::Unwritable)?;
    Ok(body)
}

/// Random bytes as a UUID (RFC 9562 §5.4).
fn uuid(mut bytes: [u8; 16]) -> String {
    let [.., seventh, _, ninth, _, _, _, _, _, _, _] = &mut bytes;
    *seventh = *seventh & 0x0f | 0x40;
    *ninth = *ninth & 0x3f | 0x80;
    let text = hex::encode(bytes);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let parts = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ];
    parts.join("-")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(body: &str) -> Result<Parameters, Refused> {
        Parameters::parse(body.as_bytes())
    }

    #[test]
    fn what_vaults_clients_send_is_read() {
        let mut read = read(
            r#"{"plaintext":"aHVzaA==","associated_data":"ZGI=","key_version":0,"context":null,
            "nonce":"","convergent_encryption":false,"type":"aes256-gcm96"}"#,
        )
        .unwrap();
        assert_eq!(&read.plaintext().unwrap()[..], b"hush");
        assert_eq!((&read.associated[..], read.key_version), (&b"db"[..], 0));
        assert_eq!(read.ignored, ["type"]);
        assert!(matches!(
            read.ciphertext(),
            Err(Refused::Missing("ciphertext"))
        ));
        let mut read =
            super::Parameters::parse(br#"{"ciphertext":"vault:v1:AA==","key_version":"2"}"#)
                .unwrap();
        assert_eq!(read.ciphertext().unwrap(), "vault:v1:AA==");
        assert_eq!(read.key_version, 2);
        assert!(matches!(
            read.plaintext(),
            Err(Refused::Missing("plaintext"))
        ));
    }

    #[test]
    fn what_would_change_the_encryption_is_refused() {
        for (body, parameter) in [
            (r#"{"context":"AA=="}"#, "context"),
            (r#"{"nonce":"AA=="}"#, "nonce"),
            (r#"{"convergent_encryption":true}"#, "convergent_encryption"),
            (
                r#"{"convergent_encryption":"true"}"#,
                "convergent_encryption",
            ),
            (r#"{"batch_input":[]}"#, "batch_input"),
        ] {
            let refused = read(body);
            assert!(matches!(refused, Err(Refused::Unsupported(named)) if named == parameter));
        }
    }

    #[test]
    fn what_is_no_body_is_refused_without_its_words() {
        for body in [
            "",
            "[]",
            "{",
            r#"{"plaintext":"hush!"}"#,
            r#"{"plaintext":"aHVzaA"}"#,
            r#"{"plaintext":48879}"#,
            r#"{"plaintext":"aHVzaA==","plaintext":"aGk="}"#,
            r#"{"key_version":-1}"#,
            r#"{"key_version":"hush"}"#,
        ] {
            let said = read(body).err().unwrap().to_string();
            let theirs = ["hush", "aHVzaA", "48879"];
            assert!(!theirs.iter().any(|words| said.contains(words)), "{said}");
        }
        let names: String = (0..70).map(|at| format!("\"n{at}\":1,")).collect();
        assert!(read(&format!("{{{names}\"n\":1}}")).is_err());
    }

    #[test]
    fn answers_are_vaults() {
        let body = encrypted([0xff; 16], "vault:v3:AA==", 3, &["type".to_owned()]).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["request_id"], "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(answer["data"]["key_version"], 3);
        assert_eq!(answer["data"]["ciphertext"], "vault:v3:AA==");
        assert!(answer["warnings"][0].as_str().unwrap().ends_with("type"));
        for (field, value) in [
            ("lease_id", "\"\""),
            ("auth", "null"),
            ("wrap_info", "null"),
        ] {
            assert_eq!(answer[field].to_string(), value);
        }
        let body = decrypted([0; 16], b"hush", &[]).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["data"]["plaintext"], "aHVzaA==");
        assert!(answer["warnings"].is_null());
    }
}
