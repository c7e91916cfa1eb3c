//! Several attestors on one PostgreSQL database: what one learns the others act by, and none acts by what it
//! cannot know any more.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::proxy::Proxy;
use touchstone_tests::review::create;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, sample_policy};

/// After this long nothing is admitted by what is over.
const STALE: Duration = Duration::from_secs(3);

struct Scene {
    world: World,
    host: Host,
    /// The second replica.
    other: Server,
    /// Its way to the database.
    way: Proxy,
    _database: Database,
    maker: Maker,
}

/// A healthy host, enrolled at the first of two replicas.
async fn scene() -> Scene {
    let (database, maker) = (Database::postgres(), Maker::new());
    let world = World::start(&database, &maker);
    let way = Proxy::to(database.port());
    let other = world.server.replica(&database.url_at(way.port));
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    Scene {
        world,
        host,
        other,
        way,
        _database: database,
        maker,
    }
}

/// Asks until the answer is `admitted`; returns how long that took.
async fn until(server: &Server, admitted: bool) -> Duration {
    let begun = Instant::now();
    for attempt in 0.. {
        let uid = format!("u-{}-{attempt}", server.url);
        if server.admits(&uid, "node-de-1").await == admitted {
            break;
        }
        assert!(begun.elapsed() < STALE * 3, "never {admitted}");
    }
    begun.elapsed()
}

