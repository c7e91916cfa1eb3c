//! The attack catalogue: `tests/attacks.toml`, as data.

use serde::Deserialize;

/// The file, carried inside the program.
const FILE: &str = include_str!("../../../tests/attacks.toml");

/// One lie.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// That of the catalogue, with a letter where a line holds several.
    pub id: String,
    /// What is said.
    pub lie: String,
    /// `http`: told over the wire. Else the crate whose test `test` shows it.
    pub seam: String,
    /// The code that must come back, and no other; `none` for what must pass.
    pub expected: String,
    /// The test that shows a lie at a lower seam.
    pub test: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    attack: Vec<Attack>,
}

/// The catalogue does not read; a test sees that it does.
#[derive(Debug, thiserror::Error)]
#[error("the attack catalogue does not read")]
pub struct CatalogueError(#[from] toml::de::Error);

/// Every row, in the order of the file.
///
/// # Errors
/// [`CatalogueError`].
pub fn catalogue() -> Result<Vec<Attack>, CatalogueError> {
    Ok(toml::from_str::<Catalogue>(FILE)?.attack)
}
