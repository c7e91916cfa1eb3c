//! Public keys by value, and certificate signatures under them.

use aws_lc_rs::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::tpm::{public, spki};

/// Shorter moduli are refused everywhere, in bits.
pub(super) const MIN_RSA_BITS: usize = 2048;

/// Longer moduli make a verification dear for nothing, in bits.
const MAX_RSA_BITS: usize = 8192;

/// A key as a value: equal however its algorithm identifier and integers were encoded. An RSA EK
/// may be certified as rsaEncryption or as RSAES-OAEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Unsigned, most significant byte first, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// An uncompressed point, 0x04 ‖ x ‖ y.
    Ec { curve: Curve, point: Vec<u8> },
    /// Kept, because a certificate that no path uses may hold any key.
    Unsupported(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// How a certificate is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignatureAlgorithm {
    RsaPkcs1(Hash),
    Ecdsa(Hash),
    /// Named apart: some old vendor intermediates are signed so, and collisions can be bought.
    Sha1,
    Unsupported(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyFault {
    WeakRsa(usize),
    Unsupported(String),
}

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignatureFault {
    Sha1,
    Algorithm(String),
    Forged,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo. What it cannot use becomes [`PublicKey::Unsupported`].
    pub(super) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = spki.algorithm.algorithm.to_id_string();
        let bits = &spki.subject_public_key;
        let key = match algorithm.as_str() {
            _ if bits.unused_bits != 0 => None,
            // rsaEncryption, RSAES-OAEP (RFC 4055 §4)
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.7" => rsa(&bits.data),
            "1.2.840.10045.2.1" => ec(&spki.algorithm, &bits.data),
            _ => None,
        };
        key.unwrap_or(Self::Unsupported(algorithm))
    }

    /// Reads a SubjectPublicKeyInfo that is nothing else, with one of the algorithm identifiers
    /// that the key's digest is defined over: rsaEncryption or id-ecPublicKey.
    pub(super) fn of_canonical(der: &[u8]) -> Option<Self> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let algorithm = spki.algorithm.algorithm.to_id_string();
        let canonical = matches!(
            algorithm.as_str(),
            "1.2.840.113549.1.1.1" | "1.2.840.10045.2.1"
        );
        let key = Self::of(&spki);
        (rest.is_empty() && canonical && !matches!(key, Self::Unsupported(_))).then_some(key)
    }

    /// Its SubjectPublicKeyInfo with the algorithm identifier that the key's digest is defined over; `None` for
    /// a key that no EK can be.
    pub(super) fn canonical(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa { modulus, exponent } => Some(spki::of_rsa(modulus, exponent)),
            Self::Ec { curve, point } => {
                let curve = match curve {
                    Curve::P256 => public::Curve::P256,
                    Curve::P384 => public::Curve::P384,
                    Curve::P521 => return None,
                };
                Some(spki::of_point(curve, point))
            }
            Self::Unsupported(_) => None,
        }
    }

    /// Refuses keys that are too weak, or unknown.
    pub(super) fn check(&self) -> Result<(), KeyFault> {
        match self {
            Self::Rsa { modulus, .. } => match bit_length(modulus) {
                bits if bits < MIN_RSA_BITS => Err(KeyFault::WeakRsa(bits)),
                bits if bits > MAX_RSA_BITS => {
                    Err(KeyFault::Unsupported(format!("RSA of {bits} bits")))
                }
                _ => Ok(()),
            },
            Self::Ec { .. } => Ok(()),
            Self::Unsupported(algorithm) => Err(KeyFault::Unsupported(algorithm.clone())),
        }
    }

    /// Checks a signature by this key, which [`PublicKey::check`] has accepted.
    pub(super) fn verify(
        &self,
        algorithm: &SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureFault> {
        match (self, algorithm) {
            (_, SignatureAlgorithm::Sha1) => Err(SignatureFault::Sha1),
            (_, SignatureAlgorithm::Unsupported(oid)) => {
                Err(SignatureFault::Algorithm(oid.clone()))
            }
            (Self::Rsa { modulus, exponent }, SignatureAlgorithm::RsaPkcs1(hash)) => {
                let (n, e) = (modulus, exponent);
                RsaPublicKeyComponents { n, e }
                    .verify(rsa_parameters(*hash), message, signature)
                    .map_err(|_| SignatureFault::Forged)
            }
            (Self::Ec { curve, point }, SignatureAlgorithm::Ecdsa(hash)) => {
                UnparsedPublicKey::new(ecdsa_algorithm(*curve, *hash), point)
                    .verify(message, signature)
                    .map_err(|_| SignatureFault::Forged)
            }
            // An RSA signature cannot come from an EC key, nor the other way round.
            _ => Err(SignatureFault::Forged),
        }
    }
}

