//! Platform certificates of our own making: one that is right, and each thing that may be wrong with one.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::workshop::*;
use super::*;

const ECDSA_SHA256: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];
const UNTIL: &str = "20400101000000Z";

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn names(name: &[u8]) -> Vec<u8> {
    sequence(&[tlv(0xa4, name)])
}

/// A platform certificate in parts, so that a test can change one.
struct Draft {
    version: u8,
    holder: Vec<u8>,
    issuer: Vec<u8>,
    validity: [&'static str; 2],
    extensions: Vec<Vec<u8>>,
}

impl Draft {
    /// By `oem`, for the machine with the TPM of this EK certificate.
    fn new(oem: &Ca, ek_certificate: &[u8]) -> Self {
        let (_, ek) = X509Certificate::from_der(ek_certificate).unwrap();
        let (_, oem) = X509Certificate::from_der(&oem.der).unwrap();
        let id = [names(ek.issuer().as_raw()), tlv(0x02, ek.raw_serial())];
        Self {
            version: 1,
            holder: sequence(&[tlv(0xa0, &id.concat())]),
            issuer: tlv(0xa0, &names(oem.subject().as_raw())),
            validity: ["20200101000000Z", UNTIL],
            extensions: vec![platform_name(&[
                (1, "Maker & Sons"),
                (4, "R1"),
                (6, "SN 0042"),
            ])],
        }
    }

    fn sign(&self, key: &Ca) -> Vec<u8> {
        let validity = self.validity.map(|time| tlv(0x18, time.as_bytes()));
        let info = sequence(&[
            tlv(0x02, &[self.version]),
            self.holder.clone(),
            self.issuer.clone(),
            ECDSA_SHA256.to_vec(),
            tlv(0x02, &[0x00, 0x99]),
            sequence(&validity),
            sequence(&[]),
            sequence(&self.extensions),
        ]);
        let bits = [vec![0], key.sign_bytes(&info)].concat();
        sequence(&[info, ECDSA_SHA256.to_vec(), tlv(0x03, &bits)])
    }
}

/// The alternative name with these attributes under 2.23.133.5.1.
fn platform_name(attributes: &[(u8, &str)]) -> Vec<u8> {
    let rdns = attributes.iter().map(|(number, text)| {
        let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x05, 0x01, *number]);
        tlv(0x31, &sequence(&[oid, tlv(0x0c, text.as_bytes())]))
    });
    let name = sequence(&rdns.collect::<Vec<_>>());
    extension(&[0x55, 0x1d, 0x11], &names(&name))
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[tlv(0x06, oid), tlv(0x04, value)])
}

/// A TPM maker's root with an EK under it, and an OEM.
struct Scene {
    ek: Ek,
    endorsement: VerifiedEndorsement,
    oem: Ca,
}

impl Scene {
    fn new() -> Self {
        let root = Ca::root("Root");
        let ek = root.endorse(leaf());
        let endorsement = verify(&root, &[], &ek).unwrap();
        let oem = Ca::root("Machine Works");
        Self {
            ek,
            endorsement,
            oem,
        }
    }

    fn draft(&self) -> Draft {
        Draft::new(&self.oem, &self.ek.certificate)
    }

    fn judge(&self, der: &[u8]) -> Result<VerifiedPlatform, PlatformCertificateError> {
        let oems = [&self.oem].map(|oem| Oem::parse(&oem.der).unwrap());
        PlatformCertificate::parse(der)?.verify(&oems, &self.endorsement, &self.ek.certificate, NOW)
    }

    fn code(&self, der: &[u8]) -> &'static str {
        match self.judge(der) {
            Ok(_) => "verified",
            Err(error) => error.code(),
        }
    }
}

