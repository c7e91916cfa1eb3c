//! The simulator itself: measured boots, reboots, power, and several at once.

use std::time::Instant;

use sha2::{Digest as _, Sha256};
use touchstone_agent::tpm::{Error, Signed, Tpm};
use touchstone_tpm_sim::swtpm::{self, Authority, Bank, RunningTpm, Swtpm};

use super::host::{Host, available};
use super::signed::{assert_signed_by, parsed, request};

#[tokio::test]
async fn a_replayed_log_gives_the_values_of_its_fold() {
    let Some(host) = Host::start() else { return };
    let events: Vec<_> = (0..50_u8)
        .map(|n| {
            (
                n % 8,
                vec![(Bank::Sha1, vec![n; 20]), (Bank::Sha256, vec![n; 32])],
            )
        })
        .collect();
    let began = Instant::now();
    host.running.replay(&events).unwrap();
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

    let refused = host.running.extend(24, &[]);
    assert!(matches!(refused, Err(swtpm::Error::Pcr(24))), "{refused:?}");
    let refused = host.running.extend(0, &[(Bank::Sha256, vec![0; 20])]);
    assert!(
        matches!(refused, Err(swtpm::Error::Digest { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_reboot_and_a_power_cycle_zero_the_pcrs_and_raise_the_reset_count() {
    let Some(mut host) = Host::start() else {
        return;
    };
    let tpm = host.open().await;
    let ak = tpm.create_ak().await.unwrap();
    let reset_count = |signed: &Signed| parsed(signed).clock_info().reset_count();
    let measure = |tpm: &RunningTpm| tpm.extend(0, &[(Bank::Sha256, vec![1; 32])]);

    measure(&host.running).unwrap();
    let before = tpm.attest(&ak, request(0)).await.unwrap();
    assert_ne!(before.pcr_values[0], [0; 32]);

    // The handle's saved keys are of the boot before: they must be noticed and made anew.
    host.running.reboot().unwrap();
    let after = tpm.attest(&ak, request(0)).await.unwrap();
    assert_eq!(after.pcr_values[0], [0; 32]);
    assert_eq!(reset_count(&after.quote), reset_count(&before.quote) + 1);
    assert_signed_by(&ak, &after.quote);

    measure(&host.running).unwrap();
    let began = Instant::now();
    host.running.stop().unwrap();
    host.running = host.swtpm.start().unwrap();
    eprintln!("power cycle {:.1?}", began.elapsed());
    let cycled = host.open().await.attest(&ak, request(0)).await.unwrap();
    assert_eq!(cycled.pcr_values[0], [0; 32]);
    assert_eq!(reset_count(&cycled.quote), reset_count(&after.quote) + 1);
}

#[tokio::test]
async fn where_no_tpm_is_the_error_says_so() {
    let refused = Tpm::open("floppy:/dev/fd0").await;
    assert!(matches!(refused, Err(Error::Tcti { .. })), "{refused:?}");

    let Some(host) = Host::start() else { return };
    let (tpm, tcti) = (host.open().await, host.running.tcti());
    host.running.stop().unwrap();
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
    if !available() {
        return;
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
