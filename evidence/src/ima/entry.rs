//! What a record says: the fields of each template (`builtin_templates` in `ima_template.c`, their
//! contents in `ima_template_lib.c`).

use std::fmt::{self, Write as _};

use aws_lc_rs::digest;

use super::parse::{ImaError, Record};
use crate::little_endian::LittleEndian;

/// Longest path with its NUL: `PATH_MAX` of the kernel.
pub const PATH_MAX: usize = 4096;
/// Most template data of one entry: the kernel's largest attribute (64 KiB), digest, path and room.
pub const TEMPLATE_DATA_MAX: usize = 1 << 17;
/// `IMA_EVENT_NAME_LEN_MAX`: longest name in the template `ima`.
const LEGACY_NAME_MAX: usize = 255;

/// Templates that are understood. The name is **not** covered by the template hash, so no record
/// may make sense under two of them: they differ in the number of fields or the form of the digest,
/// except `ima-sig` and `ima-buf`, which [`Entry::bears_out`] tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    /// `d|n`, without lengths of fields.
    Ima,
    /// `d-ng|n-ng`
    Ng,
    /// `d-ng|n-ng|sig`
    Sig,
    /// `d-ng|n-ng|buf`
    Buf,
    /// `d-ngv2|n-ng`
    NgV2,
    /// `d-ngv2|n-ng|sig`
    SigV2,
    /// `d-ng|n-ng|sig|d-modsig|modsig`
    Modsig,
    /// `d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode`
    EvmSig,
}

impl Template {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"ima" => Self::Ima,
            b"ima-ng" => Self::Ng,
            b"ima-sig" => Self::Sig,
            b"ima-buf" => Self::Buf,
            b"ima-ngv2" => Self::NgV2,
            b"ima-sigv2" => Self::SigV2,
            b"ima-modsig" => Self::Modsig,
            b"evm-sig" => Self::EvmSig,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ima => "ima",
            Self::Ng => "ima-ng",
            Self::Sig => "ima-sig",
            Self::Buf => "ima-buf",
            Self::NgV2 => "ima-ngv2",
            Self::SigV2 => "ima-sigv2",
            Self::Modsig => "ima-modsig",
            Self::EvmSig => "evm-sig",
        }
    }
}

/// Hash algorithms of measured files, by the kernel's names (`hash_algo_name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// 20 bytes; broken against collisions.
    Sha1,
    /// 28 bytes.
    Sha224,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
    /// 32 bytes.
    Sha3_256,
    /// 48 bytes.
    Sha3_384,
    /// 64 bytes.
    Sha3_512,
}

impl DigestAlgorithm {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"sha1" => Self::Sha1,
            b"sha224" => Self::Sha224,
            b"sha256" => Self::Sha256,
            b"sha384" => Self::Sha384,
            b"sha512" => Self::Sha512,
            b"sha3-256" => Self::Sha3_256,
            b"sha3-384" => Self::Sha3_384,
            b"sha3-512" => Self::Sha3_512,
            _ => return None,
        })
    }

    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
        }
    }

    fn implementation(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
            Self::Sha3_256 => &digest::SHA3_256,
            Self::Sha3_384 => &digest::SHA3_384,
            Self::Sha3_512 => &digest::SHA3_512,
        }
    }

    fn size(self) -> usize {
        self.implementation().output_len()
    }

    fn is_of(self, digest: &[u8], bytes: &[u8]) -> bool {
        digest::digest(self.implementation(), bytes).as_ref() == digest
    }
}

/// A path as the kernel measured it: bytes without NUL. Each space became `_`; nothing else is
/// escaped, so it may hold line feeds and need not be UTF-8. That is no reason to refuse a list,
/// since anyone may make such a file; lengths delimit the binary form, and [`Display`](fmt::Display)
/// escapes, so that no path ever looks like another or like two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImaPath<'a>(&'a [u8]);

impl<'a> ImaPath<'a> {
    /// The bytes, for comparison.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// From a field that holds a C string.
    fn of_field(field: &'a [u8]) -> Option<Self> {
        let (nul, path) = field.split_last()?;
        (*nul == 0 && field.len() <= PATH_MAX && !path.contains(&0)).then_some(Self(path))
    }