#[test]
fn a_platform_certificate_of_a_configured_oem_names_the_machine() {
    let scene = Scene::new();
    let certificate = scene.draft().sign(&scene.oem);
    let verified = scene.judge(&certificate).unwrap();
    let platform = verified.platform();
    assert_eq!(platform.manufacturer.as_deref(), Some("Maker & Sons"));
    assert_eq!(platform.model.as_deref(), Some("R1"));
    assert_eq!(platform.serial.as_deref(), Some("SN 0042"));
    assert_eq!(verified.oem(), Sha256Digest::of(&scene.oem.der));
    assert_eq!(
        verified.certificate_digest(),
        Sha256Digest::of(&certificate)
    );
}

#[test]
fn no_flipped_bit_and_no_cut_of_a_platform_certificate_is_believed() {
    let scene = Scene::new();
    let certificate = scene.draft().sign(&scene.oem);
    for bit in 0..certificate.len() * 8 {
        let mut flipped = certificate.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(scene.judge(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..certificate.len() {
        let cut = scene.code(&certificate[..length]);
        assert_eq!(cut, "platform-certificate-malformed", "cut at {length}");
    }
    let longer = [&certificate[..], &[0]].concat();
    assert_eq!(scene.code(&longer), "platform-certificate-malformed");
}

#[test]
fn an_issuer_that_is_no_configured_oem_is_refused() {
    let scene = Scene::new();
    let stranger = Ca::root("Stranger");
    let theirs = Draft::new(&stranger, &scene.ek.certificate).sign(&stranger);
    assert_eq!(scene.code(&theirs), "platform-certificate-oem-unknown");
    let none = PlatformCertificate::parse(&scene.draft().sign(&scene.oem));
    let (ek, endorsement) = (&scene.ek.certificate, &scene.endorsement);
    let refused = none.unwrap().verify(&[], endorsement, ek, NOW).unwrap_err();
    assert_eq!(refused.code(), "platform-certificate-oem-unknown");
}

#[test]
fn an_impostor_with_the_name_of_an_oem_is_refused() {
    let scene = Scene::new();
    let impostor = Ca::root("Machine Works");
    let forged = scene.draft().sign(&impostor);
    assert_eq!(
        scene.code(&forged),
        "platform-certificate-signature-invalid"
    );
    // Two keys under one name are both believed once both are named, in either order.
    let believed = [&impostor, &scene.oem].map(|oem| Oem::parse(&oem.der).unwrap());
    for certificate in [forged, scene.draft().sign(&scene.oem)] {
        let parsed = PlatformCertificate::parse(&certificate).unwrap();
        let (ek, endorsement) = (&scene.ek.certificate, &scene.endorsement);
        assert!(parsed.verify(&believed, endorsement, ek, NOW).is_ok());
    }
}

#[test]
fn a_platform_certificate_of_another_tpm_is_refused() {
    let scene = Scene::new();
    let code = "platform-certificate-other-ek";
    let root = Ca::root("Root");
    // Another certificate by a CA of the same name: another serial number.
    let sibling = root.endorse(leaf()).certificate;
    let other = Draft::new(&scene.oem, &sibling).sign(&scene.oem);
    assert_eq!(scene.code(&other), code);
    // The same serial number by another CA.
    let mut params = leaf();
    let (_, ek) = X509Certificate::from_der(&scene.ek.certificate).unwrap();
    params.serial_number = Some(ek.raw_serial().to_vec().into());
    let namesake = Ca::root("Another Root").endorse(params).certificate;
    let other = Draft::new(&scene.oem, &namesake).sign(&scene.oem);
    assert_eq!(scene.code(&other), code);
    // Right for a certificate that is not the one whose path was verified.
    let own = PlatformCertificate::parse(&Draft::new(&scene.oem, &sibling).sign(&scene.oem));
    let oems = [Oem::parse(&scene.oem.der).unwrap()];
    let refused = own
        .unwrap()
        .verify(&oems, &scene.endorsement, &sibling, NOW);
    assert_eq!(refused.unwrap_err().code(), code);
}

#[test]
fn a_platform_certificate_holds_only_in_its_time() {
    let scene = Scene::new();
    for validity in [
        ["20200101000000Z", "20251231235959Z"],
        ["20260101000001Z", UNTIL],
    ] {
        let mut draft = scene.draft();
        draft.validity = validity;
        let certificate = draft.sign(&scene.oem);
        assert_eq!(scene.code(&certificate), "platform-certificate-expired");
    }
    // NOW is the first second of 2026, and both ends count.
    for validity in [
        ["20200101000000Z", "20260101000000Z"],
        ["20260101000000Z", UNTIL],
    ] {
        let mut draft = scene.draft();
        draft.validity = validity;
        assert_eq!(scene.code(&draft.sign(&scene.oem)), "verified");
    }
}

#[test]
fn an_oem_whose_own_certificate_expired_vouches_for_nothing() {
    let mut scene = Scene::new();
    let mut params = ca("Machine Works");
    params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    scene.oem = Ca::self_signed(params, &rcgen::PKCS_ECDSA_P256_SHA256);
    let certificate = scene.draft().sign(&scene.oem);
    assert_eq!(scene.code(&certificate), "platform-certificate-oem-expired");
}

#[test]
fn what_is_no_platform_certificate_is_malformed() {
    let scene = Scene::new();
    let malformed = |change: &dyn Fn(&mut Draft)| {
        let mut draft = scene.draft();
        change(&mut draft);
        scene.code(&draft.sign(&scene.oem))
    };
    let code = "platform-certificate-malformed";
    assert_eq!(
        scene.code(&scene.ek.certificate),
        code,
        "an X.509 certificate"
    );
    assert_eq!(malformed(&|draft| draft.version = 0), code);
    assert_eq!(malformed(&|draft| draft.extensions.clear()), code);
    let name = platform_name(&[(6, "x")]);
    let twice = vec![name.clone(), name];
    assert_eq!(malformed(&|draft| draft.extensions = twice.clone()), code);
    let two_serials = vec![platform_name(&[(6, "a"), (6, "b")])];
    assert_eq!(
        malformed(&|draft| draft.extensions = two_serials.clone()),
        code
    );
    let control = vec![platform_name(&[(6, "a\n")])];
    assert_eq!(malformed(&|draft| draft.extensions = control.clone()), code);
    let long = vec![platform_name(&[(6, &"x".repeat(129))])];
    assert_eq!(malformed(&|draft| draft.extensions = long.clone()), code);
    let critical = sequence(&[
        tlv(0x06, &[0x55, 0x1d, 0x37]),
        tlv(0x01, &[0xff]),
        tlv(0x04, &[]),
    ]);
    let unknown = |draft: &mut Draft| draft.extensions.push(critical.clone());
    assert_eq!(malformed(&unknown), code, "a critical target");
    let digest_too = |draft: &mut Draft| {
        let inside = draft.holder[2..].to_vec();
        draft.holder = tlv(0x30, &[inside, tlv(0xa2, &[])].concat());
    };
    assert_eq!(malformed(&digest_too), code, "a holder of another profile");
    let inner = |draft: &mut Draft| draft.issuer = names(&draft.issuer[4..]);
    assert_eq!(malformed(&inner), code, "an issuer in v1 form");
}

#[test]
fn only_a_key_that_may_sign_is_an_oems() {
    let root = Ca::root("Root");
    let ek = root.endorse(leaf());
    let unusable = |der: &[u8]| matches!(Oem::parse(der), Err(OemError::Unusable(_)));
    assert!(unusable(&ek.certificate), "a key for key agreement");
    let (weak, _) = root.certify_rsa(128, ca("Weak"));
    assert!(unusable(&weak), "RSA of 1024 bits");
    assert!(matches!(Oem::parse(&[0x30]), Err(OemError::Certificate(_))));
    assert!(Oem::parse(&root.der).is_ok());
}
