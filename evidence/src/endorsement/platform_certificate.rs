//! Platform certificates: the maker of a machine names the EK certificate of the TPM that it put into it
//! (RFC 5755, TCG Platform Certificate Profile 1.1). Two people then vouch for an EK: the TPM's maker, and
//! the machine's.
//!
//! Invariant: an issuer is believed only under a certificate that an operator named. Nothing is taken from
//! the components that a certificate lists: nobody here can compare them with the machine.

mod der;

use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use self::der::Elements;
use super::VerifiedEndorsement;
use super::certificate::{Certificate, CertificateError, integer};
use super::name::{Name, directory_text};
use super::path::{check_key, check_validity};
use super::public_key::SignatureAlgorithm;
use crate::digest::Sha256Digest;

/// Longest platform certificate accepted, in bytes. Those of servers list components and have 2 to 6 KiB.
pub const PLATFORM_CERTIFICATE_MAX: usize = 8192;

/// Most names of one list of names, and most extensions.
const MOST: usize = 16;

/// Longest text about the platform, and longest serial number, in bytes.
const MAX_TEXT: usize = 128;
const MAX_SERIAL: usize = 32;

const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed: baseCertificateID of a holder, v2Form of an issuer.
const FIRST: u8 = 0xa0;
/// `[4]`, explicit: the directoryName of a GeneralName.
const DIRECTORY_NAME: u8 = 0xa4;

/// subjectAltName (RFC 5280 §4.2.1.6), as the content of an OBJECT IDENTIFIER.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// Extensions that may be critical: the alternative name, and policies, which are not evaluated.
const KNOWN_CRITICAL: [&[u8]; 2] = [SUBJECT_ALT_NAME, &[0x55, 0x1d, 0x20]];

/// platformManufacturerStr, platformModel, platformSerial (Platform Certificate Profile 1.1).
const MANUFACTURER: &str = "2.23.133.5.1.1";
const MODEL: &str = "2.23.133.5.1.4";
const SERIAL: &str = "2.23.133.5.1.6";

/// Why a platform certificate says nothing about a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformCertificateError {
    /// Not the DER of an attribute certificate of this profile; which part of it.
    #[error("the platform certificate is malformed: {0}")]
    Malformed(&'static str),
    /// No configured OEM has the issuer's name.
    #[error("no configured oem is its issuer, `{issuer}`")]
    OemUnknown {
        /// The issuer's name.
        issuer: String,
    },
    /// The OEM's own certificate is not of this time.
    #[error("the certificate of the oem `{oem}` is not valid now")]
    OemNotInForce {
        /// The OEM's name.
        oem: String,
    },
    /// The OEM of that name did not sign it.
    #[error("the oem `{oem}` did not sign it")]
    Signature {
        /// The OEM's name.
        oem: String,
    },
    /// Its time has not come, or is over.
    #[error("it is valid from {not_before} to {not_after}, seconds since 1970")]
    NotInForce {
        /// First second.
        not_before: i64,
        /// Last second.
        not_after: i64,
    },
    /// It is of a machine with another TPM.
    #[error("it names another ek certificate than the one of this enrolment")]
    OtherEk,
}

impl PlatformCertificateError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "platform-certificate-malformed",
            Self::OemUnknown { .. } => "platform-certificate-oem-unknown",
            Self::OemNotInForce { .. } => "platform-certificate-oem-expired",
            Self::Signature { .. } => "platform-certificate-signature-invalid",
            Self::NotInForce { .. } => "platform-certificate-expired",
            Self::OtherEk => "platform-certificate-other-ek",
        }
    }
}

/// Why a certificate cannot be that of an OEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OemError {
    /// Not a certificate.
    #[error("it is no certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// A certificate under which nothing can be believed.
    #[error("{0}")]
    Unusable(&'static str),
}

/// A maker of machines whose platform certificates an operator believes: its certificate, named by the
/// operator and therefore not asked for a path.
#[derive(Clone, Debug)]
pub struct Oem(Certificate);

