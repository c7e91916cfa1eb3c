//! The data object that a secret is sealed in: what its public area must say, and nothing else (TPM 2.0 Part 2
//! §12.2.4).
//!
//! fixedTPM and fixedParent are clear, since an object with them cannot be imported (Part 3 §13.3). It is bound to
//! its TPM all the same: duplication and administration need a policy that names the command (Part 1 §19.7.4),
//! and its one policy names none.

use zeroize::Zeroizing;

use super::policy::ReleasePolicy;
use crate::tpm::hash::Hash;
use crate::tpm::reader::{Reader, TpmFormatError, write_sized};
use crate::tpm::template::attribute;

/// `TPM_ALG_KEYEDHASH` and `TPM_ALG_NULL` (Part 2 §6.3).
const ALG_KEYEDHASH: u16 = 0x0008;
const ALG_NULL: u16 = 0x0010;
/// Bytes of a `TPMT_SENSITIVE` with an empty authorization value and two parts of 32 bytes.
const SENSITIVE: usize = 72;

/// `TPMA_OBJECT`. userWithAuth is clear: with it the secret would be given out for an empty password, whatever the
/// state. It protects nothing by the authorization value, so it has no part in dictionary attacks.
pub const DATA_OBJECT_ATTRIBUTES: u32 = attribute::ADMIN_WITH_POLICY | attribute::NO_DA;

/// Why a public area is not the one that a release should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTheObject {
    /// It does not parse.
    #[error("the public area is malformed: {0}")]
    Malformed(TpmFormatError),
    /// It could be used, copied or changed in other ways.
    #[error(
        "the object attributes are {observed:#010x} where {DATA_OBJECT_ATTRIBUTES:#010x} are demanded"
    )]
    Attributes {
        /// As in the public area.
        observed: u32,
    },
    /// It would open in another state, or in several.
    #[error("the authorisation policy is not that of this boot, these PCRs and this lease")]
    Policy,
}

/// `TPMT_PUBLIC` of the object.
pub(super) fn public(policy: &ReleasePolicy, unique: &[u8]) -> Option<Vec<u8>> {
    let mut public = ALG_KEYEDHASH.to_be_bytes().to_vec();
    public.extend(Hash::Sha256.id().to_be_bytes());
    public.extend(DATA_OBJECT_ATTRIBUTES.to_be_bytes());
    write_sized(&mut public, &policy.digest().0)?;
    // No scheme: it is data, no HMAC key.
    public.extend(ALG_NULL.to_be_bytes());
    write_sized(&mut public, unique)?;
    Some(public)
}

/// `TPMT_SENSITIVE` (Part 2 §12.3.2) of the object.
pub(super) fn sensitive(obfuscation: &[u8], secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // It never grows, so that no copy of the secret stays behind.
    let mut sensitive = Zeroizing::new(Vec::with_capacity(SENSITIVE));
    sensitive.extend(ALG_KEYEDHASH.to_be_bytes());
    write_sized(&mut sensitive, &[])?;
    write_sized(&mut sensitive, obfuscation)?;
    write_sized(&mut sensitive, secret)?;
    Some(sensitive)
}

/// Whether `public` (`TPMT_PUBLIC`) opens by `policy` and in no other way.
pub fn check_object(public: &[u8], policy: &ReleasePolicy) -> Result<(), NotTheObject> {
    let (attributes, found) = parse(public).map_err(NotTheObject::Malformed)?;
    if attributes != DATA_OBJECT_ATTRIBUTES {
        return Err(NotTheObject::Attributes {
            observed: attributes,
        });
    }
    match found == policy.digest().0 {
        true => Ok(()),
        false => Err(NotTheObject::Policy),
    }
}

/// Attributes and policy of a data object with a Name by SHA-256.
fn parse(public: &[u8]) -> Result<(u32, &[u8]), TpmFormatError> {
    let mut reader = Reader::new(public);
    if reader.u16()? != ALG_KEYEDHASH {
        return Err(TpmFormatError::Unknown("object type"));
    }
    if Hash::from_id(reader.u16()?) != Some(Hash::Sha256) {
        return Err(TpmFormatError::Unknown("Name algorithm"));
    }
    let attributes = reader.u32()?;
    let policy = reader.sized(64, "authorisation policy")?;
    if reader.u16()? != ALG_NULL {
        return Err(TpmFormatError::Unknown("scheme"));
    }
    if reader.sized(64, "unique value")?.len() != 32 {
        return Err(TpmFormatError::Unknown("unique value"));
    }
    reader.finish()?;
    Ok((attributes, policy))
}
