//! `TPMT_PUBLIC` (TPM 2.0 Part 2 §12.2.4): the public area of a key.
//!
//! Not established here: that any TPM holds the key. That takes a signature or an activation.

use super::hash::Hash;
use super::name::Name;
use super::reader::{Reader, TpmFormatError};
use super::signature::pad_left;
use super::spki;
use crate::digest::Sha256Digest;

const ALG_RSA: u16 = 0x0001;
const ALG_AES: u16 = 0x0006;
pub(super) const ALG_NULL: u16 = 0x0010;
pub(super) const ALG_RSASSA: u16 = 0x0014;
pub(super) const ALG_RSAPSS: u16 = 0x0016;
pub(super) const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;

/// The only RSA exponent that TPMs use by default; written as 0 in the public area.
pub(crate) const RSA_EXPONENT: u32 = 65_537;

/// NIST curves that TPMs have EKs and AKs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// `TPM_ECC_NIST_P256`.
    P256,
    /// `TPM_ECC_NIST_P384`.
    P384,
}

impl Curve {
    /// Bytes of a coordinate.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

/// The public numbers of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA with exponent 65537; the modulus is big-endian, 128, 256 or 384 bytes. The shortest is read so that
    /// it can be refused for what it is: no template has it.
    Rsa {
        /// Modulus.
        modulus: Vec<u8>,
    },
    /// A point; each coordinate as long as the curve's.
    Ec {
        /// On which curve.
        curve: Curve,
        /// First coordinate.
        x: Vec<u8>,
        /// Second coordinate.
        y: Vec<u8>,
    },
}

impl Key {
    /// The uncompressed point (SEC 1 §2.3.3); `None` for RSA.
    #[must_use]
    pub fn point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa { .. } => None,
            Self::Ec { x, y, .. } => Some([&[4], x.as_slice(), y.as_slice()].concat()),
        }
    }
}

/// `TPMT_SYM_DEF_OBJECT` of a storage key: AES in CFB mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetric {
    /// AES-128-CFB.
    Aes128,
    /// AES-256-CFB.
    Aes256,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Rsassa(Hash),
    /// RSASSA-PSS.
    RsaPss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
}

impl Scheme {
    /// The hash of what is signed, and of the PCRs in a quote.
    #[must_use]
    pub fn hash(self) -> Hash {
        match self {
            Self::Rsassa(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) => hash,
        }
    }
}

/// A parsed public area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    bytes: Vec<u8>,
    pub(super) name_hash: Hash,
    pub(super) attributes: u32,
    pub(super) policy: Vec<u8>,
    pub(super) symmetric: Option<Symmetric>,
    pub(super) scheme: Option<Scheme>,
    key: Key,
}

impl Public {
    /// Parses the whole of `bytes` (a `TPMT_PUBLIC`, without the size of a `TPM2B_PUBLIC`).
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmFormatError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u16()?;
        let name_hash =
            Hash::from_id(reader.u16()?).ok_or(TpmFormatError::Unknown("Name algorithm"))?;
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
            name_hash,
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

    /// The algorithm of its Name, and of what it protects.
    #[must_use]
    pub fn name_hash(&self) -> Hash {
        self.name_hash
    }

    /// What it encrypts its children with, if it is a storage key.
    #[must_use]
    pub fn symmetric(&self) -> Option<Symmetric> {
        self.symmetric
    }

    /// How it signs, if it is fixed.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// Its Name.
    #[must_use]
    pub fn name(&self) -> Name {
        Name::of(self.name_hash, &self.bytes)
    }

    /// DER SubjectPublicKeyInfo, `rsaEncryption` or `id-ecPublicKey`.
    #[must_use]
    pub fn subject_public_key_info(&self) -> Vec<u8> {
        spki::of(&self.key)
    }

    /// SHA-256 of the SubjectPublicKeyInfo: how an EK is named everywhere.
    #[must_use]
    pub fn spki_digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.subject_public_key_info())
    }
}

fn read_symmetric(reader: &mut Reader<'_>) -> Result<Option<Symmetric>, TpmFormatError> {
    let unknown = TpmFormatError::Unknown("symmetric algorithm");
    match reader.u16()? {
        ALG_NULL => Ok(None),
        ALG_AES => match (reader.u16()?, reader.u16()?) {
            (128, ALG_CFB) => Ok(Some(Symmetric::Aes128)),
            (256, ALG_CFB) => Ok(Some(Symmetric::Aes256)),
            _ => Err(unknown),
        },
        _ => Err(unknown),
    }
}

fn read_scheme(reader: &mut Reader<'_>) -> Result<Option<Scheme>, TpmFormatError> {
    let scheme = reader.u16()?;
    if scheme == ALG_NULL {
        return Ok(None);
    }
    let hash = reader.u16()?;
    let hash = Hash::from_id(hash).ok_or(TpmFormatError::Unknown("signing scheme's hash"))?;
    match scheme {
        ALG_RSASSA => Ok(Some(Scheme::Rsassa(hash))),
        ALG_RSAPSS => Ok(Some(Scheme::RsaPss(hash))),
        ALG_ECDSA => Ok(Some(Scheme::Ecdsa(hash))),
        _ => Err(TpmFormatError::Unknown("signing scheme")),
    }
}

fn read_rsa(reader: &mut Reader<'_>) -> Result<Key, TpmFormatError> {
    let bits = reader.u16()?;
    let exponent = reader.u32()?;
    if !matches!(bits, 1024 | 2048 | 3072) || !matches!(exponent, 0 | RSA_EXPONENT) {
        return Err(TpmFormatError::Unknown("RSA key size or exponent"));
    }
    let modulus = reader.sized(384, "RSA modulus")?.to_vec();
    // A short or small modulus would pass for a strong key by its declared size.
    let right_size = modulus.len().checked_mul(8) == Some(usize::from(bits));
    if !right_size || modulus.first().is_none_or(|top| *top < 0x80) {
        return Err(TpmFormatError::Unknown("RSA modulus"));
    }
    Ok(Key::Rsa { modulus })
}

fn read_ecc(reader: &mut Reader<'_>) -> Result<Key, TpmFormatError> {
    let curve = match reader.u16()? {
        0x0003 => Curve::P256,
        0x0004 => Curve::P384,
        _ => return Err(TpmFormatError::Unknown("elliptic curve")),
    };
    if reader.u16()? != ALG_NULL {
        return Err(TpmFormatError::Unknown("key derivation scheme"));
    }
    let mut coordinate = || {
        let mut fixed = vec![0; curve.size()];
        let value = reader.sized(curve.size(), "point")?;
        pad_left(&mut fixed, value).ok_or(TpmFormatError::TooMany("point"))?;
        Ok(fixed)
    };
    Ok(Key::Ec {
        curve,
        x: coordinate()?,
        y: coordinate()?,
    })
}
