//! `TPMT_PUBLIC` (TPM 2.0 Part 2 §12.2.4): the public area of a key, its Name, its SubjectPublicKeyInfo.

use super::reader::{Reader, TpmFormatError};
use super::signature::pad_left;
use crate::digest::Sha256Digest;

const ALG_RSA: u16 = 0x0001;
const ALG_AES: u16 = 0x0006;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_RSASSA: u16 = 0x0014;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
const ECC_NIST_P256: u16 = 0x0003;

/// The only RSA exponent that TPMs use by default; written as 0 in the public area.
pub(crate) const RSA_EXPONENT: u32 = 65_537;

/// `TPMA_OBJECT` bits (Part 2 §8.3).
pub mod attribute {
    /// The key never leaves this TPM.
    pub const FIXED_TPM: u32 = 1 << 1;
    /// The key never changes its parent.
    pub const FIXED_PARENT: u32 = 1 << 4;
    /// The TPM made the secret part itself.
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    /// Use needs the authorisation value.
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    /// Administration needs the policy.
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    /// Exempt from dictionary-attack protection.
    pub const NO_DA: u32 = 1 << 10;
    /// Signs or decrypts only what the TPM made.
    pub const RESTRICTED: u32 = 1 << 16;
    /// May decrypt.
    pub const DECRYPT: u32 = 1 << 17;
    /// May sign.
    pub const SIGN: u32 = 1 << 18;
}

/// Attributes of an EK by the low-range template (TCG EK Credential Profile 2.5 §B.3).
const EK_ATTRIBUTES: u32 = attribute::FIXED_TPM
    | attribute::FIXED_PARENT
    | attribute::SENSITIVE_DATA_ORIGIN
    | attribute::ADMIN_WITH_POLICY
    | attribute::RESTRICTED
    | attribute::DECRYPT;

/// `PolicySecret(TPM_RH_ENDORSEMENT)` (EK Credential Profile 2.5 §B.6.2, PolicyA for SHA-256).
const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// The public numbers of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA with exponent 65537; the modulus is big-endian, 256 bytes.
    Rsa {
        /// Modulus.
        modulus: Vec<u8>,
    },
    /// A point on NIST P-256, each coordinate 32 bytes.
    P256 {
        /// First coordinate.
        x: [u8; 32],
        /// Second coordinate.
        y: [u8; 32],
    },
}

/// A parsed public area with SHA-256 as its Name algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    bytes: Vec<u8>,
    attributes: u32,
    policy: Vec<u8>,
    /// `TPMT_SYM_DEF_OBJECT`: (algorithm, key bits, mode); (NULL, 0, 0) without one.
    symmetric: (u16, u16, u16),
    /// Scheme and its hash; (NULL, 0) without one.
    scheme: (u16, u16),
    key: Key,
}

/// Why a public area is not the kind of key that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyTemplateError {
    /// Attributes differ.
    #[error("the object attributes are {observed:#010x} where {expected:#010x} are demanded")]
    Attributes {
        /// As in the public area.
        observed: u32,
        /// As the template demands.
        expected: u32,
    },
    /// The policy differs from the template's.
    #[error("the authorisation policy is not the template's")]
    Policy,
    /// The symmetric or signing scheme differs from the template's.
    #[error("the key's scheme is not the template's")]
    Scheme,
}

impl Public {
    /// Parses the whole of `bytes` (a `TPMT_PUBLIC`, without the size of a `TPM2B_PUBLIC`).
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmFormatError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u16()?;
        if reader.u16()? != ALG_SHA256 {
            return Err(TpmFormatError::Unknown("Name algorithm"));
        }
        let attributes = reader.u32()?;
        let policy = reader.sized(64, "authorisation policy")?.to_vec();
        let symmetric = read_symmetric(&mut reader)?;
        let scheme = read_scheme(&mut reader)?;
        let key = match kind {
            ALG_RSA => read_rsa(&mut reader)?,
            ALG_ECC => read_ecc(&mut reader)?,
            _ => return Err(TpmFormatError::Unknown("key type")),
        };
        reader.finish()?;
        Ok(Self {
            bytes: bytes.to_vec(),
            attributes,
            policy,
            symmetric,
            scheme,
            key,
        })
    }

    /// The bytes it was parsed from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The public numbers.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Its Name: the algorithm and the digest of the public area (Part 1 §16).
    #[must_use]
    pub fn name(&self) -> Name {
        Name::of(&self.bytes)
    }

    /// DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), `rsaEncryption` or `id-ecPublicKey`.
    #[must_use]
    pub fn subject_public_key_info(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa { modulus } => rsa_spki(modulus),
            Key::P256 { x, y } => [&P256_SPKI_PREFIX, x.as_slice(), y.as_slice()].concat(),
        }
    }

    /// SHA-256 of the SubjectPublicKeyInfo: how an EK is named everywhere.
    #[must_use]
    pub fn spki_digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.subject_public_key_info())
    }

    /// Whether it is an endorsement key by the default RSA-2048 template: restricted decryption,
    /// AES-128-CFB, endorsement policy.
    pub fn check_endorsement_template(&self) -> Result<(), KeyTemplateError> {
        self.check_attributes(EK_ATTRIBUTES)?;
        if self.policy != EK_POLICY {
            return Err(KeyTemplateError::Policy);
        }
        if self.symmetric != (ALG_AES, 128, ALG_CFB) || self.scheme.0 != ALG_NULL {
            return Err(KeyTemplateError::Scheme);
        }
        Ok(())
    }

    /// Whether it is an attestation key as the agent makes it: it signs only what this TPM made,
    /// and cannot leave it.
    pub fn check_attestation_template(&self) -> Result<(), KeyTemplateError> {
        self.check_attributes(
            attribute::FIXED_TPM
                | attribute::FIXED_PARENT
                | attribute::SENSITIVE_DATA_ORIGIN
                | attribute::USER_WITH_AUTH
                | attribute::NO_DA
                | attribute::RESTRICTED
                | attribute::SIGN,
        )?;
        if !self.policy.is_empty() {
            return Err(KeyTemplateError::Policy);
        }
        let scheme = match self.key {
            Key::Rsa { .. } => ALG_RSASSA,
            Key::P256 { .. } => ALG_ECDSA,
        };
        if self.scheme != (scheme, ALG_SHA256) || self.symmetric.0 != ALG_NULL {
            return Err(KeyTemplateError::Scheme);
        }
        Ok(())
    }

    fn check_attributes(&self, expected: u32) -> Result<(), KeyTemplateError> {
        if self.attributes == expected {
            return Ok(());
        }
        Err(KeyTemplateError::Attributes {
            observed: self.attributes,
            expected,
        })
    }
}

