//! A TPM maker's CA in our own hands: it certifies endorsement keys of real simulated TPMs, with whatever
//! a test wants, and revokes.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SerialNumber, SignatureAlgorithm, SigningKey as _,
};
use touchstone_evidence::endorsement::Bundle;
use touchstone_evidence::tpm::public::Public;

/// `ecdsa-with-SHA256` (RFC 5758 §3.2) as an AlgorithmIdentifier.
const ECDSA_SHA256: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];

/// What a platform certificate says of its machine.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Its serial number.
    pub serial: &'static str,
    /// The last second of the certificate, GeneralizedTime.
    pub until: &'static str,
}

impl Platform {
    /// The machine with this serial number, for decades.
    #[must_use]
    pub fn of(serial: &'static str) -> Self {
        let until = "20600101000000Z";
        Self { serial, until }
    }
}

/// A CA.
pub struct Ca {
    params: CertificateParams,
    key: KeyPair,
    /// Its certificate, DER.
    pub der: Vec<u8>,
}

impl Ca {
    /// A root of that name.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, der }
    }

    /// A CA below this one.
    #[must_use]
    pub fn issue(&self, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer()).unwrap();
        let der = der.der().to_vec();
        Self { params, key, der }
    }

    /// An EK certificate for a TPM's key, `TPMT_PUBLIC`, with that serial number.
    #[must_use]
    pub fn endorse(&self, ek_public: &[u8], serial: u64) -> Vec<u8> {
        let spki = Public::parse(ek_public).unwrap().subject_public_key_info();
        let mut params = valid("host");
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        let purpose = ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1]);
        params.extended_key_usages = vec![purpose];
        params.custom_extensions = vec![tpm_name()];
        let certificate = params.signed_by(&Subject::of(&spki), &self.issuer());
        certificate.unwrap().der().to_vec()
    }

    /// A revocation list that holds until `next_update` (year), DER.
    #[must_use]
    pub fn revoke(&self, number: u64, next_update: i32, serials: &[u64]) -> Vec<u8> {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2021, 1, 1),
            next_update: rcgen::date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).unwrap().der().to_vec()
    }

    /// A platform certificate (RFC 5755) by this CA as a maker of machines, for the one with this EK
    /// certificate.
    #[must_use]
    pub fn platform(&self, ek_certificate: &[u8], platform: &Platform) -> Vec<u8> {
        let names = |name: &[u8]| tlv(0x30, &tlv(0xa4, name));
        let id = [
            names(field(ek_certificate, 3)),
            field(ek_certificate, 1).to_vec(),
        ]
        .concat();
        let validity = ["20200101000000Z", platform.until].map(|time| tlv(0x18, time.as_bytes()));
        // platformManufacturerStr, platformModel, platformSerial (2.23.133.5.1.1, .4, .6).
        let texts = [(1, "Machine Works"), (4, "R1"), (6, platform.serial)];
        let name = texts.map(|(number, text)| {
            let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x05, 0x01, number]);
            let attribute = [oid, tlv(0x0c, text.as_bytes())].concat();
            tlv(0x31, &tlv(0x30, &attribute))
        });
        let alt_name = tlv(0x04, &names(&tlv(0x30, &name.concat())));
        let extension = [tlv(0x06, &[0x55, 0x1d, 0x11]), alt_name].concat();
        let parts = [
            tlv(0x02, &[1]),
            tlv(0x30, &tlv(0xa0, &id)),
            tlv(0xa0, &names(field(&self.der, 5))),
            ECDSA_SHA256.to_vec(),
            tlv(0x02, &[7]),
            tlv(0x30, &validity.concat()),
            tlv(0x30, &[]),
            tlv(0x30, &tlv(0x30, &extension)),
        ];
        let info = tlv(0x30, &parts.concat());
        let bits = [vec![0], self.key.sign(&info).unwrap()].concat();
        let parts = [info, ECDSA_SHA256.to_vec(), tlv(0x03, &bits)];
        tlv(0x30, &parts.concat())
    }

    /// Its certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        Bundle::pem_block("CERTIFICATE", &self.der)
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// The key that a SubjectPublicKeyInfo holds.
struct Subject {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl Subject {
    fn of(spki: &[u8]) -> Self {
        let (_, content) = element(spki);
        let (algorithm, _) = element(content);
        // The BIT STRING after the algorithm, without its count of unused bits.
        let (_, bits) = element(&content[algorithm.len()..]);
        Self {
            bits: bits[1..].to_vec(),
            algorithm: match bits[1] {
                // A point begins with 4, an RSAPublicKey is a SEQUENCE.
                0x04 if bits.len() == 66 => &rcgen::PKCS_ECDSA_P256_SHA256,
                0x04 => &rcgen::PKCS_ECDSA_P384_SHA384,
                _ => &rcgen::PKCS_RSA_SHA256,
            },
        }
    }
}

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// The first DER element, and its content.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (header, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
    };
    (&der[..header + length], &der[header..header + length])
}

fn authority(name: &str) -> CertificateParams {
    let mut params = valid(name);
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn valid(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2060, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The subject alternative name of a TPM (2.23.133.2.1 to 3).
fn tpm_name() -> CustomExtension {
    let attributes = [(1, "id:00001014"), (2, "swtpm"), (3, "id:20191023")];
    let rdns = attributes.map(|(number, text)| {
        let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x02, number]);
        let attribute = [oid, tlv(0x0c, text.as_bytes())].concat();
        tlv(0x31, &tlv(0x30, &attribute))
    });
    let name = tlv(0x30, &rdns.concat());
    CustomExtension::from_oid_content(&[2, 5, 29, 17], tlv(0x30, &tlv(0xa4, &name)))
}

/// One element of a certificate's signed part, counting from 0, the version (RFC 5280 §4.1).
fn field(certificate: &[u8], number: usize) -> &[u8] {
    let (_, content) = element(certificate);
    let (_, mut rest) = element(content);
    for _ in 0..number {
        rest = &rest[element(rest).0.len()..];
    }
    element(rest).0
}

/// One DER element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, short @ 0..=0x7f] => vec![short],
        [0, long] => vec![0x81, long],
        [high, low] => vec![0x82, high, low],
    };
    [&[tag][..], &length, content].concat()
}
