//! Enrolment: a genuine TPM, of ours, that holds both keys.

use std::ops::{Deref, DerefMut};

use reqwest::{Method, StatusCode};
use touchstone_evidence::wire::{EnrolmentChallenge, JoinToken};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies;

/// A machine that speaks the enrolment protocol step by step.
struct Applicant(lies::Applicant);

impl Applicant {
    async fn with_tpm_of(host: &Host, world: &World) -> Self {
        let token = std::fs::read_to_string(&world.join_token).unwrap();
        let token: JoinToken = token.parse().unwrap();
        let applicant = lies::Applicant::at(&host.tpm.tcti(), &token).await;
        Self(applicant.unwrap())
    }
}

impl Deref for Applicant {
    type Target = lies::Applicant;

    fn deref(&self) -> &lies::Applicant {
        &self.0
    }
}

impl DerefMut for Applicant {
    fn deref_mut(&mut self) -> &mut lies::Applicant {
        &mut self.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_of_another_maker_is_refused() {
    let (believed, other) = (Maker::new(), Maker::new());
    let world = World::start(&Database::under_test(), &believed);
    let host = Host::boot(&other.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    let applicant = Applicant::with_tpm_of(&host, &world).await;
    let refused = applicant.begin().await.unwrap_err();
    assert!(
        ["ek-unknown-root", "ek-issuer-missing", "ek-bad-signature"].contains(&refused.as_str()),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_tpm_that_is_not_ours_is_refused() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let stranger = Host::boot(&maker.authority, "stranger", Profile::Healthy);
    let applicant = Applicant::with_tpm_of(&stranger, &world).await;
    assert_eq!(applicant.begin().await.unwrap_err(), "ek-not-in-inventory");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tpm_that_holds_both_keys_activates() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let other = Host::boot(&maker.authority, "other", Profile::Healthy);
    world.admit(&host, None).await;

    // Q11: the EK of one TPM with the AK of another. The credential opens in neither.
    let foreign = Applicant::with_tpm_of(&other, &world).await;
    let mut mixed = Applicant::with_tpm_of(&host, &world).await;
    mixed.request.ak_public = foreign.ak.public.clone().into();
    let challenge = mixed.begin().await.unwrap();
    let (blob, seed) = (&challenge.credential, &challenge.encrypted_seed);
    assert!(mixed.tpm.activate(&mixed.ak, blob, seed).await.is_err());
    assert!(foreign.tpm.activate(&foreign.ak, blob, seed).await.is_err());

    // E3: a wrong secret burns the enrolment, so that the right one no longer helps.
    let applicant = Applicant::with_tpm_of(&host, &world).await;
    let challenge = applicant.begin().await.unwrap();
    let secret = applicant
        .tpm
        .activate(
            &applicant.ak,
            &challenge.credential,
            &challenge.encrypted_seed,
        )
        .await
        .unwrap();
    let wrong = applicant.activate(&challenge, vec![0; 32]).await;
    assert_eq!(wrong.unwrap_err(), "activation-failed");
    let late = applicant.activate(&challenge, secret.to_vec()).await;
    assert_eq!(late.unwrap_err(), "enrolment-unknown");

    // And the whole way works; the same machine with other keys is then refused (E4).
    let challenge = applicant.begin().await.unwrap();
    let secret = applicant
        .tpm
        .activate(
            &applicant.ak,
            &challenge.credential,
            &challenge.encrypted_seed,
        )
        .await
        .unwrap();
    applicant
        .activate(&challenge, secret.to_vec())
        .await
        .unwrap();
    let again = Applicant::with_tpm_of(&host, &world).await;
    assert_eq!(
        again.begin().await.unwrap_err(),
        "host-enrolled-with-other-keys"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestation_key_that_could_lie_is_refused() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    let honest = Applicant::with_tpm_of(&host, &world).await;
    // Q10: without RESTRICTED (bit 16), without fixedTPM (bit 1). TPMA_OBJECT follows type and Name algorithm.
    for (byte, bit) in [(5, 0x01), (7, 0x02)] {
        let mut applicant = Applicant::with_tpm_of(&host, &world).await;
        applicant.request.ak_public = honest.request.ak_public.clone();
        applicant.request.ak_public.0[byte] ^= bit;
        assert_eq!(
            applicant.begin().await.unwrap_err(),
            "key-template-mismatch"
        );
    }
    // The key of the certificate, but in a TPM2B_PUBLIC without fixedTPM.
    let mut applicant = Applicant::with_tpm_of(&host, &world).await;
    applicant.request.ek_public.0[7] ^= 0x02;
    assert_eq!(
        applicant.begin().await.unwrap_err(),
        "key-template-mismatch"
    );
    // E2: the certificate is right, the EK another.
    let other = Host::boot(&maker.authority, "other", Profile::Healthy);
    world.admit(&other, None).await;
    let mut applicant = Applicant::with_tpm_of(&host, &world).await;
    let theirs = Applicant::with_tpm_of(&other, &world).await;
    applicant.request.ek_public = theirs.request.ek_public.clone();
    assert_eq!(applicant.begin().await.unwrap_err(), "ek-key-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_believes_only_the_ca_of_its_join_token() {
    let maker = Maker::new();
    let mut world = World::start(&Database::under_test(), &maker);
    let boot = |name| Host::boot(&maker.authority, name, Profile::Healthy);
    let (new, enrolled) = (boot("de-1"), boot("de-2"));
    world.admit(&new, None).await;
    world.join(&enrolled, None).await;
    // E9: another attestor takes the place of the true one, at its very address.
    world.server.stop();
    let address = world.server.url.trim_start_matches("https://").to_owned();
    let impostor = Server::start_at(&Database::under_test(), &address, &[]);
    assert_eq!(impostor.url, world.server.url);
    for refused in [
        new.enrol(&world.server, &world.join_token),
        enrolled.attest(&world.server),
    ] {
        let refused = refused.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
    }
    // Nobody said a word to it: it has nothing to count but its own beginning.
    let entries = impostor.audit_entries();
    assert!(
        entries.iter().all(|entry| entry["actor"] == "attestor"),
        "{entries:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_could_mislead_are_no_hosts() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let operator = world.server.operator();
    let long = "x".repeat(10 << 10);
    for name in ["a\r\nb", "../x", "dе-1", "DE-1", "", &long] {
        let machine = serde_json::json!({ "host": name, "ek_digests": ["00".repeat(32)] });
        let (status, _) = world
            .server
            .send(
                Method::POST,
                "/v1/inventory",
                operator["token"].as_str(),
                Some(&machine),
            )
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_is_by_the_key_that_began_and_in_time() {
    let (database, maker) = (Database::under_test(), Maker::new());
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    let applicant = Applicant::with_tpm_of(&host, &world).await;
    let answer = async |challenge: &EnrolmentChallenge| {
        let (blob, seed) = (&challenge.credential, &challenge.encrypted_seed);
        let secret = applicant.tpm.activate(&applicant.ak, blob, seed).await;
        secret.unwrap().to_vec()
    };

    // Another TLS key, which would be nobody's in later rounds.
    let challenge = applicant.begin().await.unwrap();
    let secret = answer(&challenge).await;
    let other = Applicant::with_tpm_of(&host, &world).await;
    let refused = other.activate(&challenge, secret).await;
    assert_eq!(refused.unwrap_err(), "activation-over-other-tls-key");

    let challenge = applicant.begin().await.unwrap();
    let secret = answer(&challenge).await;
    world
        .server
        .execute("UPDATE enrolments SET expires_at = 0")
        .await;
    let late = applicant.activate(&challenge, secret).await;
    assert_eq!(late.unwrap_err(), "enrolment-unknown");

    // Two begin while nobody is enrolled; the second to activate has other keys.
    let first = applicant.begin().await.unwrap();
    let second = other.begin().await.unwrap();
    let secret = answer(&first).await;
    applicant.activate(&first, secret).await.unwrap();
    let (blob, seed) = (&second.credential, &second.encrypted_seed);
    let secret = other.tpm.activate(&other.ak, blob, seed).await.unwrap();
    let refused = other.activate(&second, secret.to_vec()).await;
    assert_eq!(refused.unwrap_err(), "host-enrolled-with-other-keys");

    world
        .server
        .execute("UPDATE join_tokens SET expires_at = 0")
        .await;
    assert_eq!(applicant.begin().await.unwrap_err(), "unauthenticated");
}
