//! The agent's TPM calls against real swtpm processes, and the swtpm harness itself.
//!
//! Each test has its own authority and TPM in a temporary folder. Nothing sleeps, nothing is mocked.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use touchstone_agent::tpm::{
    AkBlob, AttestRequest, Attestation, Error, LOCATION_ATTRIBUTES_WRITTEN, LOCATION_INDEX,
    LOCATION_TAG_MAX, NvArea, Signed, Tpm,
};
use touchstone_evidence::credential::{CredentialSecrets, make_credential};
use touchstone_evidence::tpm::public as evidence;
use touchstone_tpm_sim::swtpm::{self, Authority, Bank, RunningTpm, Swtpm};
use tss_esapi::constants::CapabilityType;
use tss_esapi::structures::{Attest, AttestInfo, CapabilityData, EccPoint, Public, Signature};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::{Context, TctiNameConf};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

/// A host's TPM under power, with all that lies under it.
struct Host {
    tpm: RunningTpm,
    authority: Authority,
    swtpm: Swtpm,
    _dir: TempDir,
}

/// A TPM fresh from its maker, or `None`, loudly, where swtpm is not installed.
fn host() -> Option<Host> {
    if let Err(missing) = swtpm::available() {
        eprintln!("SKIPPED: {missing}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let authority = Authority::create(&dir.path().join("authority")).unwrap();
    let certified = began.elapsed();
    let swtpm = Swtpm::manufacture(&dir.path().join("tpm"), &authority, "host-a").unwrap();
    let manufactured = began.elapsed();
    let tpm = swtpm.start().unwrap();
    eprintln!(
        "authority {certified:.0?}, manufacture {:.0?}, start {:.1?}",
        manufactured - certified,
        began.elapsed() - manufactured
    );
    Some(Host {
        tpm,
        authority,
        swtpm,
        _dir: dir,
    })
}

impl Host {
    async fn open(&self) -> Tpm {
        Tpm::open(&self.tpm.tcti()).await.unwrap()
    }

    fn context(&self) -> Context {
        Context::new(TctiNameConf::from_str(&self.tpm.tcti()).unwrap()).unwrap()
    }

    /// Transient objects, loaded sessions and saved sessions (TPM 2.0 Part 2 §7.2): none may be left.
    fn assert_nothing_left(&self, after: &str) {
        let mut context = self.context();
        for range in [0x8000_0000, 0x0200_0000, 0x0300_0000] {
            let (left, _) = context
                .get_capability(CapabilityType::Handles, range, 16)
                .unwrap();
            let CapabilityData::Handles(left) = left else {
                panic!("not a list of handles: {left:?}");
            };
            assert!(left.is_empty(), "{after} left {:?}", left.into_inner());
        }
    }
}

fn request(qualifying: u8) -> AttestRequest {
    AttestRequest {
        qualifying: [qualifying; 32],
        pcrs: (0..16).collect(),
        location: None,
        release_key: None,
    }
}

fn parsed(signed: &Signed) -> Attest {
    Attest::unmarshall(&signed.attest).unwrap()
}

/// Checks the AK's signature over the very bytes, with a library that knows no TPM.
fn assert_signed_by(ak: &AkBlob, signed: &Signed) {
    let Public::Ecc { unique, .. } = Public::unmarshall(&ak.public).unwrap() else {
        panic!("the AK is not elliptic");
    };
    let Signature::EcDsa(signature) = Signature::unmarshall(&signed.signature).unwrap() else {
        panic!("not an ECDSA signature");
    };
    let raw = [
        padded(signature.signature_r().value()),
        padded(signature.signature_s().value()),
    ];
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(&unique))
        .verify(&signed.attest, raw.as_flattened())
        .unwrap();
}

fn point(point: &EccPoint) -> Vec<u8> {
    let (x, y) = (padded(point.x().value()), padded(point.y().value()));
    [&[4], x.as_slice(), y.as_slice()].concat()
}

fn padded(number: &[u8]) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[32 - number.len()..].copy_from_slice(number);
    padded
}

/// Checks that the quote covers exactly the values beside it.
fn assert_values_are_quoted(round: &Attestation) {
    let quote = parsed(&round.quote);
    let AttestInfo::Quote { info } = quote.attested() else {
        panic!("not a quote: {quote:?}");
    };
    let digest = Sha256::digest(round.pcr_values.as_flattened());
    assert_eq!(info.pcr_digest().value(), digest.as_slice());
}

/// A Name by SHA-256 (TPM 2.0 Part 1 §16).
fn name(public: &[u8]) -> Vec<u8> {
    [&[0x00, 0x0b], Sha256::digest(public).as_slice()].concat()
}

