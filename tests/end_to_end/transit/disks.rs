//! A disk (LUKS2) whose key is decrypted on its host alone, while the host is trusted: by cryptsetup, as
//! `systemd-cryptsetup` asks for a key at a socket.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use touchstone_tests::host::Host;
use touchstone_tests::server::Server;
use touchstone_tests::transit::{Transit, command, run};
use touchstone_tpm_sim::swtpm::Bank;

use super::scene;

/// cryptsetup, which is in root's PATH alone on some systems; the work factor is not what is tested.
fn cryptsetup(arguments: &[&str], volume: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("cryptsetup");
    command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(arguments)
        .arg("--disable-locks")
        .arg(volume);
    command
}

/// Tries the key that the agent's command gives.
fn unlock(host: &Host, server: &Server, sealed: &Path, volume: &Path) -> (Output, Output) {
    let mut decrypt = host.agent_command(
        server,
        &["transit", "decrypt", "disks", "--associated-data", "data"],
    );
    let mut decrypting = decrypt
        .stdin(File::open(sealed).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let key = decrypting.stdout.take().unwrap();
    let mut open = cryptsetup(&["open", "--test-passphrase", "--key-file=-"], volume);
    let opened = open.stdin(key).output().unwrap();
    (decrypting.wait_with_output().unwrap(), opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_unlocked_while_its_host_is_trusted_and_not_otherwise() {
    let (world, host, _maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    let sealed = folder.path().join("data.vault");
    File::create(&volume).unwrap().set_len(32 << 20).unwrap();
    // Any bytes are a key: line breaks and zeros too.
    let key: Vec<u8> = (0..=255).collect();
    let encrypt = ["encrypt", "disks", "--associated-data", "data"];
    let text = command(&host, &world.server, &encrypt, &key).stdout;
    fs::write(&sealed, text).unwrap();
    let format = ["luksFormat", "--batch-mode", "--type=luks2", "--key-file=-"];
    let work = ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000"];
    let made = run(cryptsetup(&[&format[..], &work].concat(), &volume), &key);
    assert!(made.status.success(), "{made:?}");

    let (decrypted, opened) = unlock(&host, &world.server, &sealed, &volume);
    assert!(
        decrypted.status.success() && opened.status.success(),
        "{opened:?}"
    );
    // As a test of the test: another key does not open it.
    let test = cryptsetup(&["open", "--test-passphrase", "--key-file=-"], &volume);
    assert_eq!(run(test, &key[1..]).status.code(), Some(2));

    host.tpm.extend(4, &[(Bank::Sha256, vec![7; 32])]).unwrap();
    let (refused, opened) = unlock(&host, &world.server, &sealed, &volume);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("PCR 4"), "{said}");
    assert!(!opened.status.success(), "{opened:?}");
    drop(transit);
}
