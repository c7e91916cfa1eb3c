//! Lies for which an operator has to do something too, so that `tpm-sim break` cannot tell them alone.

use reqwest::{Method, StatusCode};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{Maker, World, healthy_host, runtime_policy, sample_policy};
use touchstone_tpm_sim::lies::{Told, code};
use touchstone_tpm_sim::runtime_list::violation;

use crate::identity::applicant;
use crate::location::{issue, signed_tag};

pub(super) const TOLD: &[&str] = &[
    "E4c", "E7b", "E8", "E8c", "G1g", "G1h", "G4a", "G4b", "G7", "L6l", "Q1e",
];

pub(super) async fn tell() -> Told {
    let (mut world, host, maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let mut told = Told::new();
    told.insert("E4c", misleading_names(&world).await);
    told.insert("E7b", called_foreign(&world, &maker).await);
    told.insert("E8c", out_of_service(&world, &maker).await);
    told.insert("E8", world.second_name(&host).await);
    told.insert("G4b", region_edited(&world).await);

    // The host moves; its pods may not follow; and the old tag, still in its time, does not help.
    let mine = liar.tpm.location_tag().await.unwrap().unwrap();
    world.tag(&host, "US");
    host.attest(&world.server).unwrap();
    let (admitted, _) = world.server.place("u1", "node-de-1").await;
    assert!(!admitted);
    told.insert("G4a", last_refusal(&world));
    liar.tpm.write_location_tag(&mine).await.unwrap();
    told.insert("G7", code(&liar.lie(|_| ()).await));

    let tag = signed_tag(&world, "de-1", |tag| tag.not_before = tag.not_after - 1).await;
    issue(&world, "de-1", &tag).await;
    liar.tpm.write_location_tag(&tag).await.unwrap();
    told.insert("G1g", code(&liar.lie(|_| ()).await));
    told.insert("G1h", taken_back(&mut world, &liar).await);

    told.insert("Q1e", flipped_under_every_policy(&world, &liar).await);

    // L6: a violation where policy tolerates them.
    world.apply(&runtime_policy("tolerated"));
    let written = violation("/var/log/x");
    host.runtime_list.measure(&host.tpm, &written).unwrap();
    told.insert("L6l", code(&liar.lie(|_| ()).await));
    told
}

/// E4: names that are none, in a path.
async fn misleading_names(world: &World) -> String {
    let long = "x".repeat(10 << 10);
    let mut said = std::collections::BTreeSet::new();
    // CR and LF, a way out of a folder, ten kilobytes, a Cyrillic letter, capitals.
    for name in ["a%0d%0ab", "..%2fx", &long, "d%D0%B5-1", "DE-1"] {
        let path = format!("/v1/hosts/{name}");
        let operator = world.server.operator();
        let token = operator["token"].as_str();
        let (status, problem) = world.server.send(Method::GET, &path, token, None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}: {problem}");
        said.insert(problem["type"].as_str().unwrap().replace("touchstone:", ""));
    }
    said.into_iter().collect::<Vec<_>>().join(" ")
}

/// E7: a genuine TPM that an operator called none of ours.
async fn called_foreign(world: &World, maker: &Maker) -> String {
    let stranger = Host::boot(&maker.authority, "stranger", Profile::Healthy);
    let applicant = applicant(&stranger, world).await;
    applicant.begin().await.unwrap_err();
    let list = world.server.command(&["host", "quarantine", "list"]);
    let ek = list["quarantine"][0]["ek_digest"].as_str().unwrap();
    world.server.command(&["host", "reject", ek]);
    applicant.begin().await.unwrap_err()
}

/// E8: the key of a host that is out of service.
async fn out_of_service(world: &World, maker: &Maker) -> String {
    let host = Host::boot(&maker.authority, "de-8", Profile::Healthy);
    world.join(&host, None).await;
    world.server.command(&["host", "retire", "de-8"]);
    applicant(&host, world).await.begin().await.unwrap_err()
}

/// G4: the same host in the same place, but the region is another.
async fn region_edited(world: &World) -> String {
    assert!(world.server.place("u0", "node-de-1").await.0);
    let policy = std::fs::read_to_string(sample_policy()).unwrap();
    let edited = policy.replace("countries: [DE]", "countries: [US]");
    assert_ne!(policy, edited);
    let file = world.server.file("edited.yaml", &edited);
    world.server.command(&["policy", "apply", &file, "--drain"]);
    assert!(!world.server.place("u1", "node-de-1").await.0);
    let refusal = last_refusal(world);
    world.server.command(&["policy", "apply", &sample_policy()]);
    refusal
}

/// G1: an honest host with its current tag, which an operator takes back.
async fn taken_back(world: &mut World, liar: &Liar) -> String {
    let tag = signed_tag(world, "de-1", |_| ()).await;
    issue(world, "de-1", &tag).await;
    liar.tpm.write_location_tag(&tag).await.unwrap();
    let honest = liar.lie(|_| ()).await.unwrap();
    assert_eq!(honest.tier, TrustTier::Affirming);
    let digest = Sha256Digest::of(&tag).to_string();
    world
        .server
        .command(&["location", "revoke", "--tag", &digest]);
    // What rested on it is void before the host says anything.
    assert!(!world.server.place("u2", "node-de-1").await.0);
    let entries = world.server.audit_entries();
    let voided = |entry: &serde_json::Value| entry["kind"] == "location-tag-revoked";
    assert_eq!(entries.iter().filter(|entry| voided(entry)).count(), 1);
    code(&liar.lie(|_| ()).await)
}

/// Q1: a flipped bit under each combination of what a policy may ask for, from nothing to everything.
async fn flipped_under_every_policy(world: &World, liar: &Liar) -> String {
    let sample = std::fs::read_to_string(sample_policy()).unwrap();
    let references = sample.rsplit("---\n").next().unwrap();
    let demands = [
        ["", "boot: {referenceValues: [debian-12-shim-grub]}"].as_slice(),
        &["", "location: {grade: L1}"],
        &["", "hardware: true"],
        &[
            "",
            "runtime: {violations: refused}",
            "runtime: {violations: tolerated}",
        ],
    ];
    let shapes = demands.iter().fold(vec![String::new()], |shapes, part| {
        let with = |shape: &String| {
            let shape = shape.clone();
            part.iter().map(move |part| format!("{shape}  {part}\n"))
        };
        shapes.iter().flat_map(with).collect()
    });
    assert_eq!(shapes.len(), 24);
    let mut said = std::collections::BTreeSet::new();
    for shape in shapes {
        let policy = format!(
            "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {{name: any}}\n\
             spec:\n  hosts: ['*']\n  freshnessSeconds: 60\n{shape}---\n{references}"
        );
        world.apply(&policy);
        let flipped = liar.lie(|lie| lie.quote.signature.0[70] ^= 1).await;
        said.insert(code(&flipped));
    }
    said.into_iter().collect::<Vec<_>>().join(" ")
}

/// The code of the newest refusal of a pod.
fn last_refusal(world: &World) -> String {
    let entries = world.server.audit_entries();
    let refusal = &entries.last().unwrap()["refusals"][0];
    refusal.as_str().unwrap().to_owned()
}
