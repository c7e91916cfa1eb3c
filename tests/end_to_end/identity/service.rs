//! Out of service, and another TPM under the same name.

use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World};

use super::{applicant, enrol, view};

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_host_is_nobody_and_its_name_stays_taken() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
        assert!(server.place("u1", "node-de-1").await.0);

        server.command(&["host", "retire", "de-1", "--reason", "disk failed"]);
        let entry = server.audit_entries().pop().unwrap();
        assert_eq!(
            (&entry["kind"], &entry["reason"]),
            (&"host-retired".into(), &"disk failed".into())
        );
        let refused = host.attest(server).unwrap_err();
        assert!(refused.contains("`host-retired`"), "{refused}");
        let (admitted, why) = server.place("u2", "node-de-1").await;
        assert!(!admitted && why.contains("mapped to no host"), "{why}");
        let held = view(&world, "de-1").await;
        assert_eq!(held["identity"]["state"], "retired");
        assert_eq!(held["tier"], "none");
        let listed = server.get("/v1/hosts").await;
        assert_eq!(listed["hosts"][0]["identity"]["state"], "retired");

        // Neither its TPM nor its name serve for anything.
        let other = applicant(&host, &world).await;
        assert_eq!(other.begin().await.unwrap_err(), "host-retired");
        let certificate = host.ek_certificate().await;
        let named = [
            "inventory",
            "add",
            "--host",
            "de-1",
            "--ek-digest",
            &"00".repeat(32),
        ];
        assert_eq!(server.refusal(&named), "already-in-inventory");
        let keyed = [
            "inventory",
            "add",
            "--host",
            "de-2",
            "--ek-certificate",
            &certificate,
        ];
        assert_eq!(server.refusal(&keyed), "already-in-inventory");
        assert_eq!(server.refusal(&["host", "retire", "de-1"]), "host-retired");
        assert_eq!(server.refusal(&["host", "reenrol", "de-1"]), "host-retired");
        let map = ["node", "map", "node-de-1", "de-1"];
        assert_eq!(server.refusal(&map), "host-not-in-inventory");
        let said = server.run(&map).stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("no machine called `de-1`; add it"), "{said}");
        // No hint leads in a circle.
        for act in [
            &["host", "replace", "de-1", "--ek-certificate", &certificate][..],
            &["host", "reenrol", "de-1"],
        ] {
            let said = server.run(act).stderr;
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains("inventory remove de-1"), "{said}");
            assert!(!said.contains("host reenrol"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tpm_takes_over_a_name_and_nothing_else() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let boot = |name| Host::boot(&maker.authority, name, Profile::Healthy);
        let (old, new) = (boot("de-1"), boot("de-1-new-board"));
        assert_eq!(world.join(&old, Some("DE")).await["tier"], "affirming");
        // The TPM that it has is no other one: nothing ends.
        let same = old.ek_certificate().await;
        let same = ["host", "replace", "de-1", "--ek-certificate", &same];
        assert_eq!(server.refusal(&same), "replacement-of-same-tpm");
        assert_eq!(view(&world, "de-1").await["tier"], "affirming");
        let pending = applicant(&old, &world).await;
        server.command(&["host", "reenrol", "de-1"]);
        let begun = pending.begin().await.unwrap();

        let certificate = new.ek_certificate().await;
        let replace = ["host", "replace", "de-1", "--ek-certificate", &certificate];
        server.command(&replace);
        let entry = server.audit_entries().pop().unwrap();
        assert_eq!(entry["kind"], "host-replaced");
        assert!(!server.place("u1", "node-de-1").await.0);
        let refused = old.attest(server).unwrap_err();
        assert!(refused.contains("`host-replaced`"), "{refused}");
        // Nor through an enrolment that was under way.
        let secret = pending.open(&begun).await.unwrap();
        let late = pending.activate(&begun, secret).await.map(drop);
        assert_eq!(late.unwrap_err(), "enrolment-unknown");
        let stranger = applicant(&old, &world).await;
        assert_eq!(stranger.begin().await.unwrap_err(), "ek-not-in-inventory");

        enrol(&applicant(&new, &world).await).await.unwrap();
        // Nor does the same command, sent again, end what has come to life since.
        assert_eq!(server.refusal(&replace), "replacement-of-same-tpm");
        let held = view(&world, "de-1").await;
        assert_eq!(held["identity"]["state"], "enrolled");
        assert_eq!(held["tier"], "none");
        assert_eq!(held["nodes"].as_array().unwrap().len(), 0);
        // It is another TPM, not the same one anew.
        assert_eq!(held["identity"]["reenrolled"], 0);
    }
}