/// The Name of a TPM object or NV index: `TPM_ALG_SHA256` and 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name([u8; 34]);

impl Name {
    /// The Name of the entity whose public area is `public`.
    #[must_use]
    pub fn of(public: &[u8]) -> Self {
        Self::with_digest(Sha256Digest::of(public))
    }

    /// The Qualified Name of a primary key with this Name under `hierarchy`
    /// (Part 1 §16: digest over the parent's Qualified Name and the Name).
    #[must_use]
    pub fn qualified_under_hierarchy(&self, hierarchy: u32) -> Self {
        Self::with_digest(Sha256Digest::of_parts(&[&hierarchy.to_be_bytes(), &self.0]))
    }

    /// The Qualified Name of a key with this Name under a parent with that Qualified Name.
    #[must_use]
    pub fn qualified_under(&self, parent: &Self) -> Self {
        Self::with_digest(Sha256Digest::of_parts(&[&parent.0, &self.0]))
    }

    /// The 34 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn with_digest(digest: Sha256Digest) -> Self {
        let mut name = [0; 34];
        let (algorithm, value) = name.split_at_mut(2);
        algorithm.copy_from_slice(&ALG_SHA256.to_be_bytes());
        value.copy_from_slice(&digest.0);
        Self(name)
    }
}

fn read_symmetric(reader: &mut Reader<'_>) -> Result<(u16, u16, u16), TpmFormatError> {
    match reader.u16()? {
        ALG_NULL => Ok((ALG_NULL, 0, 0)),
        ALG_AES => Ok((ALG_AES, reader.u16()?, reader.u16()?)),
        _ => Err(TpmFormatError::Unknown("symmetric algorithm")),
    }
}

fn read_scheme(reader: &mut Reader<'_>) -> Result<(u16, u16), TpmFormatError> {
    match reader.u16()? {
        ALG_NULL => Ok((ALG_NULL, 0)),
        scheme @ (ALG_RSASSA | ALG_ECDSA) => Ok((scheme, reader.u16()?)),
        _ => Err(TpmFormatError::Unknown("signing scheme")),
    }
}

fn read_rsa(reader: &mut Reader<'_>) -> Result<Key, TpmFormatError> {
    let bits = reader.u16()?;
    let exponent = reader.u32()?;
    if bits != 2048 || !matches!(exponent, 0 | RSA_EXPONENT) {
        return Err(TpmFormatError::Unknown("RSA key size or exponent"));
    }
    let modulus = reader.sized(256, "RSA modulus")?.to_vec();
    // A short or small modulus would pass for a strong key by its declared size.
    if modulus.len() != 256 || modulus.first().is_none_or(|top| *top < 0x80) {
        return Err(TpmFormatError::Unknown("RSA modulus"));
    }
    Ok(Key::Rsa { modulus })
}

fn read_ecc(reader: &mut Reader<'_>) -> Result<Key, TpmFormatError> {
    let curve = reader.u16()?;
    let kdf = reader.u16()?;
    if curve != ECC_NIST_P256 || kdf != ALG_NULL {
        return Err(TpmFormatError::Unknown("elliptic curve"));
    }
    let mut coordinate = || {
        let mut fixed = [0; 32];
        let value = reader.sized(32, "point")?;
        pad_left(&mut fixed, value).ok_or(TpmFormatError::TooMany("point"))?;
        Ok(fixed)
    };
    Ok(Key::P256 {
        x: coordinate()?,
        y: coordinate()?,
    })
}

/// DER up to the uncompressed point: SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING 04… }.
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// SEQUENCE { rsaEncryption, NULL }.
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

fn rsa_spki(modulus: &[u8]) -> Vec<u8> {
    let modulus = der(0x02, &[&[0], modulus].concat());
    let exponent = [0x02, 0x03, 0x01, 0x00, 0x01];
    let key = der(0x30, &[modulus.as_slice(), &exponent].concat());
    let bits = der(0x03, &[&[0], key.as_slice()].concat());
    der(0x30, &[RSA_ALGORITHM.as_slice(), &bits].concat())
}

/// A DER value of less than 64 KiB: tag, length in its shortest form, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let mut out = vec![tag];
    match (high, low) {
        (0, 0..=0x7f) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}
