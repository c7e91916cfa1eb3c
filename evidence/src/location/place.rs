//! Where a machine stands: country, subdivision, site.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::country::is_assigned;

/// An officially assigned ISO 3166-1 alpha-2 code, upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

/// Text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlace {
    /// Not an officially assigned code: also lower case, alpha-3, reserved and withdrawn codes.
    #[error("`{0}` is not an officially assigned ISO 3166-1 alpha-2 code such as `DE`")]
    Country(String),
    /// Not a subdivision of that country.
    #[error("`{0}` is not an ISO 3166-2 code of its country, such as `DE-HE`")]
    Subdivision(String),
    /// Empty, long, or with characters beyond `a-z A-Z 0-9 - _ .`.
    #[error("`{0}` cannot name a site: use 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`")]
    Site(String),
}

impl Country {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn from_bytes(code: [u8; 2]) -> Option<Self> {
        is_assigned(code).then_some(Self(code))
    }
}

impl FromStr for Country {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        <[u8; 2]>::try_from(text.as_bytes())
            .ok()
            .and_then(Self::from_bytes)
            .ok_or_else(|| NotAPlace::Country(shown(text)))
    }
}

impl TryFrom<String> for Country {
    type Error = NotAPlace;

    fn try_from(text: String) -> Result<Self, NotAPlace> {
        text.parse()
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.as_str().to_owned()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A place as an authority writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PlaceText")]
pub struct Place {
    country: Country,
    #[serde(skip_serializing_if = "Option::is_none")]
    subdivision: Option<String>,
    site: String,
}

/// [`Place`] as it is read, before its parts are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceText {
    country: String,
    subdivision: Option<String>,
    site: String,
}

impl Place {
    /// Checks each part.
    pub fn new(country: &str, subdivision: Option<&str>, site: &str) -> Result<Self, NotAPlace> {
        let country: Country = country.parse()?;
        if let Some(code) = subdivision {
            check_subdivision(country, code)?;
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if site.is_empty() || site.len() > 64 || !site.bytes().all(allowed) {
            return Err(NotAPlace::Site(shown(site)));
        }
        Ok(Self {
            country,
            subdivision: subdivision.map(str::to_owned),
            site: site.to_owned(),
        })
    }

    /// The country.
    #[must_use]
    pub fn country(&self) -> Country {
        self.country
    }

    /// The subdivision, e.g. `DE-HE`.
    #[must_use]
    pub fn subdivision(&self) -> Option<&str> {
        self.subdivision.as_deref()
    }

    /// The site, in the authority's own words.
    #[must_use]
    pub fn site(&self) -> &str {
        &self.site
    }
}

impl TryFrom<PlaceText> for Place {
    type Error = NotAPlace;

    fn try_from(text: PlaceText) -> Result<Self, NotAPlace> {
        Self::new(&text.country, text.subdivision.as_deref(), &text.site)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subdivision {
            Some(code) => write!(out, "{} ({code}, {})", self.country, self.site),
            None => write!(out, "{} ({})", self.country, self.site),
        }
    }
}

/// ISO 3166-2: the country, a hyphen, one to three letters or digits.
fn check_subdivision(country: Country, code: &str) -> Result<(), NotAPlace> {
    let part = code
        .strip_prefix(country.as_str())
        .and_then(|rest| rest.strip_prefix('-'));
    let shaped = part.is_some_and(|part| {
        (1..=3).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    });
    if shaped {
        return Ok(());
    }
    Err(NotAPlace::Subdivision(shown(code)))
}

fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assigned_codes_are_countries() {
        for good in ["DE", "US", "GB", "CH", "TW"] {
            assert!(good.parse::<Country>().is_ok(), "{good}");
        }
        // Lower case, alpha-3, exceptionally reserved, withdrawn, user-assigned, empty.
        for bad in [
            "de", "DEU", "UK", "EU", "SU", "YU", "DD", "XK", "ZZ", "", "D",
        ] {
            assert!(bad.parse::<Country>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subdivision_is_of_its_country() {
        assert!(Place::new("DE", Some("DE-HE"), "fra1").is_ok());
        for bad in ["US-CA", "DE", "DE-", "DE-he", "DE-HESS", "HE"] {
            assert!(Place::new("DE", Some(bad), "fra1").is_err(), "{bad}");
        }
        for bad in ["", "a b", "a\nb", "é"] {
            assert!(Place::new("DE", None, bad).is_err(), "{bad}");
        }
    }
}
