//! A sealed release on real swtpm: it opens on the host, in the boot, in the state and before the end that it was
//! made for, and each other way is refused, one by one.
//!
//! What the attestor would do is done by its own verifier; what a root of the host may try, by tss-esapi.

mod bus;
mod root;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use touchstone_agent::tpm::{AkBlob, AttestRequest, Attestation, Error, Signed, Tpm};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::quote::{Authentic, VerifiedQuote};
use touchstone_evidence::release_key::VerifiedReleaseKey;
use touchstone_evidence::sealed_release::{NotTheObject, ReleasePolicy, SealSecrets, seal};
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::wire::{SealedRelease, SignedAttest};
use touchstone_tpm_sim::swtpm::Bank;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;

use super::host;
use bus::{Bus, UNSEAL};

const SECRET: [u8; 32] = [0x5a; 32];
/// For how long a release is good, milliseconds.
const LEASE: u64 = 60_000;

/// A host with its TPM under power, a boot in its PCRs and an attestation key.
struct Host {
    machine: host::Host,
    tpm: Tpm,
    ak: AkBlob,
    key: AttestationKey,
}

/// What a round proved, sealed to it.
struct Release {
    sealed: SealedRelease,
    policy: ReleasePolicy,
}

impl Host {
    async fn boot() -> Option<Self> {
        let machine = host::Host::start()?;
        let tpm = machine.open().await;
        let endorsement = tpm.endorsement().await.unwrap();
        let ak = tpm.create_ak().await.unwrap();
        let ek = Public::parse(&endorsement.public).unwrap();
        let key = AttestationKey::under(&ek, Public::parse(&ak.public).unwrap()).unwrap();
        let host = Self {
            machine,
            tpm,
            ak,
            key,
        };
        host.measure_boot();
        Some(host)
    }

    /// What firmware and boot loader measure: the same in each boot.
    fn measure_boot(&self) {
        for pcr in [0, 4, 7, 9, 11] {
            self.extend(pcr);
        }
    }

    fn extend(&self, pcr: u8) {
        let digest = (Bank::Sha256, vec![pcr; 32]);
        self.machine.running.extend(pcr, &[digest]).unwrap();
    }

    fn port(&self) -> u16 {
        let tcti = self.machine.running.tcti();
        tcti.rsplit('=').next().unwrap().parse().unwrap()
    }

    /// A round with the release key in it, as the agent makes it.
    async fn attest(&self, qualifying: &Sha256Digest) -> (Vec<u8>, Attestation) {
        let public = self.tpm.release_key().await.unwrap();
        let request = AttestRequest {
            qualifying: qualifying.0,
            pcrs: PcrSelection::DEFAULT.indices().collect(),
            location: None,
            release_key: Some(public.clone()),
        };
        (public, self.tpm.attest(&self.ak, request).await.unwrap())
    }

    /// What the attestor makes of a round.
    async fn verified(&self) -> (VerifiedReleaseKey, PcrValues) {
        let round = Sha256Digest::of(b"round");
        let (public, attestation) = self.attest(&round).await;
        let values = attestation.pcr_values.iter().copied().map(Sha256Digest);
        let values = PcrValues(PcrSelection::DEFAULT.indices().zip(values).collect());
        let authentic = |signed: Signed| {
            let signed = SignedAttest {
                attest: signed.attest.into(),
                signature: signed.signature.into(),
            };
            Authentic::verify(&signed, &self.key, &round).unwrap()
        };
        let quote = authentic(attestation.quote);
        let quote = VerifiedQuote::verify(&quote, PcrSelection::DEFAULT, values.clone()).unwrap();
        let certified = authentic(attestation.release_key.unwrap());
        let key = VerifiedReleaseKey::verify(&public, &certified, &quote).unwrap();
        (key, values)
    }

    /// A secret, sealed to this host as it is.
    async fn sealed(&self) -> Release {
        let (key, values) = self.verified().await;
        let clock = key.quote().clock();
        let end = clock.clock + LEASE;
        let secrets = SealSecrets {
            secret: SECRET.into(),
            obfuscation: [0xa5; 32].into(),
        };
        let counters = (clock.reset_count, clock.restart_count);
        Release {
            sealed: seal(&key, end, &secrets).unwrap(),
            policy: ReleasePolicy::new(&values, counters, end).unwrap(),
        }
    }

