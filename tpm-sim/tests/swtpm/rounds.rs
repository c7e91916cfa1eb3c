//! Rounds and the location index, as the agent asks them of a TPM.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use touchstone_agent::tpm::{
    AttestRequest, Error, LOCATION_ATTRIBUTES_WRITTEN, LOCATION_INDEX, LOCATION_TAG_MAX, NvArea,
};
use touchstone_tpm_sim::swtpm::{Authority, Bank, Swtpm};
use tss_esapi::structures::AttestInfo;

use super::host::Host;
use super::signed::{assert_signed_by, assert_values_are_quoted, parsed, request};

/// A Name by SHA-256 (TPM 2.0 Part 1 §16).
fn name(public: &[u8]) -> Vec<u8> {
    [&[0x00, 0x0b], Sha256::digest(public).as_slice()].concat()
}

#[tokio::test]
async fn a_round_quotes_certifies_and_reads_the_same_state() {
    let Some(host) = Host::start() else { return };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let tag = b"a location tag".as_slice();
    tpm.write_location_tag(tag).await.unwrap();
    host.running
        .extend(4, &[(Bank::Sha256, vec![9; 32])])
        .unwrap();

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

#[tokio::test(flavor = "multi_thread")]
async fn extends_between_the_commands_of_a_round_never_show() {
    let Some(host) = Host::start() else { return };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let (extends, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut steady, mut unsteady) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                host.running
                    .extend(10, &[(Bank::Sha256, vec![1; 32])])
                    .unwrap();
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
async fn what_cannot_be_attested_is_refused_and_leaves_nothing() {
    let Some(host) = Host::start() else { return };
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
    let only_sha1 = |dir: &Path, authority: &Authority| {
        Swtpm::manufacture_with_banks(dir, authority, "host-b", &[Bank::Sha1])
    };
    let Some(host) = Host::of(only_sha1) else {
        return;
    };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let refused = tpm.attest(&ak, request(0)).await;
    assert!(matches!(refused, Err(Error::NoBank)), "{refused:?}");
}

#[tokio::test]
async fn a_location_tag_is_kept_whatever_its_size() {
    let Some(host) = Host::start() else { return };
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
