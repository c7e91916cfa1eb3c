//! The attestor's clock jumps by a day, either way: what was known is too old after it, or nothing that is over comes
//! back.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use touchstone_tests::host::Host;
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{Maker, World, healthy_host};

const DAY: i64 = 86_400;

/// A world whose attestor's clock a test can set.
struct Scene {
    world: World,
    host: Host,
    /// Holds what is added to the system's clock, in milliseconds.
    shift: String,
    _maker: Maker,
}

impl Scene {
    async fn new() -> Self {
        let (mut world, host, maker) = healthy_host().await;
        let shift = world.server.file("clock", "0");
        let env = [("TOUCHSTONE_CLOCK_SHIFT", shift.as_str())];
        let database = world.server.database();
        world.server.restart_in(&env, &database);
        Self {
            world,
            host,
            shift,
            _maker: maker,
        }
    }

    /// The clock jumps to this many seconds from what it should be.
    fn jump(&self, seconds: i64) {
        let milliseconds = seconds * 1000;
        // At once: the attestor reads it at any time.
        let unfinished = format!("{}.new", self.shift);
        std::fs::write(&unfinished, milliseconds.to_string()).unwrap();
        std::fs::rename(unfinished, &self.shift).unwrap();
    }

    async fn ready(&self) -> (StatusCode, String) {
        let server = &self.world.server;
        let (status, said) = server.send(Method::GET, "/readyz", None, None).await;
        let code = said["type"].as_str().unwrap_or_default();
        (status, code.trim_start_matches("touchstone:").to_owned())
    }

    async fn admits(&self, uid: &str) -> bool {
        self.world.server.place(uid, "node-de-1").await.0
    }

    /// Times of all entries, oldest first.
    fn times(&self) -> Vec<i64> {
        let entries = self.world.server.audit_entries();
        let time = |entry: &Value| entry["time"].as_i64().unwrap();
        entries.iter().map(time).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_jump_forward_every_verdict_is_stale_and_hosts_recover() {
    let scene = Scene::new().await;
    assert!(scene.admits("u1").await);
    scene.jump(DAY);
    let (admitted, why) = scene.world.server.place("u2", "node-de-1").await;
    assert!(!admitted, "{why}");
    let entries = scene.world.server.audit_entries();
    assert_eq!(entries.last().unwrap()["refusals"][0], "result-expired");
    // The challenge that the host holds is over; the next round finds time that its TPM did not see, and the one
    // after it goes on from there.
    let outcome = scene.host.attest(&scene.world.server).unwrap();
    assert_eq!(outcome["tier"], "none", "{outcome}");
    assert_eq!(outcome["findings"][0]["code"], "tpm-clock-drift");
    assert!(!scene.admits("u3").await);
    let outcome = scene.host.attest(&scene.world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    assert!(scene.admits("u4").await);
    assert_eq!(scene.ready().await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_jump_back_nothing_that_is_over_comes_back() {
    let mut scene = Scene::new().await;
    let liar = Liar::take(&scene.host, &scene.world.server).await;
    let challenge = liar.challenge().await;
    let evidence = liar.evidence(&challenge).await;
    assert!(scene.admits("u1").await);
    // Verdict and challenge hold for five minutes.
    scene.jump(600);
    assert!(!scene.admits("u2").await);
    assert_eq!(liar.send(&evidence).await.unwrap_err(), "challenge-expired");
    for seconds in [0, -DAY] {
        scene.jump(seconds);
        assert!(!scene.admits(&format!("u{seconds}")).await);
        assert_eq!(liar.send(&evidence).await.unwrap_err(), "challenge-expired");
        let unready = (StatusCode::SERVICE_UNAVAILABLE, "clock-set-back");
        let (status, code) = scene.ready().await;
        assert_eq!((status, code.as_str()), unready);
    }
    // Hosts go on, in a log whose time never falls.
    for _ in 0..2 {
        scene.host.attest(&scene.world.server).unwrap();
    }
    assert!(scene.admits("u3").await);
    let times = scene.times();
    assert!(times.is_sorted(), "{times:?}");
    // Nor does a start with such a clock bring anything back.
    scene.world.server.stop();
    let database = scene.world.server.database();
    let said = scene.world.server.refusal_to_start(&database, &[]);
    assert!(said.contains("expired results would come back"), "{said}");
    // Set right, it serves again.
    scene.jump(600);
    let env = [("TOUCHSTONE_CLOCK_SHIFT", scene.shift.as_str())];
    scene.world.server.restart_in(&env, &database);
    assert_eq!(scene.ready().await.0, StatusCode::OK);
    assert!(scene.admits("u4").await);
}
