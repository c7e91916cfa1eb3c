//! What a host says that it purged: an entry in its own name, and not without end.

use touchstone_agent::client::{Client, Error};
use touchstone_agent::state::Records;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Few;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::wire::{ContainerRuntime, Purge};
use touchstone_tests::host::Host;
use touchstone_tests::world::{World, healthy_host};

/// The connection of an enrolled host's agent.
fn agent(world: &World, host: &Host) -> Client {
    let records = Records::at(&host.settings(&world.server).state);
    let identity = records.identity().unwrap().unwrap();
    Client::new(&identity.server, &identity.ca, &identity.keys.tls).unwrap()
}

fn purge(complete: bool) -> Purge {
    Purge {
        runtime: ContainerRuntime::Containerd,
        digests: Few(vec![OciDigest(Sha256Digest::of(b"an image"))]),
        complete,
        leases: Few::default(),
    }
}

fn code(refused: Error) -> String {
    match refused {
        Error::Refused(problem) => problem.code,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_purged_is_an_entry_in_its_own_name_until_it_is_retired() {
    let (world, host, _maker) = healthy_host().await;
    let agent = agent(&world, &host);
    let noted = agent.purged(&purge(false)).await.unwrap();
    let entries = world.server.audit_entries();
    let last = entries.last().unwrap();
    assert_eq!(last["kind"], "images-purged");
    assert_eq!(
        (&last["host"], &last["actor"]),
        (&"de-1".into(), &"host".into())
    );
    assert_eq!(
        (&last["runtime"], &last["complete"]),
        (&"containerd".into(), &false.into())
    );
    let digest = format!("sha256:{}", Sha256Digest::of(b"an image"));
    assert_eq!(last["digests"], serde_json::json!([digest]));
    assert_ne!(noted.entry, agent.purged(&purge(true)).await.unwrap().entry);
    world.server.command(&["host", "retire", "de-1"]);
    let before = world.server.audit_entries().len();
    // The answer to whom it was before is remembered; the transaction asks again.
    let refused = agent.purged(&purge(true)).await.unwrap_err();
    assert_eq!(code(refused), "host-retired");
    let entries = world.server.audit_entries();
    let more = entries.iter().skip(before);
    assert!(
        more.into_iter()
            .all(|entry| entry["kind"] != "images-purged")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_cannot_fill_the_log_with_purges() {
    let (world, host, _maker) = healthy_host().await;
    let agent = agent(&world, &host);
    let mut taken = 0;
    let refused = loop {
        match agent.purged(&purge(true)).await {
            Ok(_) if taken < 200 => taken += 1,
            said => break said.unwrap_err(),
        }
    };
    assert_eq!(code(refused), "evidence-too-much");
    assert!(taken > 60, "{taken}");
}
