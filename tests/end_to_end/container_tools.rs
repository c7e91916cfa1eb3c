//! Real tools around encrypted images, as nodes and build machines have them: what runs with which key, what a person
//! reads when a key provider refuses, and what is left on a disk.

mod purge;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use touchstone_tests::containers::containerd::Containerd;
use touchstone_tests::containers::cri::Cri;
use touchstone_tests::containers::image::Image;
use touchstone_tests::containers::keys::{Key, Pair, Provider};
use touchstone_tests::containers::podman::Podman;
use touchstone_tests::containers::registry::Registry;
use touchstone_tests::containers::{rights, skopeo};

const SECRET: &str = "seen by who has the key";
const REFUSAL: &str = r#"host worker-3 is contraindicated: kernel command line gained "ima=off""#;

/// A tiny image, encrypted in a registry.
struct Scene {
    image: Image,
    registry: Registry,
    /// Its name there.
    name: String,
}

impl Scene {
    fn encrypted(key: &Key) -> Self {
        let (image, registry) = (Image::saying(SECRET), Registry::start());
        let name = registry.image("tiny:v1");
        let _said = skopeo::encrypt(&image, &name, key).good();
        Self {
            image,
            registry,
            name,
        }
    }
}

/// `provider.sh` and its folder.
struct Script {
    folder: TempDir,
    provider: Provider,
}

