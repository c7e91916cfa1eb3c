//! Other keys under a known TPM: after a TPM2_Clear, and by two at once.

use touchstone_agent::state::{Records, State};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::programs;
use touchstone_tests::world::{Maker, World, sample_policy};

use super::{applicant, enrol, kinds, view};

#[tokio::test(flavor = "multi_thread")]
async fn a_cleared_tpm_enrols_anew_once_an_operator_agrees() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        // Counters that a cleared TPM will not reach for a while.
        host.reboot();
        host.reboot();
        assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
        assert!(server.place("u1", "node-de-1").await.0);
        let old = Liar::take(&host, server).await;
        let challenge = old.challenge().await;
        let round = old.evidence(&challenge).await;

        host.tpm.clear().unwrap();
        let lost = host.attest(server).unwrap_err();
        assert!(
            lost.contains("TPM2_Clear") && lost.contains("host reenrol"),
            "{lost}"
        );
        let refused = host.enrol_again(server, &world.join_token).unwrap_err();
        assert!(
            refused.contains("`host-enrolled-with-other-keys`"),
            "{refused}"
        );
        assert!(
            refused.contains("touchstone host reenrol de-1"),
            "{refused}"
        );
        // Until an operator agrees, nothing moved.
        assert!(server.place("u2", "node-de-1").await.0);

        let opened = programs::command(&programs::path("touchstone"))
            .args([
                "host", "reenrol", "de-1", "--for", "60", "--reason", "cleared",
            ])
            .env("TOUCHSTONE_OPERATOR", server.folder().join("operator.json"))
            .output()
            .unwrap();
        let said = String::from_utf8(opened.stdout).unwrap();
        assert!(said.contains("nothing is void"), "{said}");
        // Nor is it: the door is open, and nobody came.
        assert!(server.place("u4", "node-de-1").await.0);
        let identity = view(&world, "de-1").await["identity"].clone();
        assert_eq!(identity["state"], "awaiting-re-enrolment");
        host.enrol_again(server, &world.join_token).unwrap();

        // Verdict, tag and node link are void; the index knows at once.
        let held = view(&world, "de-1").await;
        assert_eq!(held["tier"], "none");
        assert_eq!(held["nodes"].as_array().unwrap().len(), 0);
        assert_eq!(held["identity"]["reenrolled"], 1);
        assert_eq!(held["identity"]["state"], "enrolled");
        assert!(!server.place("u3", "node-de-1").await.0);
        server.command(&["node", "map", "node-de-1", "de-1"]);
        let (admitted, why) = server.place("u4", "node-de-1").await;
        assert!(!admitted && why.contains("enrolled anew"), "{why}");
        // What the old keys signed before is nobody's word now.
        assert_eq!(old.send(&round).await.unwrap_err(), "host-reenrolled");

        // The host is fresh again: clock and counters began anew, for the new AK.
        world.tag(&host, "DE");
        assert_eq!(host.attest(server).unwrap()["tier"], "affirming");
        assert!(server.place("u5", "node-de-1").await.0);
        // The door was open once.
        let again = applicant(&host, &world).await;
        let refused = again.begin().await.unwrap_err();
        assert_eq!(refused, "host-enrolled-with-other-keys");
        let entries = server.audit_entries();
        let enrolled: Vec<_> = entries
            .iter()
            .filter(|entry| entry["kind"] == "host-enrolled")
            .collect();
        assert_eq!(enrolled[0]["replaced_ak"], serde_json::Value::Null);
        assert_eq!(enrolled[1]["replaced_ak"], enrolled[0]["ak"]);
        assert!(kinds(server).contains(&"reenrolment-opened".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_may_let_a_known_tpm_in_by_itself() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let server = &world.server;
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    let policy = std::fs::read_to_string(sample_policy()).unwrap();
    let automatic = policy.replacen(
        "freshnessSeconds:",
        "reprovision: automatic\n  freshnessSeconds:",
        1,
    );
    let file = server.file("automatic.yaml", &automatic);
    server.command(&["policy", "apply", &file, "--drain"]);
    host.tpm.clear().unwrap();
    host.enrol_again(server, &world.join_token).unwrap();
    assert_eq!(view(&world, "de-1").await["identity"]["reenrolled"], 1);
    assert!(!server.place("u1", "node-de-1").await.0, "the link is void");
    // Two at once under such a policy: the second was begun against keys that are gone.
    let (a, b) = (
        applicant(&host, &world).await,
        applicant(&host, &world).await,
    );
    let (first, second) = (a.begin().await.unwrap(), b.begin().await.unwrap());
    let (one, two) = (
        a.open(&first).await.unwrap(),
        b.open(&second).await.unwrap(),
    );
    a.activate(&first, one).await.unwrap();
    let refused = b.activate(&second, two).await.map(drop).unwrap_err();
    assert_eq!(refused, "host-enrolled-with-other-keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_no_way_past_another_firmware() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
        let policy = std::fs::read_to_string(sample_policy()).unwrap();
        let automatic = "reprovision: automatic\n  freshnessSeconds:";
        world.apply(&policy.replacen("freshnessSeconds:", automatic, 1));
        // As if the firmware had been another one until now.
        server.command(&["host", "accept-firmware", "de-1", "--version", "0xdead"]);
        let changed = |outcome: serde_json::Value| {
            let text = outcome.to_string();
            assert!(text.contains("firmware-version-changed"), "{text}");
        };
        changed(host.attest(server).unwrap());
        host.tpm.clear().unwrap();
        let refused = host.enrol_again(server, &world.join_token).unwrap_err();
        assert!(
            refused.contains("host-enrolled-with-other-keys"),
            "{refused}"
        );
        // An operator may let it in; which firmware is accepted is another question.
        server.command(&["host", "reenrol", "de-1"]);
        host.enrol_again(server, &world.join_token).unwrap();
        changed(host.attest(server).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_enrol_at_once_one_wins() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        world.admit(&host, None).await;
        // The first enrolment, then one through an open door.
        for door in [false, true] {
            if door {
                world.server.command(&["host", "reenrol", "de-1"]);
            }
            let (a, b) = (
                applicant(&host, &world).await,
                applicant(&host, &world).await,
            );
            let (first, second) = (a.begin().await.unwrap(), b.begin().await.unwrap());
            let (one, two) = (
                a.open(&first).await.unwrap(),
                b.open(&second).await.unwrap(),
            );
            let (one, two) = tokio::join!(a.activate(&first, one), b.activate(&second, two));
            let outcomes = [one.map(drop), two.map(drop)];
            let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert_eq!(won, 1, "{} {outcomes:?}", database.name());
            let lost = outcomes.into_iter().find_map(Result::err);
            assert_eq!(lost.as_deref(), Some("host-enrolled-with-other-keys"));
        }
        assert_eq!(
            enrol(&applicant(&host, &world).await).await.unwrap_err(),
            "host-enrolled-with-other-keys"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_keys_are_over_by_now_is_made_anew_with_others() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let server = &world.server;
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    host.enrol(server, &world.join_token).unwrap();
    let folder = host.settings(server).state;
    // As if the answer to the activation had never come.
    let keys = Records::at(&folder).identity().unwrap().unwrap().keys;
    State::open(&folder).unwrap().keep_draft(&keys).unwrap();
    std::fs::remove_file(folder.join("identity.json")).unwrap();
    server.command(&["inventory", "remove", "de-1"]);
    world.admit(&host, None).await;

    host.enrol_again(server, &world.join_token).unwrap();
    let now = Records::at(&folder).identity().unwrap().unwrap().keys;
    assert_ne!(now.ak().public, keys.ak().public);
    assert_eq!(view(&world, "de-1").await["identity"]["state"], "enrolled");
}
