//! `touchstone-agent check`: what is wrong, and that nothing is changed by looking.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use touchstone_agent::Settings;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile, agent_command};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, healthy_host};

use super::end;

/// The exit code, and what `check` says.
fn check(settings: &Settings) -> (Option<i32>, Value) {
    let mut command = agent_command(settings, &["check", "--json"]);
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), report)
}

/// What was seen of `subject`: how it stands, and all that is said of it.
fn of(report: &Value, subject: &str) -> (String, String) {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["subject"] == subject);
    let found = found.unwrap_or_else(|| panic!("`{subject}` is not in {report}"));
    let said = format!("{} {}", found["seen"], found["next"]);
    (found["verdict"].as_str().unwrap().to_owned(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_host_is_good_in_everything_and_nothing_changes() {
    let (world, host, _maker) = healthy_host().await;
    let settings = host.settings(&world.server);
    let files = || {
        let mut files: Vec<_> = fs::read_dir(&settings.state)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = (files(), world.server.audit_entries().len());
    let (code, report) = check(&settings);
    assert_eq!(code, Some(0), "{report}");
    for subject in [
        "state folder",
        "free space",
        "identity",
        "TPM",
        "lockout",
        "endorsement key",
        "attestation key",
        "location tag",
        "boot id",
        "boot log",
        "runtime list",
        "attestor",
        "clock",
    ] {
        assert_eq!(of(&report, subject).0, "good", "{report}");
    }
    assert!(of(&report, "TPM").1.contains("IBM"), "{report}");
    let (verdict, said) = of(&report, "purge");
    assert!(verdict == "notice" && said.contains("no runtime is purged"));
    assert_eq!((files(), world.server.audit_entries().len()), before);

    // As people read it, also beside a running agent.
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    let mut command = agent_command(&settings, &["run", "--check"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("good    attestation key   loads\n"), "{text}");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_is_told_to_enrol_and_gets_no_folder() {
    let maker = Maker::new();
    let world = World::start(&Database::Sqlite, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let settings = host.settings(&world.server);
    let (code, report) = check(&settings);
    assert_eq!(code, Some(3), "{report}");
    let (verdict, said) = of(&report, "identity");
    assert!(
        verdict == "bad" && said.contains("enrol --join-token"),
        "{said}"
    );
    assert!(!settings.state.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_host_from_attesting_is_said_with_what_to_do() {
    let (mut world, host, _maker) = healthy_host().await;
    let settings = host.settings(&world.server);
    let bad = |settings: &Settings, subject: &str, code: i32, words: &str| {
        let (ended, report) = check(settings);
        let (verdict, said) = of(&report, subject);
        assert_eq!((verdict.as_str(), ended), ("bad", Some(code)), "{report}");
        assert!(said.contains(words), "{said}");
    };

    let mode = |mode| fs::set_permissions(&settings.state, Permissions::from_mode(mode)).unwrap();
    mode(0o750);
    bad(&settings, "state folder", 5, "chmod 700");
    mode(0o700);

    let nowhere = |change: fn(&mut Settings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        settings
    };
    let no_tpm = nowhere(|one| one.tcti = "device:/dev/nowhere".to_owned());
    bad(&no_tpm, "TPM", 1, "group `tss`");
    let no_log = nowhere(|one| one.boot_log = "/nowhere/log".into());
    bad(&no_log, "boot log", 1, "--boot-log");
    let no_id = nowhere(|one| one.boot_id = "/proc/version".into());
    bad(&no_id, "boot id", 1, "UUID");

    world.server.stop();
    bad(&settings, "attestor", 1, "see that the attestor runs");
    let address = world.server.url.trim_start_matches("https://").to_owned();
    let mut impostor = Server::start_at(&Database::Sqlite, &address, &[]);
    bad(&settings, "attestor", 7, "trust --join-token");
    impostor.stop();
    world.server.restart_with(&Database::Sqlite, &[]);

    host.tpm.clear().unwrap();
    bad(&settings, "attestation key", 4, "touchstone host reenrol");
    let (code, said) = end(agent_command(&settings, &["run", "--check"]));
    assert_eq!(code, Some(4));
    assert!(said.contains("this host cannot attest"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_keep_a_host_from_attesting_is_a_notice() {
    let (world, host, _maker) = healthy_host().await;
    let mut settings = host.settings(&world.server);
    settings.ima_list = "/nowhere/list".into();
    settings.boot_log = settings.state.join("identity.json");
    super::tpm::lock_out(&host);
    let (code, report) = check(&settings);
    assert_eq!(code, Some(0), "{report}");
    for (subject, words) in [
        ("runtime list", "ima_policy=tcb"),
        ("boot log", "does not parse"),
        ("lockout", "tpm2_dictionarylockout --clear-lockout"),
    ] {
        let (verdict, said) = of(&report, subject);
        assert_eq!(verdict, "notice", "{report}");
        assert!(said.contains(words), "{said}");
    }
}
