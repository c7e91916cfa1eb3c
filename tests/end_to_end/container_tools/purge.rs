//! `touchstone-agent purge`, by hand and by the daemon, against real containerd and podman: what was decrypted once
//! runs no more on the same runtime.

mod daemon;

use std::process::Command;

use serde_json::Value;
use touchstone_tests::containers::containerd::Containerd;
use touchstone_tests::containers::image::Image;
use touchstone_tests::containers::podman::Podman;
use touchstone_tests::containers::{rights, skopeo};
use touchstone_tests::programs;

use super::{REFUSAL, SECRET, Scene, Script};

/// The agent of a host that is not enrolled, with these arguments.
fn agent(arguments: &[&str], runtimes: impl FnOnce(&mut Command)) -> Command {
    let folder = tempfile::tempdir().unwrap();
    let mut command = programs::command(&programs::path("touchstone-agent"));
    command.args(arguments).arg("--state").arg(folder.path());
    runtimes(&mut command);
    command
}

/// Purges, or only says what it would; its exit code, and what it says of each place.
fn purge(dry_run: bool, runtimes: impl FnOnce(&mut Command)) -> (Option<i32>, Vec<Value>) {
    let mut arguments = vec!["purge", "--json"];
    arguments.extend(dry_run.then_some("--dry-run"));
    let output = agent(&arguments, runtimes).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        report.unwrap_or_else(|error| panic!("{error}: {said}")),
    )
}

fn of_containerd(containerd: &Containerd) -> impl FnOnce(&mut Command) {
    let socket = containerd.socket();
    move |agent| {
        agent.arg("--containerd").arg(socket);
    }
}

/// The digest under which a registry has an image.
fn digest(name: &str) -> String {
    let manifest = skopeo::raw_manifest(name);
    format!(
        "sha256:{}",
        touchstone_evidence::digest::Sha256Digest::of(manifest.as_bytes())
    )
}

#[test]
fn what_containerd_decrypted_runs_no_more_once_it_is_purged() {
    if !rights::allow_containers() {
        return;
    }
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let again = scene.registry.image("tiny:v2");
    let _said = skopeo::encrypt(&scene.image, &again, &script.key()).good();
    let containerd = Containerd::start(&script.key());
    for name in [&scene.name, &again] {
        let _said = containerd.pull(name).good();
    }
    assert!(containerd.run(&scene.name).good().contains(SECRET));
    let id = containerd.keep_running(&again);
    assert_eq!(containerd.running(), [id]);
    // Of a container whose image lost its name only its files tell.
    let _said = containerd.call(&["images", "rm", &again]).good();

    let (code, shown) = purge(true, of_containerd(&containerd));
    assert_eq!(code, Some(0), "{shown:?}");
    let mut digests = [digest(&scene.name), digest(&again)];
    digests.sort();
    assert_eq!(shown[0]["digests"], serde_json::json!(digests));
    assert_eq!(containerd.running().len(), 1);
    assert!(containerd.run(&scene.name).good().contains(SECRET));

    let (code, purged) = purge(false, of_containerd(&containerd));
    assert_eq!(code, Some(0), "{purged:?}");
    assert_eq!(
        (&purged[0]["runtime"], &purged[0]["place"]),
        (&"containerd".into(), &"k8s.io".into())
    );
    assert_eq!(purged[0]["digests"], serde_json::json!(digests));
    assert_eq!(purged[0]["left"], serde_json::json!([]));
    let _said = containerd.run(&scene.name).refused();
    let _said = containerd.run(&again).refused();
    assert!(containerd.running().is_empty() && containerd.containers().is_empty());
    assert!(containerd.snapshots().is_empty());
    assert!(containerd.blobs().is_empty());
    script.refuse(&scene.image.layers[1]);
    let said = containerd.pull(&scene.name).refused();
    assert!(said.contains(REFUSAL), "{said}");
    // What that pull decrypted before it was refused.
    let (code, purged) = purge(false, of_containerd(&containerd));
    assert_eq!(code, Some(0), "{purged:?}");
    assert!(containerd.snapshots().is_empty());
}

#[test]
fn images_of_others_stay_and_what_they_share_is_named() {
    if !rights::allow_containers() {
        return;
    }
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    // The same busybox below it.
    let plain = (
        Image::saying("seen by everybody"),
        scene.registry.image("plain:v1"),
    );
    let _said = skopeo::push(&plain.0, &plain.1).good();
    let containerd = Containerd::start(&script.key());
    for name in [&scene.name, &plain.1] {
        let _said = containerd.pull(name).good();
    }
    let id = containerd.keep_running(&plain.1);
    let (code, purged) = purge(false, of_containerd(&containerd));
    assert_eq!(code, Some(1), "{purged:?}");
    assert_eq!(
        purged[0]["left"],
        serde_json::json!([scene.image.layers[0]])
    );
    assert_eq!(containerd.running(), [id]);
    let _said = containerd.run(&scene.name).refused();
    assert!(
        containerd
            .run(&plain.1)
            .good()
            .contains("seen by everybody")
    );
}

