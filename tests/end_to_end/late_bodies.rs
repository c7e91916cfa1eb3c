//! Rounds whose request was let in before something changed: what is held about the host when the round is
//! judged is what counts, not what was held when its head arrived.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::slow::Slow;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::swtpm::Bank;

#[tokio::test(flavor = "multi_thread")]
async fn a_late_round_does_not_pass_over_another_firmware() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        world.admit(&host, Some("DE")).await;
        host.enrol(&world.server, &world.join_token).unwrap();
        let liar = Liar::take(&host, &world.server).await;
        // Let in while nothing is known of the firmware.
        let late = Slow::post(&liar.identity, "/v1/evidence");
        assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
        let accept = ["host", "accept-firmware", "de-1", "--version", "0xdead"];
        world.server.command(&accept);
        let challenge = liar.challenge().await;
        let body = serde_json::to_vec(&liar.evidence(&challenge).await).unwrap();
        let answer = late.send(&body);
        assert!(answer.contains("firmware-version-changed"), "{answer}");
        assert!(!world.server.place("u1", "node-de-1").await.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_round_does_not_join_a_log_with_the_banks_of_another() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let banks = [Bank::Sha1, Bank::Sha256];
    let host = Host::boot_with_banks(&maker.authority, "de-1", &banks);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    let liar = Liar::take(&host, &world.server).await;
    // A log of the SHA-256 bank alone is not the history of both banks.
    let other = std::fs::read(Profile::Healthy.boot_log()).unwrap();
    let name = Sha256Digest::of(&other);
    let refuted = liar.show_log(other).await;
    assert_eq!(refuted.unwrap().tier, TrustTier::Contraindicated);
    let late = Slow::post(&liar.identity, "/v1/evidence");
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
    let challenge = liar.challenge().await;
    let mut evidence = liar.evidence(&challenge).await;
    evidence.boot_log_digest = name;
    evidence.boot_log = None;
    evidence.banks = None;
    let answer = late.send(&serde_json::to_vec(&evidence).unwrap());
    assert!(answer.contains("boot-log-required"), "{answer}");
}
