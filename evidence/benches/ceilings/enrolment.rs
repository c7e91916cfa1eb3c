//! What the attestor computes when it sees a host for the first time: the EK certificate's path, both
//! keys' templates, and the credential that only this TPM opens.

use std::hint::black_box;

use criterion::Criterion;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SignatureAlgorithm,
};
use touchstone_evidence::credential::{CredentialSecrets, make_credential};
use touchstone_evidence::endorsement::{EndorsementRoots, RootClass};
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::tpm::public::Public;

use crate::cpu_time::CpuTime;
use crate::profile;
use crate::software_tpm::{SoftwareAk, ek_p256};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let rsa = profile("ek.pub").get(2..).unwrap().to_vec();
    let rsa = Public::parse(&rsa).unwrap();
    one(
        criterion,
        "enrolment-rsa2048",
        &rcgen::PKCS_RSA_SHA256,
        &rsa,
    );

    let key = KeyPair::generate().unwrap();
    let ec = ek_p256(key.public_key_raw());
    one(
        criterion,
        "enrolment-p256",
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &ec,
    );
}

/// An EK under an intermediate under a root; both sign by `algorithm`.
fn one(
    criterion: &mut Criterion<CpuTime>,
    name: &str,
    algorithm: &'static SignatureAlgorithm,
    ek: &Public,
) {
    let root = Ca::new("Root", algorithm);
    let middle = Ca::new("Intermediate", algorithm);
    let root_certificate = root.params.self_signed(&root.key).unwrap();
    let middle_certificate = root.sign(&middle.params, &middle.key);
    let ek_certificate = middle.sign(&ek_params(), &Key::of(ek));
    let mut roots = EndorsementRoots::new();
    roots
        .add_anchor(root_certificate.der(), RootClass::Manufacturer, &[])
        .unwrap();
    let (ek, ak) = (ek.as_bytes(), SoftwareAk::new().public);
    let secrets = CredentialSecrets {
        secret: [1; 32].into(),
        seed: [2; 32].into(),
    };

    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let ek = Public::parse(black_box(ek)).unwrap();
            let ak = Public::parse(black_box(ak.as_bytes())).unwrap();
            let spki = ek.subject_public_key_info();
            let offered = [&middle_certificate];
            let verified = roots.verify(&ek_certificate, &offered, &spki, NOW).unwrap();
            let ak = AttestationKey::under(&ek, ak).unwrap();
            let credential = make_credential(&ek, &ak.public().name(), &secrets).unwrap();
            (verified, credential)
        });
    });
}

struct Ca {
    params: CertificateParams,
    key: KeyPair,
}

impl Ca {
    fn new(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self {
            params,
            key: KeyPair::generate_for(algorithm).unwrap(),
        }
    }

    fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().der().to_vec()
    }
}

/// The key of a public area, as a certificate holds it.
struct Key {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl Key {
    fn of(public: &Public) -> Self {
        let spki = public.subject_public_key_info();
        match public.key().point() {
            Some(point) => Self {
                bits: point,
                algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
            },
            // After SEQUENCE, algorithm, BIT STRING and its count of unused bits.
            None => Self {
                bits: spki.get(24..).unwrap().to_vec(),
                algorithm: &rcgen::PKCS_RSA_SHA256,
            },
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

fn ek_params() -> CertificateParams {
    let mut params = named("EK");
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
    params.custom_extensions = vec![tpm_name()];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
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

/// One DER element of less than 128 bytes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    [&[tag, length], content].concat()
}
