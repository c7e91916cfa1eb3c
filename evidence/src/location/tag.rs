//! The bytes of a location tag: version, fields, Ed25519 signature. Big-endian.
//!
//! `1 | authority[32] | ek_set[32] | serial u64 | not_before i64 | not_after i64 | country[2] |
//! subdivision (u8 length) | site (u8 length) | signature[64]`

use super::place::{Country, Place};
use crate::digest::Sha256Digest;
use crate::tpm::reader::{Reader, TpmFormatError};

/// Largest signed tag, bytes.
pub const TAG_MAX: usize = 512;
/// What is signed is this, then the body.
const DOMAIN: &[u8] = b"touchstone location tag v1\0";
const VERSION: u8 = 1;

/// What an authority says about one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationTag {
    /// Id of the authority's key.
    pub authority: Sha256Digest,
    /// [`ek_set_digest`](super::ek_set_digest) of the machine.
    pub ek_set: Sha256Digest,
    /// Rises with each tag for this machine.
    pub serial: u64,
    /// Seconds since 1970 from which it holds.
    pub not_before: i64,
    /// Seconds since 1970 from which it no longer holds.
    pub not_after: i64,
    /// Where the machine stands.
    pub place: Place,
}

/// Bytes that are not a location tag, or a tag that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagFormatError {
    /// Of another version.
    #[error("the tag's version is not {VERSION}")]
    Version,
    /// Too short, too long or with bytes left over.
    #[error("{0}")]
    Shape(#[from] TpmFormatError),
    /// The place is none.
    #[error("the tag's place is not one")]
    Place,
    /// It ends before it begins.
    #[error("the tag's validity ends before it begins")]
    Validity,
}

impl LocationTag {
    pub(super) fn encode(&self) -> Result<Vec<u8>, TagFormatError> {
        if self.not_after <= self.not_before {
            return Err(TagFormatError::Validity);
        }
        let mut out = vec![VERSION];
        out.extend(self.authority.0);
        out.extend(self.ek_set.0);
        out.extend(self.serial.to_be_bytes());
        out.extend(self.not_before.to_be_bytes());
        out.extend(self.not_after.to_be_bytes());
        out.extend(self.place.country().as_str().as_bytes());
        for text in [
            self.place.subdivision().unwrap_or_default(),
            self.place.site(),
        ] {
            out.push(u8::try_from(text.len()).map_err(|_| TagFormatError::Place)?);
            out.extend(text.as_bytes());
        }
        Ok(out)
    }

    /// The tag, the bytes that are signed, and the signature.
    pub(super) fn parse(signed: &[u8]) -> Result<(Self, &[u8], [u8; 64]), TagFormatError> {
        if signed.len() > TAG_MAX {
            return Err(TpmFormatError::TooMany("tag's bytes").into());
        }
        let (body, signature) = signed
            .split_last_chunk::<64>()
            .ok_or(TpmFormatError::Truncated)?;
        let mut reader = Reader::new(body);
        if reader.u8()? != VERSION {
            return Err(TagFormatError::Version);
        }
        let tag = Self {
            authority: read_digest(&mut reader)?,
            ek_set: read_digest(&mut reader)?,
            serial: reader.u64()?,
            not_before: reader.u64()?.cast_signed(),
            not_after: reader.u64()?.cast_signed(),
            place: read_place(&mut reader)?,
        };
        reader.finish()?;
        if tag.not_after <= tag.not_before {
            return Err(TagFormatError::Validity);
        }
        Ok((tag, body, *signature))
    }
}

/// Domain and body.
pub(super) fn signed_bytes(body: &[u8]) -> Vec<u8> {
    [DOMAIN, body].concat()
}

fn read_digest(reader: &mut Reader<'_>) -> Result<Sha256Digest, TagFormatError> {
    Sha256Digest::try_from(reader.bytes(32)?).map_err(|_| TpmFormatError::Truncated.into())
}

fn read_place(reader: &mut Reader<'_>) -> Result<Place, TagFormatError> {
    let code = reader.bytes(2)?;
    let country = <[u8; 2]>::try_from(code)
        .ok()
        .and_then(Country::from_bytes)
        .ok_or(TagFormatError::Place)?;
    let subdivision = read_text(reader)?;
    let site = read_text(reader)?;
    let subdivision = (!subdivision.is_empty()).then_some(subdivision);
    Place::new(country.as_str(), subdivision, site).map_err(|_| TagFormatError::Place)
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, TagFormatError> {
    let length = usize::from(reader.u8()?);
    std::str::from_utf8(reader.bytes(length)?).map_err(|_| TagFormatError::Place)
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        let country = proptest::sample::select(vec!["DE", "US", "CH", "JP"]);
        (country, option::of("[A-Z0-9]{1,3}"), "[a-zA-Z0-9_.-]{1,64}").prop_map(
            |(country, subdivision, site)| {
                let subdivision = subdivision.map(|code| format!("{country}-{code}"));
                Place::new(country, subdivision.as_deref(), &site).unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn a_tag_comes_back_and_no_part_of_it_does(
            (authority, ek_set, serial) in any::<([u8; 32], [u8; 32], u64)>(),
            (not_before, length) in (any::<i32>(), 1..i64::from(u32::MAX)),
            place in place(),
            signature in any::<[u8; 32]>(),
        ) {
            let not_before = i64::from(not_before);
            let tag = LocationTag {
                authority: Sha256Digest(authority),
                ek_set: Sha256Digest(ek_set),
                serial,
                not_before,
                not_after: not_before + length,
                place,
            };
            let body = tag.encode().unwrap();
            let signed = [&body[..], &signature, &signature].concat();
            let (read, signed_body, read_signature) = LocationTag::parse(&signed).unwrap();
            prop_assert_eq!(read, tag);
            prop_assert_eq!(signed_body, &body[..]);
            prop_assert_eq!(read_signature.to_vec(), [signature, signature].concat());
            for length in 0..signed.len() {
                prop_assert!(LocationTag::parse(&signed[..length]).is_err(), "{length}");
            }
            let longer = [&body[..], &[0], &signature, &signature].concat();
            prop_assert!(LocationTag::parse(&longer).is_err());
        }
    }
}
