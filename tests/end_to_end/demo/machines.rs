//! `tpm-sim on MACHINE`: what the agent of a host says there, and a demo whose attestor was stopped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use touchstone_tests::containers::rights;

use super::kept::{Kept, text};

#[test]
fn a_command_on_a_host_finds_its_agent_and_the_demo_outlives_its_attestor() {
    if !rights::allow_containers() {
        return;
    }
    let kept = Kept::nothing();
    let made = kept.shell("make demo-encrypted KEEP=1");
    assert!(made.status.success(), "{}", text(&made));
    let on = |machine: &str, command: &str| {
        let output = kept.shell(&format!("target/debug/tpm-sim on {machine} '{command}'"));
        let said = text(&output);
        assert!(output.status.success(), "{command}: {said}");
        said
    };
    let said = on("de-1", "touchstone-agent check");
    assert!(said.contains("podman"), "{said}");
    assert!(!said.contains(" bad "), "{said}");
    assert!(on("de-1", "touchstone-agent status").contains("de-1"));
    let said = on("de-1", "touchstone-agent purge --dry-run");
    assert!(said.contains("podman"), "{said}");
    let _made = on(
        "operator",
        "touchstone key create secrets --policy payments",
    );
    let there_and_back = "echo our secret | touchstone-agent transit encrypt secrets | touchstone-agent transit decrypt secrets";
    assert_eq!(on("de-1", there_and_back), "our secret\n");

    let folder = kept.entry()["folder"].as_str().unwrap().to_owned();
    let words = text(&made);
    let line = |start: &str| {
        let mut lines = words.lines().map(str::trim);
        lines
            .find(|line| line.starts_with(start))
            .unwrap()
            .to_owned()
    };
    let killed = kept.shell(&line("kill "));
    assert!(killed.status.success(), "{}", text(&killed));
    let log = Path::new(&folder).join("keeper.log");
    until(|| {
        let said = fs::read_to_string(&log).unwrap();
        said.contains("the hosts go on without") && said.contains("touchstone serve")
    });
    assert!(on("de-1", "touchstone-agent status").contains("de-1"));
    let again = words
        .lines()
        .map(str::trim)
        .find(|line| line.contains("touchstone serve"));
    // In the demo's folder, so that it ends with this test.
    let served = kept.shell(&format!("{} >/dev/null 2>&1 & echo $!", again.unwrap()));
    let pid = text(&served);
    until(|| {
        let listed = kept.shell("target/debug/tpm-sim on operator touchstone host list");
        listed.status.success() && text(&listed).contains("de-1")
    });
    let ended = kept.shell(&format!("kill {pid}"));
    assert!(ended.status.success(), "{}", text(&ended));
}

/// Until it is so.
fn until(so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never was");
        std::thread::yield_now();
    }
}
