//! `TPMT_SIGNATURE` (TPM 2.0 Part 2 §11.3.4) and its verification.

use aws_lc_rs::signature::{self, UnparsedPublicKey};

use super::public::{Key, Public};
use super::reader::{Reader, TpmFormatError};

const ALG_RSASSA: u16 = 0x0014;
const ALG_ECDSA: u16 = 0x0018;
const ALG_SHA256: u16 = 0x000b;

/// A parsed signature; both schemes hash with SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// ECDSA: `r` and `s`, big-endian, leading zeros as the TPM left them.
    Ecdsa {
        /// First half.
        r: Vec<u8>,
        /// Second half.
        s: Vec<u8>,
    },
    /// RSASSA-PKCS1-v1_5.
    Rsassa(Vec<u8>),
}

/// The signature is not one by this key over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under the key")]
pub struct BadSignature;

impl Signature {
    /// Parses the whole of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmFormatError> {
        let mut reader = Reader::new(bytes);
        let scheme = reader.u16()?;
        if reader.u16()? != ALG_SHA256 {
            return Err(TpmFormatError::Unknown("signature's hash"));
        }
        let signature = match scheme {
            ALG_ECDSA => Self::Ecdsa {
                r: reader.sized(32, "signature's r")?.to_vec(),
                s: reader.sized(32, "signature's s")?.to_vec(),
            },
            ALG_RSASSA => Self::Rsassa(reader.sized(512, "signature")?.to_vec()),
            _ => return Err(TpmFormatError::Unknown("signature scheme")),
        };
        reader.finish()?;
        Ok(signature)
    }

    /// Verifies it over `message`. The scheme must be the kind that `key` makes.
    pub fn verify(&self, key: &Public, message: &[u8]) -> Result<(), BadSignature> {
        let verified = match (self, key.key()) {
            (Self::Ecdsa { r, s }, Key::P256 { x, y }) => {
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                let mut fixed = [0; 64];
                let (left, right) = fixed.split_at_mut(32);
                pad_left(left, r).ok_or(BadSignature)?;
                pad_left(right, s).ok_or(BadSignature)?;
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, &fixed)
            }
            (Self::Rsassa(bytes), Key::Rsa { modulus }) => {
                let exponent = super::public::RSA_EXPONENT.to_be_bytes();
                signature::RsaPublicKeyComponents {
                    n: modulus.as_slice(),
                    e: exponent.get(1..).unwrap_or_default(),
                }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, bytes)
            }
            _ => return Err(BadSignature),
        };
        verified.map_err(|_| BadSignature)
    }
}

/// Copies `value` to the right end of `out`, zeros before it; `None` when it does not fit.
pub(crate) fn pad_left(out: &mut [u8], value: &[u8]) -> Option<()> {
    let at = out.len().checked_sub(value.len())?;
    out.get_mut(at..)?.copy_from_slice(value);
    Some(())
}