    /// What comes of opening, with nothing left behind.
    async fn open(&self, release: &Release) -> Result<[u8; 32], Error> {
        self.open_by(&self.tpm, release).await
    }

    /// The code for which it does not open.
    async fn refused(&self, release: &Release) -> &'static str {
        let error = self.open(release).await.unwrap_err();
        error.release_code().unwrap_or_else(|| panic!("{error:?}"))
    }

    async fn open_by(&self, tpm: &Tpm, release: &Release) -> Result<[u8; 32], Error> {
        let (sealed, policy) = (release.sealed.clone(), release.policy);
        let opened = tpm.open_release(sealed, policy).await;
        self.machine.assert_nothing_left("a release");
        opened.map(|secret| *secret)
    }
}

#[tokio::test]
async fn a_release_opens_on_its_host_also_after_the_agent_was_restarted() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let began = Instant::now();
    let release = host.sealed().await;
    host.machine.assert_nothing_left("a release");
    eprintln!("round with a new release key {:.1?}", began.elapsed());
    for time in ["first", "second"] {
        let began = Instant::now();
        assert_eq!(host.open(&release).await.unwrap(), SECRET);
        eprintln!("{time} opening {:.1?}", began.elapsed());
    }
    // The runtime list grows with each exec.
    host.extend(10);
    assert_eq!(host.open(&release).await.unwrap(), SECRET);
    let restarted = Tpm::open(&host.machine.running.tcti()).await.unwrap();
    let key = host.tpm.release_key().await.unwrap();
    assert_eq!(restarted.release_key().await.unwrap(), key);
    let restarted = Tpm::open(&host.machine.running.tcti()).await.unwrap();
    assert_eq!(host.open_by(&restarted, &release).await.unwrap(), SECRET);
}

#[tokio::test]
async fn a_release_does_not_open_once_a_boot_pcr_was_extended() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let release = host.sealed().await;
    host.extend(4);
    assert_eq!(host.refused(&release).await, "release-pcrs-differ");
}

#[tokio::test]
async fn a_release_does_not_open_in_another_boot() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let release = host.sealed().await;
    let key = host.tpm.release_key().await.unwrap();
    host.machine.running.reboot().unwrap();
    host.measure_boot();
    assert_eq!(host.refused(&release).await, "release-foreign");
    assert_ne!(host.tpm.release_key().await.unwrap(), key);
    // A round of this boot cannot go with the key of the last.
    let request = AttestRequest {
        qualifying: [0; 32],
        pcrs: vec![0],
        location: None,
        release_key: Some(key),
    };
    let refused = host.tpm.attest(&host.ak, request).await.unwrap_err();
    assert_eq!(refused.release_code(), Some("release-key-lost"));
    host.machine.assert_nothing_left("a release");
    let release = host.sealed().await;
    assert_eq!(host.open(&release).await.unwrap(), SECRET);
}

#[tokio::test]
async fn a_release_does_not_open_after_a_tpm_restart_with_the_old_pcr_values() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let release = host.sealed().await;
    let key = host.tpm.release_key().await.unwrap();
    host.machine.running.restart().unwrap();
    host.measure_boot();
    // All but restartCount is as it was.
    let (proven, values) = host.verified().await;
    let clock = proven.quote().clock();
    let end = u64::from_be_bytes(release.policy.within_lease().operand);
    let again = |restart| ReleasePolicy::new(&values, (clock.reset_count, restart), end).unwrap();
    assert_eq!(host.tpm.release_key().await.unwrap(), key);
    assert_eq!(again(clock.restart_count - 1), release.policy);
    assert_ne!(again(clock.restart_count), release.policy);
    assert_eq!(host.refused(&release).await, "release-restarted");
    // Nor does it open to somebody who compares the counters as they are now.
    let now = again(clock.restart_count);
    let compared = [now.same_boot(), now.within_lease()];
    let opened = root::unseal(
        &mut host.machine.context(),
        host.port(),
        &release.sealed,
        &compared,
    );
    assert_eq!(opened, Err(Tss2ResponseCodeKind::PolicyFail));
}

#[tokio::test]
async fn a_release_does_not_open_once_its_lease_is_over() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let release = host.sealed().await;
    assert_eq!(host.open(&release).await.unwrap(), SECRET);
    host.machine
        .running
        .advance_clock(Duration::from_millis(LEASE))
        .unwrap();
    assert_eq!(host.refused(&release).await, "release-lease-over");
}

