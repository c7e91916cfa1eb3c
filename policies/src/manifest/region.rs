//! `Region`: a named, versioned set of countries.

use serde::Deserialize;
use touchstone_evidence::location::{Country, Place};

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
    pub except: Vec<String>,
}

impl Region {
    /// Whether `place` is inside.
    #[must_use]
    pub fn contains(&self, place: &Place) -> bool {
        let excluded = |code: &String| {
            code == place.country().as_str() || Some(code.as_str()) == place.subdivision()
        };
        // A subdivision is excluded: a place that does not say its own cannot be shown to be outside of it.
        let unclear = place.subdivision().is_none()
            && self.except.iter().any(|code| {
                code.split_once('-')
                    .is_some_and(|(country, _)| country == place.country().as_str())
            });
        self.countries.contains(&place.country()) && !self.except.iter().any(excluded) && !unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(countries: &[&str], except: &[&str]) -> Region {
        Region {
            version: 1,
            countries: countries.iter().map(|code| code.parse().unwrap()).collect(),
            except: except.iter().map(|code| (*code).to_owned()).collect(),
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
}