impl Oem {
    /// Reads the certificate of an OEM, DER.
    ///
    /// # Errors
    /// [`OemError`]: no certificate, a weak or unknown key, a key that may sign nothing, no subject.
    pub fn parse(der: &[u8]) -> Result<Self, OemError> {
        let certificate = Certificate::parse(der)?;
        if check_key(&certificate).is_err() {
            return Err(OemError::Unusable("its key is weak or of an unknown kind"));
        }
        if certificate.subject.is_empty() {
            return Err(OemError::Unusable("it has no subject"));
        }
        let usage = certificate.extensions.key_usage;
        if usage.is_some_and(|usage| !usage.cert_sign && !usage.digital_signature) {
            return Err(OemError::Unusable("its key may not sign certificates"));
        }
        if certificate.extensions.unknown_critical.is_some() {
            return Err(OemError::Unusable(
                "it has a critical extension that is not understood",
            ));
        }
        Ok(Self(certificate))
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.0.digest
    }

    /// Its name, for people: escaped and cut.
    #[must_use]
    pub fn subject(&self) -> String {
        self.0.subject.to_string()
    }

    /// The last second of its certificate, Unix time; `None`: it never expires.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        self.0.not_after
    }
}

/// What a platform certificate calls the machine: texts without control characters, at most 128 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlatformName {
    /// The manufacturer.
    pub manufacturer: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The serial number, which the profile leaves optional.
    pub serial: Option<String>,
}

/// A parsed platform certificate. Its signature has not been checked.
#[derive(Clone, Debug)]
pub struct PlatformCertificate {
    digest: Sha256Digest,
    /// Issuer and serial number of the EK certificate.
    holder: (Name, Vec<u8>),
    issuer: Name,
    not_before: i64,
    not_after: i64,
    platform: PlatformName,
    signed_part: Vec<u8>,
    signature_algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
}

/// Proof that a configured OEM put the TPM of a verified EK certificate into the machine that it names, at
/// the time it was verified. Made only by [`PlatformCertificate::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPlatform {
    platform: PlatformName,
    oem: Sha256Digest,
    certificate_digest: Sha256Digest,
}

impl VerifiedPlatform {
    /// What the OEM calls the machine.
    #[must_use]
    pub fn platform(&self) -> &PlatformName {
        &self.platform
    }

    /// SHA-256 of the OEM's certificate.
    #[must_use]
    pub fn oem(&self) -> Sha256Digest {
        self.oem
    }

    /// SHA-256 of the platform certificate.
    #[must_use]
    pub fn certificate_digest(&self) -> Sha256Digest {
        self.certificate_digest
    }
}