fn entries_of(server: &Server) -> Vec<Value> {
    server.audit_entries()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_learns_the_other_acts_by() {
    let scene = scene().await;
    let Scene { world, other, .. } = &scene;
    assert!(until(other, true).await < STALE);
    // Another policy, by which the host is in the wrong country.
    let policy = std::fs::read_to_string(sample_policy()).unwrap();
    world.apply(&policy.replace("countries: [DE]", "countries: [US]"));
    assert!(until(other, false).await < STALE);
    world.apply(&policy);
    assert!(until(other, true).await < STALE);
    // Its place is taken back, and given again.
    world
        .server
        .command(&["location", "revoke", "--host", "de-1"]);
    assert!(until(other, false).await < STALE);
    world.tag(&scene.host, "DE");
    scene.host.attest(&world.server).unwrap();
    assert!(until(other, true).await < STALE);
    // The node goes to another host, which has no verdict.
    other.command(&["node", "map", "node-de-1", "de-1"]);
    world.server.command(&["host", "retire", "de-1"]);
    assert!(until(other, false).await < STALE);
    // One log, and the same at both.
    assert_eq!(entries_of(&world.server), entries_of(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_evidence_at_two_replicas_is_one_round() {
    let scene = scene().await;
    let Scene {
        world, host, other, ..
    } = &scene;
    let here = Liar::take(host, &world.server).await;
    let there = Liar::take(host, &world.server).await.at(other);
    let appraised = || {
        let entries = entries_of(&world.server);
        entries
            .iter()
            .filter(|entry| entry["kind"] == "host-appraised")
            .count()
    };
    let before = appraised();
    let challenge = here.challenge().await;
    let evidence = here.evidence(&challenge).await;
    let (one, two) = tokio::join!(here.send(&evidence), there.send(&evidence));
    assert_eq!(one.unwrap().result, two.unwrap().result);
    assert_eq!(appraised(), before + 1);
    // Other evidence for the challenge, wherever it is sent.
    let evidence = here.evidence(&challenge).await;
    for liar in [&here, &there] {
        assert_eq!(
            liar.send(&evidence).await.unwrap_err(),
            "challenge-replayed"
        );
    }
    // Rounds of one host at both, alternating: none is lost, and no older one counts.
    for _ in 0..5 {
        assert!(here.lie(|_| ()).await.is_ok());
        assert!(there.lie(|_| ()).await.is_ok());
    }
    assert_eq!(appraised(), before + 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_paused_admits_nothing_by_what_it_knew() {
    let scene = scene().await;
    let Scene { world, other, .. } = &scene;
    until(other, true).await;
    other.signal(Signal::STOP);
    world.server.command(&["host", "retire", "de-1"]);
    // Until what it knew is over; asking the other one passes the time.
    let paused = Instant::now();
    while paused.elapsed() < STALE {
        world.server.get("/healthz").await;
    }
    other.signal(Signal::CONT);
    for attempt in 0..20 {
        let admitted = other.admits(&format!("p{attempt}"), "node-de-1").await;
        assert!(!admitted, "attempt {attempt}");
    }
    assert_eq!(entries_of(&world.server), entries_of(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_paused_in_the_middle_of_a_commit_holds_nobody_up_for_long() {
    let scene = scene().await;
    let Scene { world, host, .. } = &scene;
    let here = Liar::take(host, &world.server).await;
    // It stops itself with the row locked that every writer locks first.
    let paused = world
        .server
        .replica_in(&[("TOUCHSTONE_KILL_POINT", "written:2:stop")]);
    let there = Liar::take(host, &world.server).await.at(&paused);
    let challenge = there.challenge().await;
    let evidence = there.evidence(&challenge).await;
    let lost = there.send(&evidence);
    let others = async {
        paused.wait_until_stopped();
        let begun = Instant::now();
        let answer = here.lie(|_| ()).await;
        (begun.elapsed(), answer)
    };
    let went_on = async {
        let (waited, answer) = others.await;
        paused.signal(Signal::CONT);
        (waited, answer)
    };
    let (lost, (waited, answer)) = tokio::join!(lost, went_on);
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(answer.unwrap().tier, TrustTier::Affirming);
    // What it was about to commit is not there, it says so, and by now it is too old.
    assert_eq!(lost.unwrap_err(), "internal");
    let again = there.send(&evidence).await;
    assert_eq!(again.unwrap_err(), "quote-not-newer");
    let there = there.lie(|_| ()).await.unwrap();
    assert_eq!(there.tier, TrustTier::Affirming);
    assert_eq!(entries_of(&world.server), entries_of(&paused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_cut_off_admits_nothing_and_comes_back() {
    let scene = scene().await;
    let Scene {
        world, other, way, ..
    } = &scene;
    until(other, true).await;
    way.cut();
    let cut = Instant::now();
    world.server.command(&["host", "retire", "de-1"]);
    while cut.elapsed() < STALE + Duration::from_secs(2) {
        let asked = cut.elapsed();
        let uid = format!("c{}", asked.as_millis());
        assert!(!other.admits(&uid, "node-de-1").await, "after {asked:?}");
    }
    // Nor a pod that no policy was for: one may be by now.
    let unconcerned = create("n1", "elsewhere", None);
    assert!(!other.review(&unconcerned).await.0);
    assert!(world.server.review(&unconcerned).await.0);
    // A scheduler may go on with pods that the cluster comes up with, and with no others.
    for (namespace, passing) in [("payments", 0), ("elsewhere", 0), ("kube-system", 1)] {
        let pod = create("s1", namespace, None)["request"]["object"].clone();
        let told = other.extender("filter", &pod, &["node-de-1"]).await;
        let names = told["NodeNames"].as_array().unwrap();
        assert_eq!(names.len(), passing, "{namespace}: {told}");
        let scores = other.extender("prioritize", &pod, &["node-de-1"]).await;
        assert_eq!(scores[0]["Score"], 0);
    }
    way.mend();
    // It comes back by itself: another host, which is healthy, is admitted by it.
    let host = Host::boot(&scene.maker.authority, "de-2", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    let begun = Instant::now();
    while !other
        .admits(&format!("b{:?}", begun.elapsed()), "node-de-2")
        .await
    {
        assert!(begun.elapsed() < Duration::from_secs(20), "never");
    }
    assert!(!other.admits("back", "node-de-1").await);
    assert_eq!(entries_of(&world.server), entries_of(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_acknowledged_outlives_it() {
    let scene = scene().await;
    let Scene {
        world, host, other, ..
    } = &scene;
    let here = Liar::take(host, &world.server).await;
    let challenge = here.challenge().await;
    let evidence = here.evidence(&challenge).await;
    let first = here.send(&evidence).await.unwrap();
    world.server.signal(Signal::KILL);
    let there = here.at(other);
    // The lost answer, from the other one.
    assert_eq!(there.send(&evidence).await.unwrap().result, first.result);
    let entry = first.entry.to_string();
    let held = other.get("/v1/hosts/de-1").await;
    assert_eq!(held["entry"], entry.as_str());
    assert!(there.lie(|_| ()).await.is_ok());
    assert!(until(other, true).await < STALE);
}
