//! One simulated host: its keys, its boot, and what it says in a round.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use aws_lc_rs::rand;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _};
use rustls::ClientConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Few;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::release_key::release_key_name;
use touchstone_evidence::sealed_release::{ReleasePolicy, payload};
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::wire::{
    Activation, Challenge, EnrolmentChallenge, EnrolmentRequest, Evidence, Lease, Release,
    ReleaseRequest, RuntimePart, RuntimePosition,
};
use touchstone_tpm_sim::software::{Maker, SoftwareTpm};

use zeroize::Zeroizing;

use super::boot::Boot;
use super::wire::Tls;

/// A TPM that was powered for so long, at most, before the run: half a year in milliseconds.
const AGE_MAX: u64 = 180 * 24 * 3600 * 1000;

/// A host.
pub(crate) struct Host {
    pub(crate) id: HostId,
    tpm: SoftwareTpm,
    ek_certificate: Vec<u8>,
    /// The connections of its agent.
    pub(crate) tls: Arc<ClientConfig>,
    tls_key: Sha256Digest,
    boot: Arc<Boot>,
    boot_id: [u8; 16],
    /// The TPM's clock at the start of the run, milliseconds.
    age: u64,
    last_clock: u64,
    /// Nothing was sent in this boot.
    fresh: bool,
    /// What its TPM carries in the location index.
    tag: Option<Vec<u8>>,
    /// What its last answer brought.
    pub(crate) challenge: Option<Challenge>,
}

