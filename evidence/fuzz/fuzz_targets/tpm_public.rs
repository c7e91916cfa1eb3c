//! `TPMT_PUBLIC`: kept byte for byte, its SubjectPublicKeyInfo is read by the X.509 side, and an
//! endorsement key by template either protects a credential or says that it cannot.

#![no_main]

use touchstone_evidence::credential::{CredentialSecrets, make_credential};
use touchstone_evidence::endorsement::EndorsementRoots;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::tpm::public::{Key, Public};
use touchstone_evidence_fuzz::assert_exact;

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let Ok(public) = Public::parse(data) else {
        return false;
    };
    assert_eq!(public.as_bytes(), data);
    assert_exact(data, |bytes| Public::parse(bytes).is_ok());

    let name = public.name();
    let hash_size = name.as_bytes().len() - 2;
    assert!(matches!(hash_size, 32 | 48), "a Name of {hash_size} bytes");

    let spki = public.subject_public_key_info();
    let refused = EndorsementRoots::new()
        .verify(&[], &[&[]; 0], &spki, 0)
        .unwrap_err();
    assert_eq!(refused.code(), "ek-certificate-malformed", "{spki:02x?}");
    if let Some(point) = public.key().point() {
        assert!(spki.ends_with(&point));
    }

    let is_ek = public.check_endorsement_template().is_ok();
    let is_ak = public.check_attestation_template().is_ok();
    assert!(!(is_ek && is_ak), "one key passes for EK and AK");
    if is_ek {
        protect(&public);
    }
    assert!(AttestationKey::under(&public, public.clone()).is_err());
    true
}

fn protect(ek: &Public) {
    let secrets = CredentialSecrets {
        secret: [1; 32].into(),
        seed: [2; 32].into(),
    };
    let Ok(credential) = make_credential(ek, &ek.name(), &secrets) else {
        return;
    };
    match ek.key() {
        Key::Rsa { modulus } => assert_eq!(credential.encrypted_seed.len(), modulus.len()),
        Key::Ec { curve, .. } => {
            assert_eq!(credential.encrypted_seed.len(), 2 * (2 + curve.size()));
        }
    }
    assert!(!credential.blob.windows(32).any(|window| window == [1; 32]));
}
