//! How much of the host's memory the daemon takes.

use std::path::Path;

use rustix::process::Signal;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::host::{Host, command_of};
use touchstone_tests::programs;
use touchstone_tests::server::Server;
use touchstone_tests::world::healthy_host;

/// KiB that an agent may have resident: its own memory, its code and its libraries.
const RESIDENT: u64 = 20 << 10;
/// KiB of that which are its own: the rest can be dropped and read again from its files.
const OWN: u64 = 6 << 10;
/// Rounds after which nothing is new to it.
const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_at_most_20_mib() {
    let (world, host, _maker) = healthy_host().await;
    // Code that is not optimised is several times as large, and nobody installs it.
    let (_, own) = measure(&programs::path("touchstone-agent"), &host, &world.server);
    assert!(own <= OWN, "{own} KiB");
    let Some(installed) = programs::optimised("touchstone-agent") else {
        eprintln!(
            "SKIPPED: resident memory counts for an optimised agent; next: cargo build --locked --release -p touchstone-agent"
        );
        return;
    };
    let (resident, own) = measure(&installed, &host, &world.server);
    assert!(resident <= RESIDENT, "{resident} KiB");
    assert!(own <= OWN, "{own} KiB");
}

/// KiB after some rounds of the two boots: resident at most, and of its own.
fn measure(program: &Path, host: &Host, server: &Server) -> (u64, u64) {
    let settings = host.settings(server);
    let mut daemon = Daemon::start(command_of(
        program,
        &settings,
        &["run", "--interval", "86400"],
    ));
    daemon.wait_for_round("affirming");
    // The whole boot log, the runtime list and the banks once more, as after a reboot.
    host.reboot();
    for _ in 0..ROUNDS {
        daemon.signal(Signal::HUP);
        daemon.wait_for_round("affirming");
    }
    let (now, most) = (daemon.memory("VmRSS"), daemon.memory("VmHWM"));
    let (own, files) = (daemon.memory("RssAnon"), daemon.memory("RssFile"));
    eprintln!(
        "{} after {ROUNDS} rounds: {now} KiB resident, {most} at most; {own} its own, {files} of files",
        program.display()
    );
    daemon.stop();
    (most, own)
}
