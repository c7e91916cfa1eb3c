//! `TPMT_SIGNATURE` (TPM 2.0 Part 2 §11.3.4) and its verification.
//!
//! RSASSA-PSS is accepted with a salt as long as the hash (Part 1 §B.7 for keys under FIPS rules, and
//! what swtpm makes); TPMs that use the longest salt must make another kind of AK.

use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

use super::hash::Hash;
use super::public::{ALG_ECDSA, ALG_RSAPSS, ALG_RSASSA, Curve, Key, Public, RSA_EXPONENT, Scheme};
use super::reader::{Reader, TpmFormatError};

/// A parsed signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    scheme: Scheme,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// Big-endian, leading zeros as the TPM left them.
    Ecdsa {
        r: Vec<u8>,
        s: Vec<u8>,
    },
    Rsa(Vec<u8>),
}

/// The signature is not one by this key over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under the key")]
pub struct BadSignature;

impl Signature {
    /// Parses the whole of `bytes`. A SHA-1 signature does not parse.
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmFormatError> {
        let mut reader = Reader::new(bytes);
        let algorithm = reader.u16()?;
        let hash =
            Hash::from_id(reader.u16()?).ok_or(TpmFormatError::Unknown("signature's hash"))?;
        let scheme = match algorithm {
            ALG_ECDSA => Scheme::Ecdsa(hash),
            ALG_RSASSA => Scheme::Rsassa(hash),
            ALG_RSAPSS => Scheme::RsaPss(hash),
            _ => return Err(TpmFormatError::Unknown("signature scheme")),
        };
        let value = match scheme {
            Scheme::Ecdsa(_) => Value::Ecdsa {
                r: reader.sized(48, "signature's r")?.to_vec(),
                s: reader.sized(48, "signature's s")?.to_vec(),
            },
            Scheme::Rsassa(_) | Scheme::RsaPss(_) => {
                Value::Rsa(reader.sized(384, "signature")?.to_vec())
            }
        };
        reader.finish()?;
        Ok(Self { scheme, value })
    }

    /// How it was made.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Verifies it over `message`. The scheme must be the kind that `key` makes, and the one that it
    /// fixes if it fixes one.
    pub fn verify(&self, key: &Public, message: &[u8]) -> Result<(), BadSignature> {
        if key.scheme().is_some_and(|fixed| fixed != self.scheme) {
            return Err(BadSignature);
        }
        match (&self.value, key.key()) {
            (Value::Ecdsa { r, s }, Key::Ec { curve, .. }) => {
                let point = key.key().point().ok_or(BadSignature)?;
                let fixed = fixed_size(r, s, curve.size()).ok_or(BadSignature)?;
                let algorithm = match (curve, self.scheme.hash()) {
                    (Curve::P256, Hash::Sha256) => &signature::ECDSA_P256_SHA256_FIXED,
                    (Curve::P384, Hash::Sha384) => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => return Err(BadSignature),
                };
                UnparsedPublicKey::new(algorithm, point).verify(message, &fixed)
            }
            (Value::Rsa(value), Key::Rsa { modulus }) => {
                let exponent = RSA_EXPONENT.to_be_bytes();
                let components = RsaPublicKeyComponents {
                    n: modulus.as_slice(),
                    e: exponent.get(1..).unwrap_or_default(),
                };
                let parameters = rsa_parameters(self.scheme).ok_or(BadSignature)?;
                components.verify(parameters, message, value)
            }
            _ => return Err(BadSignature),
        }
        .map_err(|_| BadSignature)
    }
}

fn rsa_parameters(scheme: Scheme) -> Option<&'static RsaParameters> {
    match scheme {
        Scheme::Rsassa(Hash::Sha256) => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Scheme::Rsassa(Hash::Sha384) => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Scheme::RsaPss(Hash::Sha256) => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Scheme::RsaPss(Hash::Sha384) => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Scheme::Ecdsa(_) => None,
    }
}

/// Both halves at the full size of a coordinate.
fn fixed_size(r: &[u8], s: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut fixed = vec![0; size.checked_mul(2)?];
    let (left, right) = fixed.split_at_mut_checked(size)?;
    pad_left(left, r)?;
    pad_left(right, s)?;
    Some(fixed)
}

/// Copies `value` to the right end of `out`, zeros before it; `None` when it does not fit.
pub(crate) fn pad_left(out: &mut [u8], value: &[u8]) -> Option<()> {
    let at = out.len().checked_sub(value.len())?;
    out.get_mut(at..)?.copy_from_slice(value);
    Some(())
}