#[tokio::test]
async fn the_endorsement_is_the_one_its_certificate_names() {
    let Some(host) = host() else { return };
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
    let Some(host) = host() else { return };
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
    let Some(host) = host() else { return };
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

#[tokio::test]
async fn a_round_quotes_certifies_and_reads_the_same_state() {
    let Some(host) = host() else { return };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let tag = b"a location tag".as_slice();
    tpm.write_location_tag(tag).await.unwrap();
    host.tpm.extend(4, &[(Bank::Sha256, vec![9; 32])]).unwrap();

    let request = AttestRequest {
        location: Some(NvArea {
            index: LOCATION_INDEX,
            size: 14,
        }),
        ..request(0xa5)
    };
    for round in ["first", "later"] {
        let began = Instant::now();
        let attestation = tpm.attest(&ak, request.clone()).await.unwrap();
        eprintln!("{round} round with location {:.1?}", began.elapsed());
        host.assert_nothing_left("attest");

        assert_values_are_quoted(&attestation);
        let location = attestation.location.unwrap();
        assert_signed_by(&ak, &attestation.quote);
        assert_signed_by(&ak, &location);
        let (quote, location) = (parsed(&attestation.quote), parsed(&location));
        assert_eq!(quote.extra_data().value(), [0xa5; 32]);
        assert_eq!(location.extra_data().value(), [0xa5; 32]);

        let AttestInfo::Nv { info: certified } = location.attested() else {
            panic!("not a certified index: {location:?}");
        };
        assert_eq!(attestation.pcr_values.len(), 16);
        assert_ne!(attestation.pcr_values[4], [0; 32]);

        assert_eq!(certified.offset(), 0);
        assert_eq!(certified.nv_contents().value(), tag);
        // TPMS_NV_PUBLIC: index, nameAlg, attributes, an empty policy, dataSize.
        let public = [
            &LOCATION_INDEX.to_be_bytes()[..],
            &[0x00, 0x0b],
            &LOCATION_ATTRIBUTES_WRITTEN.to_be_bytes(),
            &[0, 0],
            &[0, 14],
        ]
        .concat();
        assert_eq!(certified.index_name().value(), name(&public));

        let (a, b) = (quote.clock_info(), location.clock_info());
        assert_eq!(a.reset_count(), b.reset_count());
        assert_eq!(a.restart_count(), b.restart_count());
        assert!(a.clock() <= b.clock());
        assert_eq!(quote.firmware_version(), location.firmware_version());
        assert_eq!(
            quote.qualified_signer().value(),
            location.qualified_signer().value()
        );
    }
    let began = Instant::now();
    tpm.attest(&ak, self::request(1)).await.unwrap();
    eprintln!("round without location {:.1?}", began.elapsed());
}

#[tokio::test]
async fn what_cannot_be_attested_is_refused_and_leaves_nothing() {
    let Some(host) = host() else { return };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let odd = AttestRequest {
        pcrs: vec![0, 24],
        ..request(0)
    };
    let refused = tpm.attest(&ak, odd).await;
    assert!(matches!(refused, Err(Error::Selection(_))), "{refused:?}");

    let undefined = AttestRequest {
        location: Some(NvArea {
            index: LOCATION_INDEX,
            size: 1,
        }),
        ..request(0)
    };
    let refused = tpm.attest(&ak, undefined).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    host.assert_nothing_left("an index that is not there");
}

#[tokio::test]
async fn a_bank_that_is_off_is_named() {
    if let Err(missing) = swtpm::available() {
        return eprintln!("SKIPPED: {missing}");
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&dir.path().join("authority")).unwrap();
    let swtpm =
        Swtpm::manufacture_with_banks(&dir.path().join("tpm"), &authority, "host-b", &[Bank::Sha1])
            .unwrap();
    let running = swtpm.start().unwrap();
    let tpm = Tpm::open(&running.tcti()).await.unwrap();
    let ak = tpm.create_ak().await.unwrap();
    let refused = tpm.attest(&ak, request(0)).await;
    assert!(matches!(refused, Err(Error::NoBank)), "{refused:?}");
}

#[tokio::test]
async fn a_location_tag_is_kept_whatever_its_size() {
    let Some(host) = host() else { return };
    let tpm = host.open().await;
    assert_eq!(tpm.location_tag().await.unwrap(), None);
    for tag in [
        vec![1; 100],
        vec![2; 100],
        vec![3; LOCATION_TAG_MAX],
        vec![4],
    ] {
        tpm.write_location_tag(&tag).await.unwrap();
        host.assert_nothing_left("write_location_tag");
        assert_eq!(tpm.location_tag().await.unwrap(), Some(tag));
    }
    for size in [0, LOCATION_TAG_MAX + 1] {
        let refused = tpm.write_location_tag(&vec![0; size]).await;
        assert!(matches!(refused, Err(Error::TagSize { .. })), "{refused:?}");
    }
    host.assert_nothing_left("location_tag");
}

#[tokio::test]
async fn a_replayed_log_gives_the_values_of_its_fold() {
    let Some(host) = host() else { return };
    let events: Vec<_> = (0..50_u8)
        .map(|n| {
            (
                n % 8,
                vec![(Bank::Sha1, vec![n; 20]), (Bank::Sha256, vec![n; 32])],
            )
        })
        .collect();
    let began = Instant::now();
    host.tpm.replay(&events).unwrap();
    eprintln!("replay of {} events {:.1?}", events.len(), began.elapsed());

    let mut expected = vec![[0_u8; 32]; 16];
    for (pcr, digests) in &events {
        let value = &mut expected[usize::from(*pcr)];
        *value = Sha256::digest([value.as_slice(), &digests[1].1].concat()).into();
    }
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let attestation = tpm.attest(&ak, request(0)).await.unwrap();
    assert_eq!(attestation.pcr_values, expected);

    let refused = host.tpm.extend(24, &[]);
    assert!(matches!(refused, Err(swtpm::Error::Pcr(24))), "{refused:?}");
    let refused = host.tpm.extend(0, &[(Bank::Sha256, vec![0; 20])]);
    assert!(
        matches!(refused, Err(swtpm::Error::Digest { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_reboot_and_a_power_cycle_zero_the_pcrs_and_raise_the_reset_count() {
    let Some(mut host) = host() else { return };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let reset_count = |signed: &Signed| parsed(signed).clock_info().reset_count();
    let measure = |tpm: &RunningTpm| tpm.extend(0, &[(Bank::Sha256, vec![1; 32])]);

    measure(&host.tpm).unwrap();
    let before = tpm.attest(&ak, request(0)).await.unwrap();
    assert_ne!(before.pcr_values[0], [0; 32]);

    // The handle's saved keys are of the boot before: they must be noticed and made anew.
    host.tpm.reboot().unwrap();
    let after = tpm.attest(&ak, request(0)).await.unwrap();
    assert_eq!(after.pcr_values[0], [0; 32]);
    assert_eq!(reset_count(&after.quote), reset_count(&before.quote) + 1);
    assert_signed_by(&ak, &after.quote);

    measure(&host.tpm).unwrap();
    let began = Instant::now();
    host.tpm.stop().unwrap();
    host.tpm = host.swtpm.start().unwrap();
    eprintln!("power cycle {:.1?}", began.elapsed());
    let cycled = host.open().await.attest(&ak, request(0)).await.unwrap();
    assert_eq!(cycled.pcr_values[0], [0; 32]);
    assert_eq!(reset_count(&cycled.quote), reset_count(&after.quote) + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn extends_between_the_commands_of_a_round_never_show() {
    let Some(host) = host() else { return };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let (extends, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut steady, mut unsteady) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                host.tpm.extend(10, &[(Bank::Sha256, vec![1; 32])]).unwrap();
                extends.fetch_add(1, Relaxed);
            }
        });
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            while extends.load(Relaxed) < 300 || steady + unsteady < 50 {
                match runtime.block_on(tpm.attest(&ak, request(0))) {
                    Ok(round) => {
                        assert_values_are_quoted(&round);
                        steady += 1;
                    }
                    Err(Error::Unsteady { .. }) => unsteady += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
        done.store(true, Relaxed);
    });
    eprintln!("{steady} rounds held, {unsteady} gave up");
    tpm.attest(&ak, request(0)).await.unwrap();
    host.assert_nothing_left("rounds under extends");
}

#[tokio::test]
async fn where_no_tpm_is_the_error_says_so() {
    let refused = Tpm::open("floppy:/dev/fd0").await;
    assert!(matches!(refused, Err(Error::Tcti { .. })), "{refused:?}");

    let Some(host) = host() else { return };
    let (tpm, tcti) = (host.open().await, host.tpm.tcti());
    host.tpm.stop().unwrap();
    let refused = Tpm::open(&tcti).await;
    assert!(
        matches!(refused, Err(Error::Unreachable { .. })),
        "{refused:?}"
    );
    let refused = tpm.endorsement().await;
    assert!(
        matches!(refused, Err(Error::Unreachable { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_fleet_is_made_and_started_in_parallel() {
    if let Err(missing) = swtpm::available() {
        return eprintln!("SKIPPED: {missing}");
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&dir.path().join("authority")).unwrap();
    let began = Instant::now();
    let fleet: Vec<RunningTpm> = std::thread::scope(|scope| {
        let made: Vec<_> = ["host-a", "host-b", "host-c"]
            .map(|name| {
                let (dir, authority) = (dir.path().join(name), &authority);
                scope.spawn(move || Swtpm::manufacture(&dir, authority, name)?.start())
            })
            .into_iter()
            .collect();
        made.into_iter()
            .map(|made| made.join().unwrap().unwrap())
            .collect()
    });
    eprintln!("three hosts {:.0?}", began.elapsed());
    // The threads that started them have ended: the TPMs have not.
    for tpm in fleet {
        tpm.extend(0, &[(Bank::Sha256, vec![1; 32])]).unwrap();
        tpm.stop().unwrap();
    }
    let refused = Swtpm::manufacture(&dir.path().join("host-a"), &authority, "host-a");
    assert!(
        matches!(&refused, Err(swtpm::Error::Failed { said, .. }) if said.contains("existing")),
        "{refused:?}"
    );
}