#[test]
fn what_podman_decrypted_runs_no_more_once_it_is_purged() {
    if !rights::allow_containers() {
        return;
    }
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let plain = (
        Image::saying("seen by everybody"),
        scene.registry.image("plain:v1"),
    );
    let podman = Podman::new(&scene.registry);
    let _said = podman.pull(&scene.name, Some(&script.key())).good();
    assert!(podman.run(&scene.name).good().contains(SECRET));
    let keep = [
        "run",
        "--detach",
        "--pull=never",
        "--entrypoint",
        "/bin/busybox",
    ];
    let sleep = [&keep[..], &[&scene.name, "sleep", "1000"]].concat();
    let _said = podman.call(&sleep).good();
    let running = || podman.call(&["ps", "--quiet"]).good().lines().count();
    assert_eq!(running(), 1);

    let (code, shown) = purge(true, |agent| podman.tell(agent));
    assert_eq!(code, Some(0), "{shown:?}");
    assert_eq!(
        shown[0]["digests"],
        serde_json::json!([digest(&scene.name)])
    );
    assert_eq!(running(), 1);

    let (code, purged) = purge(false, |agent| podman.tell(agent));
    assert_eq!(code, Some(0), "{purged:?}");
    assert_eq!(
        purged[0]["digests"],
        serde_json::json!([digest(&scene.name)])
    );
    assert_eq!(purged[0]["left"], serde_json::json!([]));
    assert_eq!(running(), 0);
    let _said = podman.run(&scene.name).refused();
    assert!(podman.layers().is_empty());

    // A refusal in the middle of a pull leaves a layer that no image has; images of others stay.
    let _said = skopeo::push(&plain.0, &plain.1).good();
    let _said = podman.pull(&plain.1, None).good();
    script.refuse(&scene.image.layers[1]);
    let said = podman.pull(&scene.name, Some(&script.key())).refused();
    assert!(said.contains(REFUSAL), "{said}");
    let (code, purged) = purge(false, |agent| podman.tell(agent));
    assert_eq!(code, Some(0), "{purged:?}");
    assert!(podman.run(&plain.1).good().contains("seen by everybody"));
}

/// Starts a container that has another image mounted.
fn keep_mounting(podman: &Podman, image: &str, mounted: &str) -> String {
    let mount = format!("type=image,source={mounted},destination=/other");
    let keep = ["run", "--detach", "--pull=never", "--mount", &mount];
    let busybox = ["--entrypoint", "/bin/busybox", image, "sleep", "1000"];
    let id = podman.call(&[&keep[..], &busybox].concat()).good();
    id.trim().to_owned()
}

#[test]
fn images_that_containers_have_mounted_are_purged_too() {
    if !rights::allow_containers() {
        return;
    }
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let other = scene.registry.image("other:v1");
    let image = Image::saying("seen by who has the key, too");
    let _said = skopeo::encrypt(&image, &other, &script.key()).good();
    let plain = scene.registry.image("plain:v1");
    let image = Image::saying("seen by everybody");
    let _said = skopeo::push(&image, &plain).good();
    let podman = Podman::new(&scene.registry);
    for name in [&scene.name, &other] {
        let _said = podman.pull(name, Some(&script.key())).good();
    }
    let _said = podman.pull(&plain, None).good();
    // Each way: whichever is removed first is mounted into a container of the other.
    let _first = keep_mounting(&podman, &scene.name, &other);
    let _second = keep_mounting(&podman, &other, &scene.name);
    let reader = keep_mounting(&podman, &plain, &scene.name);
    let read = ["exec", &reader, "/bin/busybox", "cat", "/other/secret"];
    assert!(podman.call(&read).good().contains(SECRET));

    let (code, purged) = purge(false, |agent| podman.tell(agent));
    assert_eq!(purged[0]["error"], Value::Null, "{purged:?}");
    for name in [&scene.name, &other] {
        let _said = podman.run(name).refused();
    }
    // A container of somebody else's image runs on. The busybox below is that image's, too, and all else is gone.
    let running = podman.call(&["ps", "--quiet", "--no-trunc"]).good();
    assert_eq!(running.trim(), reader);
    assert_eq!(code, Some(1));
    // It misses the image that was mounted, and goes all the same.
    let _said = podman.call(&["rm", "--force", "--time", "0", &reader]);
    assert_eq!(podman.layers(), image.layers);
    let mount = format!("type=image,source={},destination=/other", scene.name);
    let again = ["run", "--rm", "--pull=never", "--mount", &mount, &plain];
    let _said = podman.call(&again).refused();
}

#[test]
fn nothing_is_touched_that_is_not_named_and_what_cannot_be_asked_is_said() {
    let said = agent(&["purge"], |_| ()).output().unwrap();
    assert_eq!(said.status.code(), Some(2));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("--containerd") && said.contains("--podman-root"),
        "{said}"
    );
    let nowhere = |agent: &mut Command| {
        agent.args(["--containerd", "/nonexistent/containerd.sock"]);
    };
    let (code, purged) = purge(false, nowhere);
    assert_eq!(code, Some(1));
    let error = purged[0]["error"].as_str().unwrap();
    assert!(
        error.starts_with("cannot reach containerd at `/nonexistent/containerd.sock`"),
        "{error}"
    );
}
