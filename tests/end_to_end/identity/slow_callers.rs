//! Requests that were let in while an identity lived, and whose bodies come after its end.

use touchstone_agent::state::Records;
use touchstone_agent::tls::TlsKey;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::slow::Slow;
use touchstone_tests::world::{Maker, World, healthy_host};

use super::view;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replaced_tpm_says_is_no_word_of_its_successor() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let boot = |name, profile| Host::boot(&maker.authority, name, profile);
        let (old, new) = (
            boot("de-1", Profile::Healthy),
            boot("de-1-new-board", Profile::Altered),
        );
        // Counters that the new TPM will not reach for a while.
        old.reboot();
        old.reboot();
        assert_eq!(world.join(&old, Some("DE")).await["tier"], "affirming");
        let identity = Records::at(&old.settings(server).state).identity();
        let identity = identity.unwrap().unwrap();
        let liar = Liar::take(&old, server).await;
        let evidence = Slow::post(&identity, "/v1/evidence");
        let challenge = Slow::post(&identity, "/v1/challenges");

        let certificate = new.ek_certificate().await;
        let replace = ["host", "replace", "de-1", "--ek-certificate", &certificate];
        server.command(&replace);
        new.enrol(server, &world.join_token).unwrap();
        let before = view(&world, "de-1").await;

        // The challenge that the name has now, answered by the TPM that had the name.
        let records = Records::at(&new.settings(server).state);
        let fresh = records.challenge().unwrap().unwrap();
        let body = serde_json::to_vec(&liar.evidence(&fresh).await).unwrap();
        for answer in [evidence.send(&body), challenge.send(b"{}")] {
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            let (_, problem) = answer.split_once("touchstone:").unwrap();
            assert_eq!(problem.split('"').next(), Some("host-replaced"));
        }
        assert_eq!(view(&world, "de-1").await, before);
        // The successor is not held to the counters of another TPM, nor lost its challenge.
        let outcome = new.attest(server).unwrap();
        assert_eq!(outcome["tier"], "contraindicated", "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (world, host, _maker) = healthy_host().await;
    let identity = Records::at(&host.settings(&world.server).state).identity();
    let mut identity = identity.unwrap().unwrap();
    let known = Slow::post(&identity, "/v1/evidence");
    // Whose key nobody knows is refused, and its body thrown away, for as long at most.
    identity.keys.tls = TlsKey::generate().unwrap();
    let stranger = Slow::post(&identity, "/v1/evidence");
    let answer = known.answer();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let code = answer
        .split_once("touchstone:")
        .unwrap()
        .1
        .split('"')
        .next();
    assert_eq!(code, Some("body-too-slow"));
    let answer = stranger.answer();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
