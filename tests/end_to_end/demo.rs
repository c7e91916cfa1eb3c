//! The demos are a promise to newcomers: every row as expected, and able to fail.

mod cluster;
mod first_image;
mod kept;
mod machines;

use std::process::Output;

use serde_json::Value;
use touchstone_tests::containers::rights;
use touchstone_tests::programs;

fn demo(options: &[&str]) -> Output {
    // One that fails leaves its folder for a look.
    let folder = tempfile::tempdir().unwrap();
    programs::command(&programs::path("tpm-sim"))
        .arg("demo")
        .args(options)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap()
}

/// What a demo that went well shows as JSON.
fn shown(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{printed}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// It failed, and names each of these cells.
fn differs(output: Output, cells: &[&str]) {
    assert_eq!(output.status.code(), Some(1));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    for cell in cells {
        let line = format!("NOT AS EXPECTED  {cell}");
        assert!(said.contains(&line), "{line}: {said}");
    }
}

#[test]
fn the_demo_shows_what_it_says() {
    let shown = shown(&demo(&["--json"]));
    assert!(shown.to_string().contains("kernel-command-line-changed"));
    assert!(shown.get("encrypted").is_none());
}

#[test]
fn the_demo_fails_when_two_hosts_exchange_their_boots() {
    differs(demo(&["--swap"]), &["de-1, tier"]);
}

#[test]
fn the_demo_with_encrypted_images_shows_what_it_says() {
    if !rights::allow_containers() {
        return;
    }
    let shown = shown(&demo(&["--encrypted", "--json"]));
    let outcomes = shown["encrypted"].as_array().unwrap();
    let runs = outcomes.iter().map(|outcome| &outcome["image"]["good"]);
    assert!(runs.eq([true, false, false].map(Value::from).iter()));
    // An image of two layers and one of one, and the first of them a second time.
    let released = outcomes[0]["recorded"]["released"].as_u64().unwrap();
    assert!(released >= 5, "{released}");
    assert_eq!(outcomes[0]["recorded"]["purged"], 1);
}

#[test]
fn the_demo_with_encrypted_images_fails_when_two_hosts_exchange_their_boots() {
    if !rights::allow_containers() {
        return;
    }
    let cells = [
        "de-1, image (stage 3)",
        "de-1, information (stage 4)",
        "de-1, place taken back",
        "de-2, image (stage 3)",
        "de-2, information (stage 4)",
        "de-2, audit log",
    ];
    differs(demo(&["--encrypted", "--swap"]), &cells);
}

#[test]
fn the_demo_with_encrypted_images_says_which_right_is_missing_before_it_starts_anything() {
    if !rights::allow_containers() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Root that may mount nothing.
    let mut command = programs::command("setpriv".as_ref());
    command
        .args(["--bounding-set=-sys_admin", "--"])
        .arg(programs::path("tpm-sim"))
        .args(["demo", "--encrypted"])
        .env("TMPDIR", folder.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the probe of `mount` failed"), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