impl SignatureAlgorithm {
    /// Object identifiers of RFC 4055 §5, RFC 5758 §3.2. RSA-PSS is left out: none of the 169 vendor
    /// certificates of the test corpus uses it.
    pub(super) fn of(identifier: &AlgorithmIdentifier<'_>) -> Self {
        let oid = identifier.algorithm.to_id_string();
        match oid.as_str() {
            "1.2.840.113549.1.1.11" => Self::RsaPkcs1(Hash::Sha256),
            "1.2.840.113549.1.1.12" => Self::RsaPkcs1(Hash::Sha384),
            "1.2.840.113549.1.1.13" => Self::RsaPkcs1(Hash::Sha512),
            "1.2.840.10045.4.3.2" => Self::Ecdsa(Hash::Sha256),
            "1.2.840.10045.4.3.3" => Self::Ecdsa(Hash::Sha384),
            "1.2.840.10045.4.3.4" => Self::Ecdsa(Hash::Sha512),
            "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.3.14.3.2.29" => Self::Sha1,
            _ => Self::Unsupported(oid),
        }
    }
}

fn rsa(der: &[u8]) -> Option<PublicKey> {
    let (rest, key) = RSAPublicKey::from_der(der).ok()?;
    let modulus = without_leading_zeros(key.modulus);
    let exponent = without_leading_zeros(key.exponent);
    (rest.is_empty() && !modulus.is_empty() && !exponent.is_empty())
        .then_some(PublicKey::Rsa { modulus, exponent })
}

fn ec(algorithm: &AlgorithmIdentifier<'_>, point: &[u8]) -> Option<PublicKey> {
    let curve = algorithm.parameters.as_ref()?.clone().oid().ok()?;
    // RFC 5480 §2.1.1.1; a point is one byte and two coordinates.
    let (curve, length) = match curve.to_id_string().as_str() {
        "1.2.840.10045.3.1.7" => (Curve::P256, 65),
        "1.3.132.0.34" => (Curve::P384, 97),
        "1.3.132.0.35" => (Curve::P521, 133),
        _ => return None,
    };
    let point = point.to_vec();
    (point.first() == Some(&0x04) && point.len() == length)
        .then_some(PublicKey::Ec { curve, point })
}

fn without_leading_zeros(integer: &[u8]) -> Vec<u8> {
    integer
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect()
}

fn bit_length(integer: &[u8]) -> usize {
    let leading = integer.first().map_or(0, |byte| byte.leading_zeros());
    let leading = usize::try_from(leading).unwrap_or(0);
    integer.len().saturating_mul(8).saturating_sub(leading)
}

fn rsa_parameters(hash: Hash) -> &'static RsaParameters {
    match hash {
        Hash::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

fn ecdsa_algorithm(curve: Curve, hash: Hash) -> &'static dyn VerificationAlgorithm {
    match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Hash::Sha512) => &signature::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Hash::Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha512) => &signature::ECDSA_P384_SHA512_ASN1,
        (Curve::P521, Hash::Sha256) => &signature::ECDSA_P521_SHA256_ASN1,
        (Curve::P521, Hash::Sha384) => &signature::ECDSA_P521_SHA384_ASN1,
        (Curve::P521, Hash::Sha512) => &signature::ECDSA_P521_SHA512_ASN1,
    }
}