    /// From a name that the template `ima` shows without its NUL.
    fn of_legacy_field(name: &'a [u8]) -> Option<Self> {
        (name.len() <= LEGACY_NAME_MAX && !name.contains(&0)).then_some(Self(name))
    }
}

impl fmt::Display for ImaPath<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'\\' => out.write_str("\\\\")?,
                b' '..=b'~' => out.write_char(char::from(*byte))?,
                other => write!(out, "\\x{other:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ImaPath<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// One entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Something was measured; in a [`ReplayedIma`](super::ReplayedIma) every field is proven.
    Measured(Measured<'a>),
    /// The kernel could not say what was read and extended all ones: a file opened for writing and
    /// for measuring at once. *That* it happened is proven, and nothing else.
    Violation {
        /// Which file, as the list says: no hash covers it.
        untrusted_path: ImaPath<'a>,
    },
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured<'a> {
    /// What `digest` is of, and `path` the name of.
    pub subject: Subject<'a>,
    /// Algorithm of `digest`.
    pub algorithm: DigestAlgorithm,
    /// As many bytes as the algorithm gives; all zero when the kernel could not read the file.
    pub digest: &'a [u8],
    /// Path of the file, name of the buffer or `boot_aggregate`.
    pub path: ImaPath<'a>,
    /// The signature that stood with the file (attribute or appended). It is **not verified**.
    pub signature: Option<&'a [u8]>,
}

/// What a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The first entry of a boot: the PCRs before IMA began. A later one, from a kexec that carried
    /// the list over, is shown as a file called `boot_aggregate`.
    BootAggregate,
    /// The contents of a file.
    File,
    /// The fs-verity digest of a file: of its Merkle tree, not of its contents.
    Verity,
    /// These bytes of the kernel (command line of a kexec, key, critical data), or their digest.
    Buffer(&'a [u8]),
}

impl<'a> Entry<'a> {
    pub(super) fn of(record: &Record<'a>) -> Result<Self, ImaError> {
        let fields = Fields::of(record)?;
        let path = fields.path.ok_or(ImaError::Path(record.number))?;
        if record.is_violation() {
            return Ok(Self::Violation {
                untrusted_path: path,
            });
        }
        if fields.digest.len() != fields.algorithm.size() {
            return Err(ImaError::TemplateData(record.number));
        }
        let subject = match (record.template, fields.verity) {
            (Template::Buf, _) => Subject::Buffer(fields.attached),
            _ if record.begins_boot && path.0 == b"boot_aggregate" => Subject::BootAggregate,
            (_, true) => Subject::Verity,
            (_, false) => Subject::File,
        };
        let signature = match subject {
            Subject::Buffer(_) => None,
            _ => Some(fields.attached).filter(|bytes| !bytes.is_empty()),
        };
        Ok(Self::Measured(Measured {
            subject,
            algorithm: fields.algorithm,
            digest: fields.digest,
            path,
            signature,
        }))
    }

    /// Whether the entry can be of its template and not of the other one with equal fields. A buffer
    /// (`process_buffer_measurement`) has exactly the digest beside it, and a signature never has
    /// that of the file that it signs.
    pub(super) fn bears_out(&self, template: Template) -> bool {
        let Self::Measured(entry) = self else {
            return true;
        };
        match (template, entry.subject, entry.signature) {
            (Template::Buf, Subject::Buffer(bytes), _) => {
                !bytes.is_empty() && entry.algorithm.is_of(entry.digest, bytes)
            }
            (Template::Sig, _, Some(signature)) => !entry.algorithm.is_of(entry.digest, signature),
            _ => true,
        }
    }
}

/// The fields that are looked at.
struct Fields<'a> {
    algorithm: DigestAlgorithm,
    digest: &'a [u8],
    verity: bool,
    /// `None` when it is not a path.
    path: Option<ImaPath<'a>>,
    /// Signature or buffer; may be empty.
    attached: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(record: &Record<'a>) -> Result<Self, ImaError> {
        let malformed = || ImaError::TemplateData(record.number);
        if record.template == Template::Ima {
            return Self::legacy(record.data).ok_or_else(malformed);
        }
        let mut reader = LittleEndian::new(record.data);
        let mut field = || reader.sized().ok_or_else(malformed);
        let (digest, path) = (field()?, field()?);
        let attached: &[u8] = match record.template {
            Template::Ima | Template::Ng | Template::NgV2 => &[],
            Template::Buf => field()?,
            Template::Sig | Template::SigV2 => {
                signature_attribute(field()?).ok_or_else(malformed)?
            }
            Template::Modsig => {
                let signature = signature_attribute(field()?).ok_or_else(malformed)?;
                let (_digest, appended) = (field()?, field()?);
                if signature.is_empty() {
                    appended
                } else {
                    signature
                }
            }
            Template::EvmSig => {
                let signature = field()?;
                // Names, lengths and values of the attributes, owner, group and mode.
                for _ in 0..6 {
                    field()?;
                }
                signature
            }
        };
        if !reader.rest().is_empty() {
            return Err(malformed());
        }
        let second_form = matches!(record.template, Template::NgV2 | Template::SigV2);
        let (kind, algorithm, digest) = digest_field(digest, second_form).ok_or_else(malformed)?;
        Ok(Self {
            algorithm: DigestAlgorithm::named(algorithm)
                .ok_or(ImaError::DigestAlgorithm(record.number))?,
            digest,
            verity: kind == b"verity",
            path: ImaPath::of_field(path),
            attached,
        })
    }

    /// `ima`: taken for SHA-1, since the record has no room for an algorithm.
    fn legacy(data: &'a [u8]) -> Option<Self> {
        let (digest, name) = legacy_fields(data)?;
        Some(Self {
            algorithm: DigestAlgorithm::Sha1,
            digest,
            verity: false,
            path: ImaPath::of_legacy_field(name),
            attached: &[],
        })
    }
}

