//! What brings the next round forward: these daemons would not have one for a day.

use std::fs;

use rustix::process::Signal;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::world::healthy_host;

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_asked_for_by_sighup() {
    let (world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    daemon.signal(Signal::HUP);
    daemon.wait_for("asked by SIGHUP");
    daemon.wait_for_round("affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_boot_id_is_told_at_once() {
    let (world, host, _maker) = healthy_host().await;
    let boot_id = host.settings(&world.server).boot_id;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    fs::write(boot_id, "00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
    daemon.wait_for("the boot id is another one");
    daemon.wait_for_round("affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_location_tag_is_carried_in_the_round_that_hears_of_it() {
    let (world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    // The tag voids the challenge that the daemon holds, and comes with the next one.
    world.tag(&host, "DE");
    daemon.signal(Signal::HUP);
    daemon.wait_for("carries a new location tag");
    daemon.wait_for_round("affirming");
    daemon.stop();
}