impl PlatformCertificate {
    /// Reads an attribute certificate that is nothing else, DER.
    ///
    /// # Errors
    /// [`PlatformCertificateError::Malformed`], also for an ordinary X.509 certificate.
    pub fn parse(der: &[u8]) -> Result<Self, PlatformCertificateError> {
        use PlatformCertificateError::Malformed;
        if der.len() > PLATFORM_CERTIFICATE_MAX {
            return Err(Malformed("it is longer than 8 KiB"));
        }
        let mut outer = Elements(der);
        let whole = outer.within(SEQUENCE).filter(|_| outer.is_empty());
        let mut whole = whole.ok_or(Malformed("it is no DER sequence alone"))?;
        let info = whole.one(SEQUENCE).ok_or(Malformed("signed part"))?;
        let algorithm = whole.one(SEQUENCE).ok_or(Malformed("algorithm"))?;
        let signature = whole.one(BIT_STRING).filter(|_| whole.is_empty());
        let signature = match signature.and_then(|bits| bits.content.split_first()) {
            Some((0, bits)) => bits.to_vec(),
            _ => return Err(Malformed("signature")),
        };

        let mut parts = Elements(info.content);
        // v2, the only version (RFC 5755 §4.2.1); an X.509 certificate begins otherwise.
        if parts.one(INTEGER).is_none_or(|one| one.content != [1]) {
            return Err(Malformed("version: it is no attribute certificate"));
        }
        let holder = holder(&mut parts).ok_or(Malformed("holder"))?;
        let issuer = issuer(&mut parts).ok_or(Malformed("issuer"))?;
        // The algorithm is signed only here (RFC 5755 §4.2.4).
        let inner = parts.one(SEQUENCE).map(|inner| inner.whole);
        if inner != Some(algorithm.whole) {
            return Err(Malformed("the algorithm inside is another than outside"));
        }
        serial(&mut parts).ok_or(Malformed("serial number"))?;
        let (not_before, not_after) = validity(&mut parts).ok_or(Malformed("validity"))?;
        parts.one(SEQUENCE).ok_or(Malformed("attributes"))?;
        parts.one(BIT_STRING);
        let platform = match parts.within(SEQUENCE).filter(|_| parts.is_empty()) {
            Some(extensions) => extensions_of(extensions).ok_or(Malformed("extensions"))?,
            None => return Err(Malformed("extensions: nothing names the platform")),
        };
        Ok(Self {
            digest: Sha256Digest::of(der),
            holder,
            issuer,
            not_before,
            not_after,
            platform,
            signed_part: info.whole.to_vec(),
            signature_algorithm: algorithm_of(algorithm.whole).ok_or(Malformed("algorithm"))?,
            signature,
        })
    }

    /// Whether one of `oems` signed it, at `now`, for the machine with the TPM of `endorsement`, whose EK
    /// certificate this is.
    ///
    /// # Errors
    /// [`PlatformCertificateError`]: which of these does not hold.
    pub fn verify(
        self,
        oems: &[Oem],
        endorsement: &VerifiedEndorsement,
        ek_certificate: &[u8],
        now: i64,
    ) -> Result<VerifiedPlatform, PlatformCertificateError> {
        let oem = self.oem_among(oems, now)?;
        if !(self.not_before..=self.not_after).contains(&now) {
            return Err(PlatformCertificateError::NotInForce {
                not_before: self.not_before,
                not_after: self.not_after,
            });
        }
        if !self.is_of(endorsement, ek_certificate) {
            return Err(PlatformCertificateError::OtherEk);
        }
        Ok(VerifiedPlatform {
            platform: self.platform,
            oem,
            certificate_digest: self.digest,
        })
    }

    /// The OEM that signed it: several certificates may have one name, as where its key was changed.
    fn oem_among(&self, oems: &[Oem], now: i64) -> Result<Sha256Digest, PlatformCertificateError> {
        let mut refusal = PlatformCertificateError::OemUnknown {
            issuer: self.issuer.to_string(),
        };
        for Oem(oem) in oems
            .iter()
            .filter(|oem| oem.0.subject.matches(&self.issuer))
        {
            let signed = oem.key.verify(
                &self.signature_algorithm,
                &self.signed_part,
                &self.signature,
            );
            let name = || oem.subject.to_string();
            refusal = match (signed, check_validity(oem, now)) {
                (Ok(()), Ok(())) => return Ok(oem.digest),
                (Ok(()), Err(_)) => PlatformCertificateError::OemNotInForce { oem: name() },
                (Err(_), _) => PlatformCertificateError::Signature { oem: name() },
            };
        }
        Err(refusal)
    }

    /// Whether its holder is this EK certificate, the one that `endorsement` is about.
    fn is_of(&self, endorsement: &VerifiedEndorsement, ek_certificate: &[u8]) -> bool {
        let (issuer, serial) = &self.holder;
        Certificate::parse(ek_certificate).is_ok_and(|ek| {
            ek.digest == endorsement.certificate_digest
                && ek.issuer.matches(issuer)
                && ek.serial == *serial
        })
    }
}

