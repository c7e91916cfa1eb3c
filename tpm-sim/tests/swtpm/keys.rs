//! The keys of a TPM: its endorsement, and attestation keys under it.

use std::time::Instant;

use touchstone_agent::tpm::{AkBlob, Error};
use touchstone_evidence::credential::{CredentialSecrets, make_credential};
use touchstone_evidence::tpm::public as evidence;
use tss_esapi::structures::Public;
use tss_esapi::traits::UnMarshall as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::host::Host;

#[tokio::test]
async fn the_endorsement_is_the_one_its_certificate_names() {
    let Some(host) = Host::start() else { return };
    let began = Instant::now();
    let endorsement = host.open().await.endorsement().await.unwrap();
    eprintln!("open and endorsement {:.0?}", began.elapsed());
    host.assert_nothing_left("endorsement");

    let (rest, certificate) = X509Certificate::from_der(&endorsement.certificate).unwrap();
    assert!(rest.is_empty(), "padding is trimmed");
    let PublicKey::RSA(certified) = certificate.public_key().parsed().unwrap() else {
        panic!("not an RSA certificate");
    };
    let Public::Rsa { unique, .. } = Public::unmarshall(&endorsement.public).unwrap() else {
        panic!("not an RSA key");
    };
    let modulus: &[u8] = certified.modulus;
    assert_eq!(
        modulus.strip_prefix(&[0]).unwrap_or(modulus),
        unique.value()
    );

    let bundle = host.authority.ca_bundle().unwrap();
    let issuers: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(bundle.as_bytes())
        .map(|pem| pem.unwrap())
        .collect();
    let [issuer, root] = issuers.as_slice() else {
        panic!("an issuer and a root: {bundle}");
    };
    let (issuer, root) = (issuer.parse_x509().unwrap(), root.parse_x509().unwrap());
    assert_eq!(certificate.issuer(), issuer.subject());
    assert_eq!(issuer.issuer(), root.subject());
    assert_eq!(root.issuer(), root.subject());
}

#[tokio::test]
async fn an_attestation_key_has_exactly_the_attributes_that_are_demanded() {
    let Some(host) = Host::start() else { return };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    host.assert_nothing_left("create_ak");

    let public = evidence::Public::parse(&ak.public).unwrap();
    public.check_attestation_template().unwrap();
    // TPMA_OBJECT (TPM 2.0 Part 2 §8.3) follows type and nameAlg.
    let attributes = u32::from_be_bytes(ak.public[4..8].try_into().unwrap());
    let [
        fixed_tpm,
        fixed_parent,
        origin,
        user,
        no_da,
        restricted,
        sign,
    ] = [1, 4, 5, 6, 10, 16, 18].map(|bit| 1 << bit);
    assert_eq!(
        attributes,
        fixed_tpm | fixed_parent | origin | user | no_da | restricted | sign
    );
    assert_ne!(tpm.create_ak().await.unwrap(), ak, "each is a new key");
}

#[tokio::test]
async fn a_credential_opens_only_for_its_attestation_key() {
    let Some(host) = Host::start() else { return };
    let tpm = host.open().await;
    let endorsement = tpm.endorsement().await.unwrap();
    let (ak, other) = (
        tpm.create_ak().await.unwrap(),
        tpm.create_ak().await.unwrap(),
    );
    let secrets = CredentialSecrets {
        secret: [7; 32].into(),
        seed: [8; 32].into(),
    };
    let ek = evidence::Public::parse(&endorsement.public).unwrap();
    let credential = make_credential(
        &ek,
        &evidence::Public::parse(&ak.public).unwrap().name(),
        &secrets,
    )
    .unwrap();
    let (blob, secret) = (credential.blob, credential.encrypted_seed);

    let began = Instant::now();
    let opened = tpm.activate(&ak, &blob, &secret).await.unwrap();
    eprintln!("activate {:.0?}", began.elapsed());
    assert_eq!(opened.as_slice(), *secrets.secret);
    host.assert_nothing_left("activate");

    for (ak, blob) in [(&other, blob.clone()), (&ak, vec![0; blob.len()])] {
        let refused = tpm.activate(ak, &blob, &secret).await;
        assert!(matches!(refused, Err(Error::Credential(_))), "{refused:?}");
        host.assert_nothing_left("a refused activation");
    }
    let stranger = AkBlob {
        private: vec![1; ak.private.len()],
        ..ak
    };
    let refused = tpm.activate(&stranger, &blob, &secret).await;
    assert!(matches!(refused, Err(Error::AkLost(_))), "{refused:?}");
    host.assert_nothing_left("a key that does not load");
}
