//! Objects whose fields nobody takes for others. Go's `encoding/json`, by which runtimes read manifests, compares names
//! without case and takes the last of several, so that one text says one thing here and another thing on the node.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ManifestError;

/// Most fields of one object; those of manifests have some ten.
const FIELDS_MAX: usize = 256;

/// What is read of an object.
pub(super) trait Object: Default {
    /// Names of the fields that are read, in ASCII.
    const FIELDS: &'static [&'static str];

    /// Reads the value of one of them.
    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<(), A::Error>;
}

/// An object, read once.
pub(super) struct Told<T> {
    object: T,
    /// The first field that is one of those that are read, in another case.
    twin: Option<String>,
}

impl<T> Told<T> {
    /// The object, if it can be read in one way only.
    pub(super) fn alone(self) -> Result<T, ManifestError> {
        match self.twin {
            None => Ok(self.object),
            Some(twin) => Err(ManifestError::Ambiguous(twin)),
        }
    }
}

impl<'de, T: Object> Deserialize<'de> for Told<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadObject(PhantomData))
    }
}

struct ReadObject<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for ReadObject<T> {
    type Value = Told<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object of at most {FIELDS_MAX} fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut object, mut twin) = (T::default(), None);
        let mut seen: Vec<&str> = Vec::new();
        let mut count: usize = 0;
        while let Some(name) = map.next_key::<String>()? {
            count = count.saturating_add(1);
            if count > FIELDS_MAX {
                return Err(A::Error::custom(format_args!(
                    "more than {FIELDS_MAX} fields"
                )));
            }
            if let Some(field) = T::FIELDS.iter().find(|field| **field == name) {
                if seen.contains(field) {
                    return Err(A::Error::duplicate_field(field));
                }
                seen.push(field);
                object.take(field, &mut map)?;
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if twin.is_none() && is_alike(T::FIELDS, &name) {
                twin = Some(name.chars().take(80).collect());
            }
        }
        Ok(Told { object, twin })
    }
}

/// Whether Go takes `name` for one of `fields`: also the Kelvin sign is a k, and the long s an s.
fn is_alike(fields: &[&str], name: &str) -> bool {
    let folded = name.to_lowercase().to_uppercase();
    fields
        .iter()
        .any(|field| field.eq_ignore_ascii_case(&folded))
}
