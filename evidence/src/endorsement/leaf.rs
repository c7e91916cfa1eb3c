//! The EK certificate by itself: its profile (TCG EK Credential Profile) and its key.

use super::certificate::{Certificate, EK_PURPOSE};
use super::error::EndorsementError;
use super::path::{check_key, check_validity};
use super::public_key::PublicKey;
use super::roca::bears_roca_mark;
use super::tpm_name::TpmName;

/// Checks all that needs no issuer and returns the TPM that the certificate names. Whether anybody
/// vouches for it remains open.
pub(super) fn check_leaf(
    leaf: &Certificate,
    ek: &PublicKey,
    now: i64,
) -> Result<TpmName, EndorsementError> {
    check_validity(leaf, now)?;
    let extensions = &leaf.extensions;
    if extensions.is_ca {
        return Err(EndorsementError::LeafIsCa);
    }
    let may_sign = |usage: super::certificate::KeyUsage| usage.cert_sign || usage.crl_sign;
    if extensions.key_usage.is_some_and(may_sign) {
        return Err(EndorsementError::LeafMaySign);
    }
    let purposes = extensions.purposes.iter().flatten();
    if !purposes.into_iter().any(|purpose| purpose == EK_PURPOSE) {
        return Err(EndorsementError::NotAnEk);
    }
    let tpm_name = extensions.tpm_name.clone();
    let tpm_name = tpm_name.ok_or(EndorsementError::TpmNameMissing)??;
    if leaf.subject.is_empty() && !extensions.alt_name_is_critical {
        return Err(EndorsementError::AltNameNotCritical);
    }
    check_key(leaf)?;
    if leaf.key != *ek {
        return Err(EndorsementError::KeyMismatch);
    }
    if let PublicKey::Rsa { modulus, .. } = ek
        && bears_roca_mark(modulus)
    {
        return Err(EndorsementError::Roca);
    }
    Ok(tpm_name)
}
