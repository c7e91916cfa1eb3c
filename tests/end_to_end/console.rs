//! The command line in clumsy hands: what is mistyped does nothing, and a reader may leave early.

use std::fs::File;
use std::process::{Output, Stdio};

use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::world::{Maker, World};

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles/shim_sb");

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A path in a name once led to another machine than the one that was typed.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_argument_is_a_wrong_command_line_and_does_nothing() {
    let world = World::start(&Database::under_test(), &Maker::new());
    let server = &world.server;
    let (ek, other) = ("11".repeat(32), "22".repeat(32));
    server.command(&["inventory", "add", "--host", "tmp-1", "--ek-digest", &ek]);
    let entries = server.audit_entries().len();
    // A key that is taken is said to be whose.
    let taken = server.run(&["inventory", "add", "--host", "tmp-2", "--ek-digest", &ek]);
    assert!(said(&taken).contains("`tmp-1` has"), "{}", said(&taken));
    // One that has only to enrol is not unknown.
    let waiting = said(&server.run(&["host", "show", "tmp-1"]));
    assert!(
        waiting.contains("join-token create --host tmp-1"),
        "{waiting}"
    );
    let unknown = said(&server.run(&["host", "show", "tmp-9"]));
    assert!(unknown.contains("host-unknown"), "{unknown}");
    let long = "x".repeat(201);
    for line in [
        &["inventory", "show", "xx/../tmp-1"][..],
        &["inventory", "remove", "xx/../tmp-1"],
        &["inventory", "add-ek", "xx/../tmp-1", "--ek-digest", &other],
        &["inventory", "add", "--host", "A b", "--ek-digest", &other],
        &["inventory", "add", "--host", "tmp-2", "--ek-digest", "zz"],
        &["inventory", "remove", "tmp-1", "--reason", &long],
        &["inventory", "remove", "tmp-1", "--reason", ""],
        &["host", "show", "xx/../tmp-1"],
        &["host", "result", "xx/../tmp-1"],
        &["host", "retire", "xx/../tmp-1"],
        &["host", "reenrol", "xx/../tmp-1"],
        &["host", "replace", "xx/../tmp-1", "--ek-digest", &other],
        &["host", "accept-firmware", "xx/../tmp-1"],
        &["host", "accept-firmware", "tmp-1", "--version", "7"],
        &["host", "approve", &other, "--host", "../tmp-1"],
        &["host", "approve", "zz", "--host", "tmp-2"],
        &["host", "reject", "zz"],
        &["join-token", "create", "--host", "../tmp-1"],
        &["node", "map", "node-1", "../tmp-1"],
    ] {
        let output = server.run(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {}", said(&output));
    }
    assert_eq!(server.audit_entries().len(), entries);
    for line in [
        &["inventory", "add", "--host", "tmp-2"][..],
        &["inventory", "add-ek", "tmp-1"],
        &["host", "replace", "tmp-1"],
    ] {
        let output = server.run(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        let either = "<--ek-certificate <FILE>|--ek-digest <HEX>>";
        assert!(said(&output).contains(either), "{}", said(&output));
    }
}

fn inspect_into(stdout: Stdio) -> Output {
    programs::command(&programs::path("touchstone"))
        .args(["inspect", "ima", &format!("{PROFILE}/ima.bin")])
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .unwrap()
}

#[test]
fn a_reader_that_leaves_is_no_failure_and_a_full_disk_is_one() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let left = inspect_into(writer.into());
    assert_eq!((left.status.code(), said(&left).as_str()), (Some(0), ""));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let full = inspect_into(full.into());
    assert_eq!(full.status.code(), Some(1));
    let line = "touchstone: cannot write to standard output: ";
    assert!(said(&full).starts_with(line), "{}", said(&full));
}
