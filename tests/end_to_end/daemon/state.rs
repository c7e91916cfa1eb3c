//! The state folder, and the disk under it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World, healthy_host};

use super::end;

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_not_enrolled() {
    let maker = Maker::new();
    let world = World::start(&Database::Sqlite, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    for arguments in [&["run"][..], &["attest", "--once"]] {
        let (code, said) = end(host.agent_command(&world.server, arguments));
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("enrol --join-token"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_join_token_is_not_there_or_is_none() {
    let maker = Maker::new();
    let world = World::start(&Database::Sqlite, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let none = world.server.file("no-token", "touchstone-join-v1.x");
    fs::set_permissions(&none, Permissions::from_mode(0o600)).unwrap();
    for (token, why) in [
        ("/nowhere/token", "cannot read"),
        (&none, "holds no join token"),
    ] {
        let (code, said) = end(host.agent_command(&world.server, &["run", "--join-token", token]));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why) && said.contains(token), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_join_token_is_open_to_others() {
    let maker = Maker::new();
    let world = World::start(&Database::Sqlite, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    let token = world.join_token.to_str().unwrap();
    let enrol = ["enrol", "--join-token", token];
    for mode in [0o644, 0o640, 0o602] {
        fs::set_permissions(token, Permissions::from_mode(mode)).unwrap();
        for arguments in [enrol, ["run", "--join-token", token]] {
            let (code, said) = end(host.agent_command(&world.server, &arguments));
            assert_eq!(code, Some(2), "{said}");
            let shown = format!("(mode {mode:04o}); `chmod 600`");
            assert!(said.contains(&shown) && said.contains(token), "{said}");
        }
    }
    fs::set_permissions(token, Permissions::from_mode(0o400)).unwrap();
    let (code, said) = end(host.agent_command(&world.server, &enrol));
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_folder_is_open_to_others() {
    let (world, host, _maker) = healthy_host().await;
    let state = host.settings(&world.server).state;
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    let (code, said) = end(host.agent_command(&world.server, &["run"]));
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("mode 0755") && said.contains("chmod 700"),
        "{said}"
    );
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_state_folder_is_damaged() {
    let (world, host, _maker) = healthy_host().await;
    let file = host.settings(&world.server).state.join("identity.json");
    let kept = fs::read(&file).unwrap();
    fs::write(&file, &kept[..kept.len() / 2]).unwrap();
    let (code, said) = end(host.agent_command(&world.server, &["run"]));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("identity.json` is damaged"), "{said}");
    fs::write(&file, kept).unwrap();
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agent_works_with_the_state_folder() {
    let (world, host, _maker) = healthy_host().await;
    let mut first = Daemon::idle(&host, &world.server);
    first.wait_for_round("affirming");
    let (code, said) = end(host.agent_command(&world.server, &["attest", "--once"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another agent works with"), "{said}");
    let mut second = Daemon::busy(&host, &world.server);
    let waits = second.wait_for("another agent works with");
    assert!(waits.contains("trying again in"), "{waits}");
    first.stop();
    second.wait_for_round("affirming");
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_full() {
    let maker = Maker::new();
    let world = World::start(&Database::Sqlite, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let state = host.settings(&world.server).state;
    let Some(disk) = Disk::mount(&state) else {
        return;
    };
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");

    disk.fill();
    let before = files(&state);
    for _ in 0..2 {
        daemon.signal(Signal::HUP);
        daemon.wait_for_round("affirming");
    }
    // Said once, and nothing is left half-written.
    let said = daemon.said();
    assert_eq!(said.matches("the outcome is not kept").count(), 1, "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(files(&state), before);

    disk.make_room();
    daemon.signal(Signal::HUP);
    daemon.wait_for("outcomes are kept again");
    daemon.wait_for_round("affirming");
    assert_ne!(files(&state), before);
    // A start on a full disk goes on from what is there.
    daemon.kill();
    disk.fill();
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_what_it_logs() {
    let (world, host, _maker) = healthy_host().await;
    let mut command = host.agent_command(&world.server, &["run", "--interval", "1"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut daemon = command.stderr(full).spawn().unwrap();
    let before = world.server.audit_entries().len();
    let begun = Instant::now();
    while world.server.audit_entries().len() < before + 2 {
        assert!(daemon.try_wait().unwrap().is_none(), "it gave up");
        assert!(begun.elapsed() < Duration::from_secs(60), "no rounds");
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // Nor are its last words needed for its exit code.
    fs::set_permissions(
        host.settings(&world.server).state,
        Permissions::from_mode(0o755),
    )
    .unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = host.agent_command(&world.server, &["attest", "--once"]);
    assert_eq!(command.stderr(full).status().unwrap().code(), Some(5));
}

/// A small disk of its own.
struct Disk(PathBuf);

impl Disk {
    /// On the folder `at`. `None`, and says so, where this machine does not let us.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args([
            "-t",
            "tmpfs",
            "-o",
            "size=128k,mode=0700",
            "touchstone-test",
        ]);
        let mounted = mount.arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            said => {
                eprintln!("SKIPPED: this test needs to mount a tmpfs, as root: {said:?}");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone_before = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What is in the folder, but for the filler.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("filler"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}
