//! What a host keeps of what it was given keys for, and what another boot and another state change.

use serde_json::Value;
use touchstone_agent::state::Records;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_tests::keyprovider::{KeyProvider, base64};
use touchstone_tpm_sim::swtpm::Bank;

use super::scene;
use crate::layer_keys::{LAYER, manifest, options, publisher, register};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_is_kept_without_its_key() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    let state = host.settings(&world.server).state;
    assert_eq!(opened(&host, &world), 0);
    for _ in 0..2 {
        assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
    }
    let leases = Records::at(&state).leases().unwrap();
    let [lease] = &leases[..] else {
        panic!("one layer: {leases:?}");
    };
    assert_eq!(lease.layer.to_string(), LAYER);
    let entries = world.server.audit_entries();
    let mut released = entries
        .iter()
        .filter(|entry| entry["kind"] == "layer-key-released");
    assert_eq!(released.clone().count(), 2);
    let last = released.next_back().unwrap();
    assert_eq!(last["expires_at"], lease.expires_at);
    assert_eq!(opened(&host, &world), 1);
    for file in std::fs::read_dir(state.join("leases")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(
            !text.contains("aHVzaA") && !text.contains("symkey"),
            "{text}"
        );
    }
}

/// What `status` says.
fn opened(host: &touchstone_tests::host::Host, world: &touchstone_tests::world::World) -> u64 {
    let mut command = host.agent_command(&world.server, &["status", "--json"]);
    let output = command.output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["layers_opened"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_written_down_is_not_given_out() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    let folder = host.settings(&world.server).state.join("leases");
    std::fs::write(&folder, "").unwrap();
    let refused = provider.unwrap(&annotation, &[], base64).await.unwrap_err();
    assert_eq!(refused.status, 14, "{refused:?}");
    assert!(
        refused.text.contains("the lease cannot be kept"),
        "{refused:?}"
    );
    std::fs::remove_file(folder).unwrap();
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_key_opens_with_the_manifest_that_is_named() {
    let (world, host, _maker, _annotation) = scene().await;
    let create = [
        "key",
        "create",
        "cards",
        "--policy",
        "payments",
        "--registered",
    ];
    world.server.command(&create);
    let ci = publisher(&world.server, "ci2");
    let wrapped = crate::layer_keys::wrap(&world.server, &ci, "cards").await;
    let annotation = crate::layer_keys::annotation(&wrapped.unwrap());
    let store = tempfile::tempdir().unwrap();
    let folder = store.path().to_str().unwrap();
    let provider = KeyProvider::start_with(&host, &world.server, &["--content-store", folder]);
    let refused = async |parameters: &[&str], words: &str| {
        let refused = provider
            .unwrap(&annotation, parameters, base64)
            .await
            .unwrap_err();
        assert_eq!(refused.status, 7, "{refused:?}");
        assert!(refused.text.contains(words), "{refused:?}");
    };
    let manifest = manifest(&[&annotation]);
    let digest = OciDigest(touchstone_evidence::digest::Sha256Digest::of(&manifest));
    let image = format!("registry.example/app:v1@{digest}");
    refused(&[], "`manifest-missing`").await;
    // K10: an image that nobody registered.
    refused(&[&image], "`image-unregistered`").await;
    register(&world.server, &ci, &manifest).await.unwrap();
    let unwrapped = provider.unwrap(&annotation, &[&image], base64).await;
    assert_eq!(unwrapped.unwrap(), options());
    // containerd names none, and has it on its disk.
    refused(&[], "`manifest-missing`").await;
    std::fs::write(store.path().join(digest.0.to_string()), &manifest).unwrap();
    let unwrapped = provider.unwrap(&annotation, &[], base64).await;
    assert_eq!(unwrapped.unwrap(), options());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_boot_is_another_release_key_and_opens_again() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
    // The TPM is reset under the daemon, as after a hibernation.
    host.reboot();
    assert_eq!(
        provider.unwrap(&annotation, &[], base64).await.unwrap(),
        options()
    );
    host.restart();
    assert_eq!(
        provider.unwrap(&annotation, &[], base64).await.unwrap(),
        options()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_changed_since_the_last_round_is_seen_before_a_key_is_given() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
    // K5: something is measured that no log tells of. The last verdict is still good.
    host.tpm.extend(4, &[(Bank::Sha256, vec![7; 32])]).unwrap();
    let refused = provider.unwrap(&annotation, &[], base64).await.unwrap_err();
    assert_eq!(refused.status, 7, "{refused:?}");
    assert!(refused.text.contains("PCR 4"), "{refused:?}");
}
