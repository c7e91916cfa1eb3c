//! The TPM: reset, cleared, away, in lockout.

use std::net::TcpListener;

use rustix::process::Signal;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile, agent_command};
use touchstone_tests::proxy::Proxy;
use touchstone_tests::tpm2_tools;
use touchstone_tests::world::{Maker, World, healthy_host};

use super::end;

#[tokio::test(flavor = "multi_thread")]
async fn the_host_reboots() {
    let (world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    daemon.kill();
    host.reboot();
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tpm_is_reset_under_the_agent() {
    let (world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    // What it saved of its keys loads no more, and the boot log is wanted again.
    for again in [Host::reboot, Host::restart] {
        again(&host);
        daemon.signal(Signal::HUP);
        daemon.wait_for_round("affirming");
    }
    // Without a boot behind it, its PCRs say so.
    host.tpm.reboot().unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_round("contraindicated");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tpm_was_cleared() {
    let (world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::busy(&host, &world.server);
    daemon.wait_for_round("affirming");
    host.tpm.clear().unwrap();
    host.reboot();
    let (code, said) = daemon.end();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("touchstone host reenrol"), "{said}");
    // As the message says, and as the documents say what is void.
    world.server.command(&["host", "reenrol", "de-1"]);
    host.enrol_again(&world.server, &world.join_token).unwrap();
    world.tag(&host, "DE");
    let mut daemon = Daemon::busy(&host, &world.server);
    daemon.wait_for("tier=affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tpm_does_not_answer() {
    let (world, host, _maker) = healthy_host().await;
    let port: u16 = host.tpm.tcti().rsplit('=').next().unwrap().parse().unwrap();
    let (commands, control) = adjacent_ports();
    let address = commands.local_addr().unwrap();
    let mut settings = host.settings(&world.server);
    settings.tcti = format!("swtpm:host=127.0.0.1,port={}", address.port());
    drop((commands, control));
    let (code, said) = end(agent_command(&settings, &["attest", "--once"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no TPM 2.0 answers"), "{said}");
    let mut daemon = Daemon::start(agent_command(&settings, &["run", "--interval", "2"]));
    let line = daemon.wait_for("no TPM 2.0 answers");
    assert!(line.contains("trying again in"), "{line}");
    // It comes up late, as a resource manager may.
    let listen = |above| TcpListener::bind(("127.0.0.1", address.port() + above)).unwrap();
    let _control = Proxy::on(listen(1), port + 1);
    let _commands = Proxy::on(listen(0), port);
    daemon.wait_for_round("affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_the_tpm_cannot_be_read() {
    let (world, host, _maker) = healthy_host().await;
    let mut settings = host.settings(&world.server);
    settings.tcti = "/dev/tpmrm0".to_owned();
    let (code, said) = end(agent_command(&settings, &["run"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("device:/dev/tpmrm0"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tpm_is_in_lockout() {
    let (world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    lock_out(&host);
    daemon.signal(Signal::HUP);
    daemon.wait_for_round("affirming");
    // Nor does what only a first round after a boot does need an authorization that counts.
    host.reboot();
    assert!(is_locked_out(&host));
    daemon.signal(Signal::HUP);
    daemon.wait_for_round("affirming");
    // Nor does an enrolment with new keys.
    daemon.stop();
    world.server.command(&["host", "reenrol", "de-1"]);
    host.enrol_again(&world.server, &world.join_token).unwrap();
    assert!(is_locked_out(&host));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_0x921() {
    let maker = Maker::new();
    let world = World::start(&Database::Sqlite, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    // Not one of the agent's making: to read it counts as a guess.
    define(&host, "0x01807401", "");
    world.join(&host, None).await;
    let mut daemon = Daemon::busy(&host, &world.server);
    daemon.wait_for(": attested ");
    lock_out(&host);
    let line = daemon.wait_for("0x921");
    assert!(
        line.contains("TPM2_NV_Read") && line.contains("trying again in"),
        "{line}"
    );
    let (code, said) = {
        daemon.stop();
        end(host.agent_command(&world.server, &["attest", "--once"]))
    };
    assert_eq!(code, Some(1), "{said}");
    // As the message says.
    let mut daemon = Daemon::busy(&host, &world.server);
    daemon.wait_for("tpm2_dictionarylockout --clear-lockout");
    tpm2_tools::run(&host, "tpm2_dictionarylockout", &["--clear-lockout"]);
    daemon.wait_for(": attested ");
    daemon.stop();
}

/// A written index whose use counts against guessing, with this authorization value.
fn define(host: &Host, index: &str, value: &str) {
    let attributes = "ownerwrite|ownerread|authread";
    let define = ["-C", "o", "-s", "8", "-a", attributes, "-p", value, index];
    tpm2_tools::run(host, "tpm2_nvdefine", &define);
    let data = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(data.path(), [7; 8]).unwrap();
    let write = ["-C", "o", "-i", data.path().to_str().unwrap(), index];
    tpm2_tools::run(host, "tpm2_nvwrite", &write);
}

/// Guesses until the TPM has had enough.
pub(super) fn lock_out(host: &Host) {
    let setup = [
        "--setup-parameters",
        "--max-tries=2",
        "--recovery-time=3600",
    ];
    tpm2_tools::run(host, "tpm2_dictionarylockout", &setup);
    define(host, "0x01500001", "right");
    for _ in 0..3 {
        let guess = ["-C", "0x01500001", "-P", "wrong", "0x01500001"];
        let (good, said) = tpm2_tools::attempt(host, "tpm2_nvread", &guess);
        assert!(!good, "{said}");
    }
    assert!(is_locked_out(host));
}

fn is_locked_out(host: &Host) -> bool {
    let said = tpm2_tools::run(host, "tpm2_getcap", &["properties-variable"]);
    let mut lines = said.lines().map(str::trim);
    lines.any(|line| line.starts_with("inLockout:") && line.ends_with('1'))
}

/// Two free ports next to each other, where swtpm's clients look for its two channels.
fn adjacent_ports() -> (TcpListener, TcpListener) {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = TcpListener::bind(("127.0.0.1", port.saturating_add(1))) {
            return (first, second);
        }
    }
}
