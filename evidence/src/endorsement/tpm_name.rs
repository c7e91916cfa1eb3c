//! What an EK certificate says about its TPM: manufacturer, model and version, in a directoryName
//! of the subject alternative name (TCG EK Credential Profile).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use x509_parser::x509::X509Name;

use super::name::directory_text;

/// Longest model or version accepted, in bytes.
const MAX_TEXT: usize = 128;

/// The four bytes by which TCG knows a TPM manufacturer (TCG TPM Vendor ID Registry): what
/// `TPM_PT_MANUFACTURER` reads, and `id:` plus eight hexadecimal digits in certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManufacturerId(pub [u8; 4]);

/// Manufacturer, model and version of a TPM, as its EK certificate names them: kept with the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmName {
    /// The manufacturer.
    pub manufacturer: ManufacturerId,
    /// The model, in the manufacturer's words.
    pub model: String,
    /// The firmware version when it was certified, in the manufacturer's words.
    pub version: String,
}

/// Why the subject alternative name does not name a TPM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TpmNameError {
    /// The manufacturer is not `id:` and eight hexadecimal digits.
    #[error("`{0}` is no TPM manufacturer: `id:` and eight hexadecimal digits are expected")]
    Manufacturer(String),
    /// An attribute is absent, occurs twice, is no text, or is too long.
    #[error("attribute {0} must occur once, as text of at most {MAX_TEXT} bytes")]
    Attribute(&'static str),
}

impl TpmName {
    /// Collects the three attributes from the directory names of a certificate. They may share an
    /// RDN or not: vendors differ. `None` if no name has any of them.
    pub(super) fn collect<'a>(
        names: impl Iterator<Item = &'a X509Name<'a>> + Clone,
    ) -> Option<Result<Self, TpmNameError>> {
        const ATTRIBUTES: [&str; 3] = ["2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3"];

        let values = ATTRIBUTES.map(|oid| {
            let attributes = names.clone().flat_map(X509Name::iter_attributes);
            let values = attributes
                .filter(|attribute| attribute.attr_type().to_id_string() == oid)
                .map(|attribute| directory_text(attribute.attr_value()));
            (oid, values.collect::<Vec<_>>())
        });
        if values.iter().all(|(_, values)| values.is_empty()) {
            return None;
        }
        Some(Self::of_values(values))
    }

    fn of_values(values: [(&'static str, Vec<Option<String>>); 3]) -> Result<Self, TpmNameError> {
        let [manufacturer, model, version] = values.map(|(oid, values)| match &values[..] {
            [Some(text)] if text.len() <= MAX_TEXT && !text.chars().any(char::is_control) => {
                Ok(text.clone())
            }
            _ => Err(TpmNameError::Attribute(oid)),
        });
        Ok(Self {
            manufacturer: manufacturer?.parse()?,
            model: model?,
            version: version?,
        })
    }
}

impl FromStr for ManufacturerId {
    type Err = TpmNameError;

    fn from_str(text: &str) -> Result<Self, TpmNameError> {
        let mut id = [0; 4];
        text.strip_prefix("id:")
            .and_then(|digits| hex::decode_to_slice(digits, &mut id).ok())
            .map(|()| Self(id))
            .ok_or_else(|| TpmNameError::Manufacturer(text.chars().take(40).collect()))
    }
}

impl fmt::Display for ManufacturerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "id:{}", hex::encode_upper(self.0))
    }
}

impl TryFrom<String> for ManufacturerId {
    type Error = TpmNameError;

    fn try_from(text: String) -> Result<Self, TpmNameError> {
        text.parse()
    }
}

impl From<ManufacturerId> for String {
    fn from(id: ManufacturerId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manufacturers_round_trip_in_either_case() {
        let intel: ManufacturerId = "id:494e5443".parse().unwrap();
        assert_eq!(intel, ManufacturerId(*b"INTC"));
        assert_eq!(intel.to_string(), "id:494E5443");
        for text in [
            "",
            "id:",
            "INTC",
            "id:494E54",
            "id:494E544300",
            "ID:494E5443",
        ] {
            assert!(text.parse::<ManufacturerId>().is_err(), "{text}");
        }
    }

    #[test]
    fn attributes_occur_once() {
        let one = |text: &str| vec![Some(text.to_owned())];
        let name = |model: Vec<Option<String>>| {
            TpmName::of_values([("1", one("id:00001014")), ("2", model), ("3", one("id:1"))])
        };
        assert_eq!(name(one("swtpm")).unwrap().model, "swtpm");
        for model in [
            vec![],
            vec![None],
            [one("a"), one("a")].concat(),
            one("a\nb"),
            one(&"a".repeat(MAX_TEXT + 1)),
        ] {
            assert_eq!(name(model), Err(TpmNameError::Attribute("2")));
        }
    }
}
