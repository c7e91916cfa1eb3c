//! The inventory: many machines at once, siblings of one TPM, machines taken out.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World, healthy_host};

use super::{applicant, enrol, kinds, view};

/// Where the RSA key's certificate stands, which the agent prefers.
const RSA_2048: u32 = 0x01c0_0002;

fn digest(text: &str) -> String {
    Sha256Digest::of(text.as_bytes()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_machines_is_imported_whole_or_not_at_all() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let mut lines = vec!["host,rsa,ecc".to_owned()];
        for number in 0..1200 {
            let (rsa, ecc) = (digest(&format!("r{number}")), digest(&format!("e{number}")));
            lines.push(match number % 2 {
                0 => format!("m-{number},{rsa},{ecc}"),
                _ => format!("{{\"host\":\"m-{number}\",\"ek_digests\":[\"{rsa}\",\"{ecc}\"]}}"),
            });
        }
        let good = server.file("machines.csv", &lines.join("\n"));
        let before = kinds(server).len();
        let answer = server.command(&["inventory", "import", &good]);
        assert_eq!(answer["imported"], 1200);
        // 1,200 machines in entries of 256.
        assert_eq!(kinds(server)[before..], vec!["inventory-imported"; 5]);
        let shown = server.command(&["inventory", "show", "m-7"]);
        assert_eq!(shown["ek_digests"].as_array().unwrap().len(), 2);

        // A name that is taken in line 3, and a key that is doubled in line 5: nothing is imported.
        let fresh = format!("# more\nn-1,{}\nm-9,{}\n", digest("n1"), digest("n2"));
        for (content, part) in [
            (fresh.clone(), "line 3: `m-9` is in the inventory already"),
            (
                format!(
                    "n-1,{0}\n\n\nn-2,{1}\nn-3,{0}\n",
                    digest("n1"),
                    digest("n2")
                ),
                "line 5: ",
            ),
            (
                format!("n-1,{}\nn-2,{}\n", digest("n1"), digest("r5")),
                "line 2: ",
            ),
            ("n-1,zz\n".to_owned(), "line 1: `zz` is no SHA-256"),
        ] {
            let file = server.file("more.csv", &content);
            let output = server.run(&["inventory", "import", &file]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(part), "{said}");
            let shown = ["inventory", "show", "n-1"];
            assert_eq!(server.refusal(&shown), "host-not-in-inventory");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_are_one_identity() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, Some("DE")).await;
    enrol(&applicant(&host, &world).await).await.unwrap();

    // The ECC key of the same TPM, which nobody listed: a TPM that nobody knows.
    host.tpm.remove_index(RSA_2048).unwrap();
    let sibling = applicant(&host, &world).await;
    assert_eq!(sibling.begin().await.unwrap_err(), "ek-not-in-inventory");

    // Once it is listed: the same identity, under the same rule. Its tag named the old set.
    let file = host.certificate_file("ek-secp384r1.crt");
    let file = file.to_str().unwrap();
    let more = ["inventory", "add-ek", "de-1", "--ek-certificate", file];
    let answer = world.server.command(&more);
    assert_eq!(answer["ek_digests"].as_array().unwrap().len(), 2);
    let quarantine = world.server.get("/v1/quarantine").await;
    assert_eq!(quarantine["quarantine"].as_array().unwrap().len(), 0);
    let refused = sibling.begin().await.unwrap_err();
    assert_eq!(refused, "host-enrolled-with-other-keys");
    let second = [
        "inventory",
        "add",
        "--host",
        "de-9",
        "--ek-certificate",
        file,
    ];
    assert_eq!(world.server.refusal(&second), "already-in-inventory");
    let before = view(&world, "de-1").await["identity"].clone();
    world.server.command(&["host", "reenrol", "de-1"]);
    enrol(&sibling).await.unwrap();
    let after = view(&world, "de-1").await["identity"].clone();
    assert_ne!(after["ek_digest"], before["ek_digest"]);
    assert_eq!(
        (&after["reenrolled"], &after["state"]),
        (&1.into(), &"enrolled".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_taken_out_is_nobody_until_it_comes_again() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    assert!(server.place("u1", "node-de-1").await.0);
    server.command(&["inventory", "remove", "de-1", "--reason", "sold"]);
    let entry = server.audit_entries().pop().unwrap();
    assert_eq!(entry["kind"], "inventory-removed");
    assert_eq!(entry["reason"], "sold");

    let refused = host.attest(server).unwrap_err();
    assert!(refused.contains("`host-removed`"), "{refused}");
    let (admitted, why) = server.place("u2", "node-de-1").await;
    assert!(!admitted && why.contains("mapped to no host"), "{why}");
    let (status, _) = server
        .send(
            reqwest::Method::GET,
            "/v1/hosts/de-1",
            server.operator()["token"].as_str(),
            None,
        )
        .await;
    assert_eq!(status, reqwest::StatusCode::NOT_FOUND);
    let applicant = applicant(&host, &world).await;
    assert_eq!(applicant.begin().await.unwrap_err(), "ek-not-in-inventory");

    // It comes again under its name. Its old keys stay former, and its old tag stays old.
    world.admit(&host, None).await;
    let mapped = server.place("u3", "node-de-1").await;
    assert!(!mapped.0, "{mapped:?}");
    assert!(
        host.enrol(server, &world.join_token).is_ok(),
        "left as it is"
    );
    let refused = host.attest(server).unwrap_err();
    assert!(refused.contains("`host-removed`"), "{refused}");
    host.enrol_again(server, &world.join_token).unwrap();
    let outcome = host.attest(server).unwrap();
    let found = &outcome["findings"][0]["code"];
    assert_eq!(found, "location-tag-superseded", "{outcome}");
    let basis = server.get("/v1/location/hosts/de-1").await;
    assert_eq!(basis["next_serial"], 2);
    world.tag(&host, "DE");
    assert_eq!(host.attest(server).unwrap()["tier"], "affirming");
    assert_eq!(view(&world, "de-1").await["identity"]["state"], "enrolled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_names_too_few_keys_is_proven_anew() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let server = &world.server;
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    assert!(server.place("u1", "node-de-1").await.0);
    let file = host.certificate_file("ek-secp384r1.crt");
    let more = [
        "inventory",
        "add-ek",
        "de-1",
        "--ek-certificate",
        file.to_str().unwrap(),
    ];
    server.command(&more);
    let held = view(&world, "de-1").await;
    assert_eq!(held["findings"][0]["code"], "place-not-proven-yet");
    assert!(!server.place("u2", "node-de-1").await.0);
    world.tag(&host, "DE");
    assert_eq!(host.attest(server).unwrap()["tier"], "affirming");
}
