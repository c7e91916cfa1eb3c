//! The attestor: away, back, older, somebody else.

use std::fs;

use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::proxy::Proxy;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, healthy_host};

use super::end;

#[tokio::test(flavor = "multi_thread")]
async fn the_attestor_is_away() {
    let (mut world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    world.server.signal(Signal::KILL);
    daemon.signal(Signal::HUP);
    // It waits a second at first, then longer.
    let pauses = [(0.9, 1.1), (1.8, 2.2)];
    for (least, most) in pauses {
        let line = daemon.wait_for("no answer from");
        let pause = line.rsplit("trying again in ").next().unwrap();
        let pause: f32 = pause.split(' ').next().unwrap().parse().unwrap();
        assert!((least..=most).contains(&pause), "{line}");
    }
    world.server.restart_to_die(&Database::Sqlite, "never:0");
    daemon.wait_for_round("affirming");
    daemon.stop();
    world.server.stop();
    let (code, said) = end(host.agent_command(&world.server, &["attest", "--once"]));
    assert_eq!(code, Some(1), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_attestor_is_cut() {
    let (world, host, _maker) = healthy_host().await;
    let (_, port) = world.server.url.rsplit_once(':').unwrap();
    let way = Proxy::to(port.parse().unwrap());
    let identity = host.settings(&world.server).state.join("identity.json");
    let kept = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, kept.replace(port, &way.port.to_string())).unwrap();
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    way.cut();
    let before = world.server.audit_entries().len();
    daemon.signal(Signal::HUP);
    daemon.wait_for("asked by SIGHUP");
    assert_eq!(world.server.audit_entries().len(), before);
    way.mend();
    daemon.wait_for_round("affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attestor_goes_on_with_an_older_database() {
    let (mut world, host, _maker) = healthy_host().await;
    let database = Database::Sqlite;
    let mut daemon = Daemon::idle(&host, &world.server);
    daemon.wait_for_round("affirming");
    world.server.stop();
    let folder = world.server.folder().to_owned();
    fs::copy(folder.join("touchstone.db"), folder.join("backup.db")).unwrap();
    world.server.restart_with(&database, &[]);
    daemon.signal(Signal::HUP);
    daemon.wait_for_round("affirming");
    world.server.stop();

    fs::copy(folder.join("backup.db"), folder.join("touchstone.db")).unwrap();
    fs::rename(folder.join("head"), folder.join("head.lost")).unwrap();
    world.server.restart_with(&database, &[]);
    assert!(!world.server.place("u1", "node-de-1").await.0);
    // The challenge that it holds is of a future that did not come about.
    daemon.signal(Signal::HUP);
    daemon.wait_for_round("affirming");
    assert!(world.server.place("u2", "node-de-1").await.0);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_of_another_ca() {
    let (mut world, host, _maker) = healthy_host().await;
    let expected = fs::read(world.server.folder().join("ca.pem")).unwrap();
    let expected = CertificateDer::from_pem_slice(&expected).unwrap();
    let expected = Sha256Digest::of(&expected).to_string();
    let mut daemon = Daemon::busy(&host, &world.server);
    daemon.wait_for_round("affirming");
    world.server.stop();
    let address = world.server.url.trim_start_matches("https://").to_owned();
    let mut impostor = Server::start_at(&Database::Sqlite, &address, &[]);
    let line = daemon.wait_for("is not the attestor that this host knows");
    assert!(
        line.contains(&expected) && line.contains("trying again"),
        "{line}"
    );
    let (code, said) = {
        daemon.stop();
        end(host.agent_command(&world.server, &["attest", "--once"]))
    };
    assert_eq!(code, Some(7), "{said}");
    assert!(
        said.contains(&expected) && said.contains("trust --join-token"),
        "{said}"
    );
    // It is none of the impostor's business who asked.
    let entries = impostor.audit_entries();
    assert!(entries.iter().all(|entry| entry["actor"] == "attestor"));

    let mut daemon = Daemon::busy(&host, &world.server);
    daemon.wait_for("is not the attestor that this host knows");
    impostor.stop();
    world.server.restart_with(&Database::Sqlite, &[]);
    daemon.wait_for_round("affirming");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attestor_has_a_certificate_for_another_name() {
    let (world, host, _maker) = healthy_host().await;
    let identity = host.settings(&world.server).state.join("identity.json");
    let kept = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, kept.replace("//127.0.0.1", "//127.0.0.2")).unwrap();
    let way = std::net::TcpListener::bind((
        "127.0.0.2",
        world
            .server
            .url
            .rsplit(':')
            .next()
            .unwrap()
            .parse()
            .unwrap(),
    ));
    let (_, port) = world.server.url.rsplit_once(':').unwrap();
    let _way = Proxy::on(way.unwrap(), port.parse().unwrap());
    let (code, said) = end(host.agent_command(&world.server, &["attest", "--once"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("of the right CA and still no good"), "{said}");
    assert!(said.contains("`--name`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attestor_gets_another_ca() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    let identity = host.settings(server).state.join("identity.json");
    let kept = || {
        let identity = fs::read(&identity).unwrap();
        let identity: serde_json::Value = serde_json::from_slice(&identity).unwrap();
        identity["ca"].as_str().unwrap().to_owned()
    };
    let first = kept();
    let mut daemon = Daemon::busy(&host, server);
    daemon.wait_for_round("affirming");
    server.command(&["keys", "rotate", "ca"]);
    daemon.wait_for("believed from now on");
    let both = kept();
    let second = both.strip_prefix(&first).unwrap();
    // It says what it believes with the next round.
    daemon.wait_for_round("affirming");
    server.command(&["keys", "activate", "ca"]);
    daemon.wait_for("believed from now on");
    assert_eq!(kept(), second);
    daemon.wait_for_round("affirming");
    assert!(!daemon.said().contains("trying again"), "{}", daemon.said());
    daemon.stop();
    host.attest(server).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_was_away_while_the_attestor_got_another_ca() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    server.command(&["keys", "rotate", "ca"]);
    assert_eq!(
        server.refusal(&["keys", "activate", "ca"]),
        "ca-overlap-short"
    );
    server.command(&["keys", "activate", "ca", "--force"]);
    let attest = || end(host.agent_command(server, &["attest", "--once"]));
    let (code, said) = attest();
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("trust --join-token"), "{said}");
    let trust = |token: &str| end(host.agent_command(server, &["trust", "--join-token", token]));
    // The token from before names the CA that was.
    assert_eq!(trust(world.join_token.to_str().unwrap()).0, Some(0));
    assert_eq!(attest().0, Some(7));
    let token = server.folder().join("join-token-2");
    let token = token.to_str().unwrap();
    server.command(&["join-token", "create", "--out", token]);
    assert_eq!(trust(token).0, Some(0));
    let (code, said) = attest();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        server.command(&["host", "show", "de-1"])["tier"],
        "affirming"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attestor_takes_the_keys_no_more() {
    let (world, host, _maker) = healthy_host().await;
    let mut daemon = Daemon::busy(&host, &world.server);
    daemon.wait_for_round("affirming");
    world.server.command(&["host", "retire", "de-1"]);
    let (code, said) = daemon.end();
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("`host-retired`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_let_the_tpm_in_yet() {
    let maker = Maker::new();
    let world = World::start(&Database::Sqlite, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let token = world.join_token.to_str().unwrap();
    let run = ["run", "--interval", "1", "--join-token", token];
    let mut daemon = Daemon::start(host.agent_command(&world.server, &run));
    let line = daemon.wait_for("ek-not-in-inventory");
    assert!(line.contains("trying again in"), "{line}");
    world.admit(&host, Some("DE")).await;
    daemon.wait_for_round("affirming");
    daemon.stop();
    let (code, said) = end(host.agent_command(&world.server, &["enrol", "--join-token", token]));
    assert_eq!(code, Some(0), "{said}");
}