/// Digest and name (without NUL) of the template `ima`.
fn legacy_fields(data: &[u8]) -> Option<(&[u8; 20], &[u8])> {
    let mut reader = LittleEndian::new(data);
    Some((reader.array()?, reader.sized()?))
}

/// What the template hash of `ima` is over (`ima_calc_field_array_hash_tfm`): the digest, and the
/// name with zeros up to 256 bytes.
pub(super) fn legacy_hashed(data: &[u8]) -> Option<[u8; 276]> {
    let (digest, name) = legacy_fields(data)?;
    let mut hashed = [0; 276];
    let (front, rest) = hashed.split_at_mut_checked(digest.len())?;
    front.copy_from_slice(digest);
    rest.get_mut(..name.len())?.copy_from_slice(name);
    Some(hashed)
}

/// `d-ng`: algorithm, `:`, NUL, digest. `d-ngv2`: the same after `ima:` or `verity:`. Gives kind,
/// algorithm and digest.
fn digest_field(field: &[u8], second_form: bool) -> Option<(&[u8], &[u8], &[u8])> {
    let nul = field.iter().position(|byte| *byte == 0)?;
    let (label, digest) = field.split_at_checked(nul)?;
    let (digest, label) = (digest.get(1..)?, label.strip_suffix(b":")?);
    if !second_form {
        return Some((b"ima", label, digest));
    }
    let colon = label.iter().position(|byte| *byte == b':')?;
    let (kind, algorithm) = label.split_at_checked(colon)?;
    let known = [&b"ima"[..], b"verity"].contains(&kind);
    known.then_some((kind, algorithm.get(1..)?, digest))
}

/// `sig`: empty, or an attribute of a type that the kernel records there: `EVM_IMA_XATTR_DIGSIG`,
/// `EVM_XATTR_PORTABLE_DIGSIG` or `IMA_VERITY_DIGSIG` (`integrity.h`).
fn signature_attribute(field: &[u8]) -> Option<&[u8]> {
    matches!(field.first(), None | Some(3 | 5 | 6)).then_some(field)
}