impl Script {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/container_tools/provider.sh");
        let provider = Provider::program(&path, &[folder.path().to_str().unwrap()]);
        let script = Self { folder, provider };
        script.refuse("");
        script
    }

    fn key(&self) -> Key {
        self.provider.key("payments")
    }

    /// From now on it refuses this layer alone; empty: none.
    fn refuse(&self, layer: &str) {
        let line = if layer.is_empty() {
            String::new()
        } else {
            format!("{layer}\n")
        };
        fs::write(self.file("refused"), line).unwrap();
    }

    /// How often a key was asked for.
    fn asked(&self) -> usize {
        let asked = fs::read_to_string(self.file("asked")).unwrap();
        asked.matches(r#""op":"keyunwrap""#).count()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn every_layer_in_the_registry_is_encrypted() {
    let pair = Pair::new();
    let scene = Scene::encrypted(&pair.public());
    let manifest = skopeo::manifest(&scene.name);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for layer in layers {
        let kind = layer["mediaType"].as_str().unwrap();
        assert!(kind.ends_with("+encrypted"), "{kind}");
        let digest = layer["digest"].as_str().unwrap();
        assert!(!scene.image.layers.iter().any(|plain| plain == digest));
    }
    let _said = skopeo::decrypt(&scene.name, &pair.private()).good();
    let said = skopeo::decrypt(&scene.name, &Pair::new().private()).refused();
    assert!(said.contains("No suitable private key found"), "{said}");
}

#[test]
fn podman_runs_an_encrypted_image_with_its_key_alone() {
    if !rights::allow_containers() {
        return;
    }
    let pair = Pair::new();
    let scene = Scene::encrypted(&pair.public());
    let podman = Podman::new(&scene.registry);
    let other = Pair::new();
    let said = podman.pull(&scene.name, Some(&other.private())).refused();
    assert!(said.contains("No suitable private key found"), "{said}");
    let _said = podman.pull(&scene.name, None).refused();
    let _said = podman.run(&scene.name).refused();
    assert!(podman.layers().is_empty());
    let _said = podman.pull(&scene.name, Some(&pair.private())).good();
    assert!(podman.run(&scene.name).good().contains(SECRET));
}

#[test]
fn containerd_runs_an_encrypted_image_with_its_key_alone() {
    if !rights::allow_containers() {
        return;
    }
    let (pair, other) = (Pair::new(), Pair::new());
    let scene = Scene::encrypted(&pair.public());
    let without = Containerd::start(&other.private());
    let said = without.pull(&scene.name).refused();
    assert!(said.contains("No suitable private key found"), "{said}");
    let _said = without.run(&scene.name).refused();
    assert!(without.snapshots().is_empty());
    let containerd = Containerd::start(&pair.private());
    let _said = containerd.pull(&scene.name).good();
    assert!(containerd.run(&scene.name).good().contains(SECRET));
}

#[tokio::test]
async fn who_pulls_reads_why_a_layer_was_refused() {
    if !rights::allow_containers() {
        return;
    }
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let podman = Podman::new(&scene.registry);
    let containerd = Containerd::start(&script.key());
    script.refuse(&scene.image.layers[0]);
    let said = skopeo::decrypt(&scene.name, &script.key()).refused();
    // It writes a log line, with quotation marks of its own.
    assert!(said.replace('\\', "").contains(REFUSAL), "{said}");
    let said = podman.pull(&scene.name, Some(&script.key())).refused();
    assert!(said.contains(REFUSAL), "{said}");
    // By ctd-decoder alone a third of the reasons is lost: it takes several to see that none is.
    for _ in 0..10 {
        let said = containerd.pull(&scene.name).refused();
        assert!(said.contains(REFUSAL), "{said}");
    }
    let said = Cri::of(&containerd).pull(&scene.name).await.unwrap_err();
    assert!(said.contains(REFUSAL), "{said}");
    script.refuse("");
    Cri::of(&containerd).pull(&scene.name).await.unwrap();
    assert!(containerd.run(&scene.name).good().contains(SECRET));
}

#[test]
fn what_podman_decrypted_can_be_purged() {
    if !rights::allow_containers() {
        return;
    }
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let podman = Podman::new(&scene.registry);
    let key = script.key();
    let _said = podman.pull(&scene.name, Some(&key)).good();
    assert_eq!(podman.layers().len(), 2);
    // The cache: what was decrypted once runs, whatever the provider says by now.
    let asked = script.asked();
    script.refuse(&scene.image.layers[1]);
    assert!(podman.run(&scene.name).good().contains(SECRET));
    assert_eq!(script.asked(), asked);
    let _said = podman.call(&["rmi", "--force", &scene.name]).good();
    assert!(podman.layers().is_empty());
    let _said = podman.run(&scene.name).refused();
    // A pull that is refused in its middle leaves what it decrypted before, and no image that has it.
    let _said = podman.pull(&scene.name, Some(&key)).refused();
    assert!(
        podman
            .call(&["images", "--all", "--quiet"])
            .good()
            .is_empty()
    );
    assert_eq!(podman.layers(), [scene.image.layers[0].clone()]);
    let purge = ["system", "check", "--quick", "--max=0s", "--repair"];
    let _said = podman.call(&purge).good();
    assert!(podman.layers().is_empty());
}

#[test]
fn what_containerd_decrypted_can_be_purged() {
    if !rights::allow_containers() {
        return;
    }
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let containerd = Containerd::start(&script.key());
    let _said = containerd.pull(&scene.name).good();
    assert_eq!(containerd.snapshots().len(), 2);
    // The cache, as with podman. Not even the same layers of another image are asked for.
    let again = scene.registry.image("tiny:v2");
    let _said = skopeo::encrypt(&scene.image, &again, &script.key()).good();
    let asked = script.asked();
    script.refuse(&scene.image.layers[1]);
    assert!(containerd.run(&scene.name).good().contains(SECRET));
    let _said = containerd.pull(&again).good();
    assert!(containerd.run(&again).good().contains(SECRET));
    assert_eq!(script.asked(), asked);
    // Every image that has them must go.
    containerd.purge(&scene.name);
    assert_eq!(containerd.snapshots().len(), 2);
    containerd.purge(&again);
    assert!(containerd.snapshots().is_empty());
    assert!(containerd.blobs().is_empty());
    let _said = containerd.run(&scene.name).refused();
    // A pull that is refused in its middle leaves an image, and what it decrypted before until containerd tidies up.
    let _said = containerd.pull(&scene.name).refused();
    containerd.purge(&scene.name);
    assert!(containerd.snapshots().is_empty());
}