impl Host {
    /// A new machine with a TPM of `maker`.
    pub(crate) fn make(
        id: HostId,
        serial: u64,
        maker: &Maker,
        tls: &Tls,
        boot: Arc<Boot>,
    ) -> anyhow::Result<Self> {
        let tpm = SoftwareTpm::generate()?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "touchstone-agent");
        let certificate = params.self_signed(&key)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self {
            id,
            ek_certificate: maker.certify(tpm.ek_public(), serial)?,
            tls: tls.of_host(certificate.der().clone(), private)?,
            tls_key: Sha256Digest::of(&key.subject_public_key_info()),
            tpm,
            boot,
            boot_id: random()?,
            age: u64::from_be_bytes(random()?) % AGE_MAX,
            last_clock: 0,
            fresh: true,
            tag: None,
            challenge: None,
        })
    }

    /// What the inventory calls its EK.
    pub(crate) fn ek_digest(&self) -> Sha256Digest {
        self.tpm.ek_public().spki_digest()
    }

    /// The first message of its enrolment.
    pub(crate) fn enrolment_request(&self) -> EnrolmentRequest {
        EnrolmentRequest {
            ek_certificate: self.ek_certificate.clone().into(),
            intermediates: Few::default(),
            platform_certificate: None,
            ek_public: self.tpm.ek_public().as_bytes().to_vec().into(),
            ak_public: self
                .tpm
                .attestation_key()
                .public()
                .as_bytes()
                .to_vec()
                .into(),
        }
    }

    /// The second: the secret that only its TPM can open.
    pub(crate) fn activation(&self, challenge: &EnrolmentChallenge) -> anyhow::Result<Activation> {
        if challenge.host != self.id {
            bail!("the attestor takes `{}` for `{}`", self.id, challenge.host);
        }
        Ok(Activation {
            enrolment: challenge.enrolment.clone(),
            secret: self.tpm.activate(challenge)?.to_vec().into(),
        })
    }

    /// Boots anew: what it says next goes with the whole log.
    pub(crate) fn reboot(&mut self) -> anyhow::Result<()> {
        self.tpm.reset()?;
        self.boot_id = random()?;
        self.fresh = true;
        Ok(())
    }

    /// The answer to the challenge that it holds, as JSON; `elapsed`: since the start of the run. In the order of
    /// the agent: quote, location, banks.
    pub(crate) fn evidence(&mut self, elapsed: Duration) -> anyhow::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.answer(elapsed, false)?)?)
    }

    /// A request for the key of the layer with this annotation, which answers the challenge at hand.
    pub(crate) fn wish(
        &mut self,
        elapsed: Duration,
        annotation: &[u8],
    ) -> anyhow::Result<ReleaseRequest> {
        Ok(ReleaseRequest {
            evidence: self.answer(elapsed, true)?,
            annotation: annotation.to_vec().into(),
            manifest: None,
        })
    }

    /// What was released for `wish`, opened.
    pub(crate) fn open(
        &self,
        wish: &ReleaseRequest,
        release: &Release,
    ) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let lease: Lease = serde_json::from_slice(&release.lease)?;
        let counters = (self.tpm.reset_count(), self.tpm.restart_count());
        let policy = ReleasePolicy::new(&wish.evidence.pcrs, counters, lease.clock_end)?;
        let secret = self.tpm.open_release(&release.sealed, &policy)?;
        Ok(payload::decrypt(&secret, &release.lease, &release.payload)?)
    }

    fn answer(&mut self, elapsed: Duration, release_key: bool) -> anyhow::Result<Evidence> {
        let challenge = self
            .challenge
            .take()
            .context("the host holds no challenge")?;
        // An agent writes the tag that the attestor names into its TPM before it quotes.
        if let Some(tag) = &challenge.location_tag {
            self.tag = Some(tag.to_vec());
        }
        let clock = self.clock(elapsed);
        let name = release_key.then(|| release_key_name(self.tpm.release_key()));
        let qualifying = self.qualifying(&challenge, name.as_ref())?;
        let pcrs = self.boot.values(challenge.pcrs);
        let quote = self.tpm.quote(&qualifying, clock, &pcrs)?;
        let certify = |tag: &Vec<u8>| self.tpm.certify_location(&qualifying, clock, tag);
        let location = self.tag.as_ref().map(certify).transpose()?;
        let whole = self.fresh || challenge.known_boot_log != Some(self.boot.digest);
        let banks = match whole {
            true => Some(self.tpm.banks(&qualifying, clock, self.boot.all())?),
            false => None,
        };
        let release_key = match release_key {
            true => Some(self.tpm.certify_release_key(&qualifying, clock)?),
            false => None,
        };
        let evidence = Evidence {
            nonce: challenge.nonce,
            boot_id: self.boot_id.to_vec().into(),
            quote,
            pcrs,
            boot_log_digest: self.boot.digest,
            boot_log: whole.then(|| self.boot.log.clone().into()),
            banks,
            runtime: self.runtime(challenge.runtime),
            location,
            release_key,
            node_token: None,
        };
        self.fresh = false;
        Ok(evidence)
    }

    /// What comes next is as after a boot, since the last round was not accepted.
    pub(crate) fn start_over(&mut self) {
        self.fresh = true;
        self.challenge = None;
    }

    /// The runtime list from where the attestor wants it to go on; after a boot, all of it.
    fn runtime(&self, wanted: Option<RuntimePosition>) -> Option<RuntimePart> {
        let list = self.boot.runtime_list?;
        let counters = (self.tpm.reset_count(), self.tpm.restart_count());
        let wanted = wanted.filter(|at| (at.reset_count, at.restart_count) == counters);
        let offset = wanted.map_or(0, |at| at.offset);
        let rest = usize::try_from(offset).ok().and_then(|at| list.get(at..));
        Some(RuntimePart {
            offset,
            entries: rest.unwrap_or_default().to_vec().into(),
            more: false,
        })
    }

    /// Milliseconds for which its TPM has been powered. No TPM signs twice in one.
    fn clock(&mut self, elapsed: Duration) -> u64 {
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let now = self.age.saturating_add(elapsed);
        self.last_clock = now.max(self.last_clock.saturating_add(1));
        self.last_clock
    }

    fn qualifying(
        &self,
        challenge: &Challenge,
        release_key: Option<&Name>,
    ) -> anyhow::Result<Sha256Digest> {
        let nonce = <&[u8; 32]>::try_from(&challenge.nonce[..]);
        let data = QualifyingData {
            nonce: nonce.map_err(|_| anyhow!("the challenge's nonce has not 32 bytes"))?,
            host: &self.id,
            boot_id: &self.boot_id,
            location_tag: self.tag.as_deref().map(Sha256Digest::of),
            release_key: release_key.map(Name::as_bytes),
            tls_key: &self.tls_key,
            node_token: None,
        };
        Ok(data.digest())
    }
}

