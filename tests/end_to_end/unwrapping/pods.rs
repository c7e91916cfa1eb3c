//! A pod on its node: asked for, bound, pulled, decrypted and running; and all of that gone once its host turns.
//!
//! There is no kubelet here: the tests ask containerd what one would, and say so. `kubernetes/kubelets.rs` has a real one.

use touchstone_tests::cluster::PATIENCE;
use touchstone_tests::containers::cri::{Cri, State};
use touchstone_tests::containers::registry::Registry;
use touchstone_tests::containers::rights;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::review::{binding, pod, running};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::kubernetes::until;
use touchstone_tpm_sim::swtpm::Bank;

use super::built::{Built, SECRET};
use super::machine::{Machine, RUNS};
use crate::admission::demanding;

const UID: &str = "6f2c5c0e-8a3d-4f53-9d0a-54a5a4a0c1de";

/// An attestor under a policy that demands encrypted images, and such an image.
fn scene(maker: &Maker) -> (World, Built) {
    let registry = Registry::start();
    let plain = ["--plain-http-registry", registry.address()];
    let server = Server::start_with(&Database::under_test(), &plain);
    let world = World::on(server, maker);
    world.apply(&demanding("{encrypted: true}"));
    let built = Built::into(registry, &world.server);
    eprintln!("the kubelet is left out: containerd's CRI is asked by this test");
    (world, built)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_bound_runs_until_its_host_turns_and_is_not_pulled_again() {
    if !rights::allow_containers() {
        return;
    }
    let maker = Maker::new();
    let (world, built) = scene(&maker);
    let server = &world.server;
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    let mut machine = Machine::of(&host, server, &built.registry);
    let image = built.by_digest();
    let review = pod(UID, &running(&image));
    let bound = binding(Some(UID), "payments", "node-de-1");
    assert_eq!(server.refusals(&review).await, "none");
    assert_eq!(server.refusals(&bound).await, "none");

    let (containerd, cri) = (&machine.containerd, Cri::of(&machine.containerd));
    let sandbox = cri.sandbox("payments", "api", UID).await.unwrap();
    cri.pull(&image).await.unwrap();
    let container = cri.create(&sandbox, &image, &RUNS).await.unwrap();
    cri.start(&container).await.unwrap();
    until("the container says its secret", PATIENCE, async || {
        Ok(containerd.heard(SECRET).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(cri.state(&container).await, Ok(State::Running));
    assert!(built.lies_open_on(containerd));

    host.tpm.extend(4, &[(Bank::Sha256, vec![7; 32])]).unwrap();
    machine.attest();
    machine.agent.wait_for("tier=contraindicated");
    until("the image is taken off the node", PATIENCE, async || {
        Ok((!built.lies_open_on(containerd)).then_some(()))
    })
    .await
    .unwrap();
    // A kubelet tries again at once, while the purge still looks for more: it is told why, too.
    let said = cri.pull(&image).await.unwrap_err();
    assert!(said.contains("PCR 4"), "{said}");
    machine.agent.wait_for("the attestor knows what was purged");
    let containerd = &machine.containerd;
    assert!(!containerd.running().contains(&container));
    assert_ne!(cri.state(&container).await, Ok(State::Running));
    assert!(!built.lies_open_on(containerd));
    assert!(containerd.names_of(&built.digest().to_string()).is_empty());
    // What waits for the pod's containers is not encrypted, and nobody's secret.
    assert_eq!(containerd.running().len(), 1);
    let said = cri.create(&sandbox, &image, &RUNS).await.unwrap_err();
    assert!(said.contains("not found"), "{said}");
    let said = cri.pull(&image).await.unwrap_err();
    assert!(said.contains("PCR 4"), "{said}");
    assert!(!built.lies_open_on(containerd));
    let refused = server.refusals(&bound).await;
    assert_eq!(refused[0], "tier-insufficient", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_nobody_was_asked_about_gets_no_plaintext_on_an_unattested_host() {
    if !rights::allow_containers() {
        return;
    }
    let maker = Maker::new();
    let (world, built) = scene(&maker);
    let image = built.by_digest();
    for (name, profile, country, words) in [
        (
            "de-2",
            Profile::Altered,
            Some("DE"),
            "kernel command line changed",
        ),
        ("x-1", Profile::Healthy, None, "no location tag"),
    ] {
        let host = Host::boot(&maker.authority, name, profile);
        world.join(&host, country).await;
        let machine = Machine::of(&host, &world.server, &built.registry);
        let (containerd, cri) = (&machine.containerd, Cri::of(&machine.containerd));
        let sandbox = cri.sandbox("payments", "api", UID).await.unwrap();
        let said = cri.pull(&image).await.unwrap_err();
        assert!(said.contains(words), "{said}");
        let said = cri.create(&sandbox, &image, &RUNS).await.unwrap_err();
        assert!(said.contains("not found"), "{said}");
        let came_of_it = match built.lies_open_on(containerd) || containerd.heard(SECRET) {
            true => "plaintext",
            false => "no-plaintext",
        };
        assert_eq!(came_of_it, "no-plaintext", "{name}");
    }
    assert!(world.server.decisions().is_empty());
}