/// `Holder`: only baseCertificateID, which the profile demands; one that says more is of another profile.
fn holder(parts: &mut Elements<'_>) -> Option<(Name, Vec<u8>)> {
    let mut holder = parts.within(SEQUENCE)?;
    let mut id = holder.within(FIRST).filter(|_| holder.is_empty())?;
    let issuer = one_name(id.within(SEQUENCE)?)?;
    let serial = serial(&mut id)?;
    id.is_empty().then_some((issuer, serial))
}

/// `AttCertIssuer` in v2Form with nothing but issuerName (RFC 5755 §4.2.3).
fn issuer(parts: &mut Elements<'_>) -> Option<Name> {
    let mut form = parts.within(FIRST)?;
    let names = form.within(SEQUENCE)?;
    form.is_empty().then(|| one_name(names)).flatten()
}

/// GeneralNames that are exactly one directoryName (RFC 5755 §4.2.2, §4.2.3).
fn one_name(mut names: Elements<'_>) -> Option<Name> {
    let name = names.one(DIRECTORY_NAME).filter(|_| names.is_empty())?;
    directory_name(name.content).map(|name| Name::of(&name))
}

fn directory_name(der: &[u8]) -> Option<X509Name<'_>> {
    let (rest, name) = X509Name::from_der(der).ok()?;
    rest.is_empty().then_some(name)
}

fn serial(parts: &mut Elements<'_>) -> Option<Vec<u8>> {
    let serial = parts.one(INTEGER)?.content;
    (1..=MAX_SERIAL)
        .contains(&serial.len())
        .then(|| integer(serial))
}

fn validity(parts: &mut Elements<'_>) -> Option<(i64, i64)> {
    let mut period = parts.within(SEQUENCE)?;
    let mut time = || {
        let (rest, time) = ASN1Time::from_der(period.one(GENERALIZED_TIME)?.whole).ok()?;
        rest.is_empty().then(|| time.timestamp())
    };
    let times = (time()?, time()?);
    period.is_empty().then_some(times)
}

fn algorithm_of(der: &[u8]) -> Option<SignatureAlgorithm> {
    let (rest, algorithm) = AlgorithmIdentifier::from_der(der).ok()?;
    rest.is_empty().then(|| SignatureAlgorithm::of(&algorithm))
}

/// The platform that the alternative name names; `None` for anything that decides and is not understood.
fn extensions_of(extensions: Elements<'_>) -> Option<PlatformName> {
    let mut seen: Vec<&[u8]> = Vec::new();
    let mut platform = None;
    for extension in extensions.all(SEQUENCE, MOST)? {
        let mut parts = Elements(extension.content);
        let oid = parts.one(OBJECT_IDENTIFIER)?.content;
        let critical = parts.one(BOOLEAN).is_some_and(|flag| flag.content != [0]);
        let value = parts.one(OCTET_STRING).filter(|_| parts.is_empty())?;
        if seen.contains(&oid) || (critical && !KNOWN_CRITICAL.contains(&oid)) {
            return None;
        }
        seen.push(oid);
        if oid == SUBJECT_ALT_NAME {
            platform = Some(platform_name(value.content)?);
        }
    }
    platform
}

fn platform_name(alt_name: &[u8]) -> Option<PlatformName> {
    let mut outer = Elements(alt_name);
    let mut names = outer.within(SEQUENCE).filter(|_| outer.is_empty())?;
    let mut platform = PlatformName::default();
    for _ in 0..MOST {
        let Some(name) = names.any() else { break };
        if name.tag != DIRECTORY_NAME {
            continue;
        }
        for attribute in directory_name(name.content)?.iter_attributes() {
            let field = match attribute.attr_type().to_id_string().as_str() {
                MANUFACTURER => &mut platform.manufacturer,
                MODEL => &mut platform.model,
                SERIAL => &mut platform.serial,
                _ => continue,
            };
            let text = directory_text(attribute.attr_value())?;
            let sound = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
            if !sound || field.replace(text).is_some() {
                return None;
            }
        }
    }
    names.is_empty().then_some(platform)
}