/// Bytes that nobody can foretell.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| anyhow!("this machine has no source of randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_evidence::pcr::PcrSelection;
    use touchstone_evidence::quote::{Authentic, VerifiedQuote};

    use super::super::recording::Recording;
    use super::*;

    fn host() -> Host {
        let boot = Boot::recorded(&Recording::choose(None).unwrap(), true).unwrap();
        let maker = Maker::create("load test").unwrap();
        let tls = Tls::pinned(maker.pem()).unwrap();
        Host::make("load-1".parse().unwrap(), 1, &maker, &tls, boot).unwrap()
    }

    fn challenge(known_boot_log: Option<Sha256Digest>, tag: Option<&[u8]>) -> Challenge {
        Challenge {
            nonce: vec![7; 32].into(),
            pcrs: PcrSelection::DEFAULT,
            expires_at: 0,
            known_boot_log,
            runtime: None,
            location_tag: tag.map(|tag| tag.to_vec().into()),
        }
    }

    /// What the host says to `challenge`, with its clock as quoted.
    fn said(host: &mut Host, challenge: Challenge) -> (Evidence, u64) {
        host.challenge = Some(challenge.clone());
        let bytes = host.evidence(Duration::ZERO).unwrap();
        let evidence: Evidence = serde_json::from_slice(&bytes).unwrap();
        let qualifying = host.qualifying(&challenge, None).unwrap();
        let key = host.tpm.attestation_key();
        let quote = Authentic::verify(&evidence.quote, key, &qualifying).unwrap();
        let values = evidence.pcrs.clone();
        let quote = VerifiedQuote::verify(&quote, challenge.pcrs, values).unwrap();
        (evidence, quote.clock().clock)
    }

    #[test]
    fn the_whole_log_comes_once_a_boot_and_where_it_is_not_known() {
        let mut host = host();
        let known = Some(host.boot.digest);
        let (first, clock) = said(&mut host, challenge(known, None));
        assert_eq!(first.boot_log.unwrap()[..], host.boot.log);
        assert!(first.banks.is_some());
        let (steady, later) = said(&mut host, challenge(known, None));
        assert!(steady.boot_log.is_none() && steady.banks.is_none());
        assert!(later > clock);
        assert!(said(&mut host, challenge(None, None)).0.boot_log.is_some());
        host.reboot().unwrap();
        let (again, _) = said(&mut host, challenge(known, None));
        assert!(again.boot_log.is_some());
        assert_ne!(again.boot_id, first.boot_id);
    }

    #[test]
    fn a_tag_stays_in_the_tpm_until_another_is_named() {
        let mut host = host();
        assert!(said(&mut host, challenge(None, None)).0.location.is_none());
        assert!(
            said(&mut host, challenge(None, Some(b"a")))
                .0
                .location
                .is_some()
        );
        assert!(said(&mut host, challenge(None, None)).0.location.is_some());
        assert_eq!(host.tag.as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn the_runtime_list_goes_on_where_it_is_wanted_within_one_boot() {
        let mut host = host();
        let list = host.boot.runtime_list.unwrap();
        let wanted = |reset_count| Challenge {
            runtime: Some(RuntimePosition {
                reset_count,
                restart_count: 0,
                offset: list.len() as u64,
            }),
            ..challenge(None, None)
        };
        let mut entries = |challenge| said(&mut host, challenge).0.runtime.unwrap().entries.len();
        assert_eq!(entries(challenge(None, None)), list.len());
        assert_eq!(entries(wanted(1)), 0);
        assert_eq!(entries(wanted(2)), list.len());
    }

    #[test]
    fn a_challenge_is_answered_once() {
        let mut host = host();
        said(&mut host, challenge(None, None));
        assert!(host.evidence(Duration::ZERO).is_err());
    }
}
