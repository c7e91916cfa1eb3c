//! `Region`: a named, versioned set of countries.

use serde::Deserialize;
use touchstone_evidence::location::{Country, NotAPlace, Place};

/// Countries that belong, and what is left out of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Rises with each change of the set; shown in findings.
    pub version: u32,
    /// ISO 3166-1 alpha-2 codes.
    pub countries: Vec<Country>,
    /// Left out although their country is in: countries (`HU`) or subdivisions (`FR-974`).
    #[serde(default)]
    pub except: Vec<Exclusion>,
}

/// A country, or one of its subdivisions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Exclusion {
    country: Country,
    subdivision: Option<String>,
}

impl TryFrom<String> for Exclusion {
    type Error = NotAPlace;

    fn try_from(code: String) -> Result<Self, NotAPlace> {
        let Some((country, _)) = code.split_once('-') else {
            return Ok(Self {
                country: code.parse()?,
                subdivision: None,
            });
        };
        // As part of a place, which checks that it is a subdivision of its country.
        let place = Place::new(country, Some(&code), "any")?;
        Ok(Self {
            country: place.country(),
            subdivision: Some(code),
        })
    }
}

impl Exclusion {
    /// Whether `place` is in it, or does not say enough to show that it is not.
    fn may_hold(&self, place: &Place) -> bool {
        self.country == place.country()
            && match (&self.subdivision, place.subdivision()) {
                (Some(excluded), Some(subdivision)) => excluded == subdivision,
                _ => true,
            }
    }
}

impl Region {
    /// Whether `place` is inside.
    #[must_use]
    pub fn contains(&self, place: &Place) -> bool {
        let excluded = self
            .except
            .iter()
            .any(|exclusion| exclusion.may_hold(place));
        self.countries.contains(&place.country()) && !excluded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(countries: &[&str], except: &[&str]) -> Region {
        Region {
            version: 1,
            countries: countries.iter().map(|code| code.parse().unwrap()).collect(),
            except: except
                .iter()
                .map(|code| Exclusion::try_from((*code).to_owned()).unwrap())
                .collect(),
        }
    }

    #[test]
    fn exclusions_win_and_unclear_places_are_out() {
        let paris = Place::new("FR", Some("FR-75C"), "par1").unwrap();
        let reunion = Place::new("FR", Some("FR-974"), "run1").unwrap();
        let somewhere = Place::new("FR", None, "x").unwrap();
        let berlin = Place::new("DE", None, "ber1").unwrap();
        let without = region(&["FR", "DE"], &["FR-974"]);
        assert!(without.contains(&paris) && without.contains(&berlin));
        assert!(!without.contains(&reunion) && !without.contains(&somewhere));
        assert!(!region(&["FR"], &["FR"]).contains(&paris));
        assert!(!region(&[], &[]).contains(&berlin));
    }

    #[test]
    fn a_misspelt_exclusion_is_no_exclusion() {
        for wrong in ["hu", "FR-974 x", "UK", "FR-", "-974", ""] {
            assert!(Exclusion::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