#[tokio::test]
async fn a_release_does_not_open_in_another_tpm() {
    let (Some(host), Some(other)) = (Host::boot().await, Host::boot().await) else {
        return;
    };
    let release = host.sealed().await;
    assert_eq!(other.refused(&release).await, "release-foreign");
}

#[tokio::test]
async fn an_object_that_opens_in_other_ways_is_not_opened() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let right = host.sealed().await;
    let told = async |change: fn(&mut Vec<u8>)| {
        let mut sealed = right.sealed.clone();
        change(&mut sealed.public.0);
        let policy = right.policy;
        let error = host.open(&Release { sealed, policy }).await.unwrap_err();
        assert_eq!(error.release_code(), Some("release-object-mismatch"));
        match error {
            Error::NotTheObject(why) => why,
            other => panic!("{other:?}"),
        }
    };
    // userWithAuth, fixedTPM: TPMA_OBJECT (TPM 2.0 Part 2 §8.3) follows type and nameAlg.
    for change in [
        |lie: &mut Vec<u8>| lie[7] |= 1 << 6,
        |lie: &mut Vec<u8>| lie[7] |= 1 << 1,
    ] {
        let why = told(change).await;
        assert!(matches!(why, NotTheObject::Attributes { .. }), "{why:?}");
    }
    // Another policy, such as one with a branch.
    let why = told(|lie| lie[10] ^= 1).await;
    assert_eq!(why, NotTheObject::Policy);
    let why = told(|lie| lie.truncate(77)).await;
    assert!(matches!(why, NotTheObject::Malformed(_)), "{why:?}");
}

#[tokio::test]
async fn an_extend_between_policy_and_use_is_tried_again_and_never_passed_by() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let release = host.sealed().await;
    let host = Arc::new(host);
    // Before each use, up to the given one, the PCR is extended.
    let watched = |pcr: u8, uses: usize| {
        let (host, seen) = (Arc::clone(&host), Arc::new(AtomicUsize::new(0)));
        let bus = Bus::before(host.port(), {
            let (host, seen) = (Arc::clone(&host), Arc::clone(&seen));
            move |code| {
                if code == UNSEAL && seen.fetch_add(1, Relaxed) < uses {
                    host.extend(pcr);
                }
            }
        });
        (bus, seen)
    };
    // PCR 10 is not selected, and voids the session all the same.
    let (bus, seen) = watched(10, 3);
    let tpm = Tpm::open(&bus.tcti()).await.unwrap();
    assert_eq!(host.open_by(&tpm, &release).await.unwrap(), SECRET);
    assert_eq!(seen.load(Relaxed), 4);
    assert!(!bus.carried(&SECRET), "the secret crossed the bus in clear");

    let (bus, seen) = watched(10, usize::MAX);
    let tpm = Tpm::open(&bus.tcti()).await.unwrap();
    let refused = host.open_by(&tpm, &release).await.unwrap_err();
    assert_eq!(refused.release_code(), Some("release-pcrs-unsteady"));
    let Error::PcrsChanged { attempts } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(seen.load(Relaxed), attempts);

    let (bus, seen) = watched(4, 1);
    let tpm = Tpm::open(&bus.tcti()).await.unwrap();
    let refused = host.open_by(&tpm, &release).await.unwrap_err();
    assert_eq!(refused.release_code(), Some("release-pcrs-differ"));
    assert_eq!(seen.load(Relaxed), 1);
}

#[tokio::test]
async fn a_root_of_the_host_gets_no_more_out_of_a_release_than_its_policy_gives() {
    let Some(host) = Host::boot().await else {
        return;
    };
    let release = host.sealed().await;
    let (context, Release { sealed, policy }) = (&mut host.machine.context(), release);
    root::cannot_use_it_otherwise(context, host.port(), &sealed, &policy);
    root::cannot_import_it_elsewhere(context, &sealed);
}

#[tokio::test]
async fn a_public_area_without_its_private_part_is_not_certified() {
    let Some(host) = Host::boot().await else {
        return;
    };
    root::cannot_certify_a_key_without_its_private_part(&mut host.machine.context());
    host.machine.assert_nothing_left("a release");
}
