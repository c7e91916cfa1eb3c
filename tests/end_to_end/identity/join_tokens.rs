//! Join tokens: bound to a machine, counted, revoked.

use touchstone_agent::tls::TlsKey;
use touchstone_evidence::wire::JoinToken;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::slow::Slow;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies::Applicant;

use super::enrol;

fn create(world: &World, more: &[&str]) -> (JoinToken, String) {
    let arguments = [&["join-token", "create"], more].concat();
    let answer = world.server.command(&arguments);
    let token = answer["token"].as_str().unwrap().parse().unwrap();
    (token, answer["id"].as_str().unwrap().to_owned())
}

async fn with(host: &Host, token: &JoinToken) -> Applicant {
    Applicant::at(&host.tpm.tcti(), token).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_its_machine_as_often_as_it_says_and_until_it_is_revoked() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let boot = |name| Host::boot(&maker.authority, name, Profile::Healthy);
        let hosts = [boot("de-1"), boot("de-2"), boot("de-3")];
        for host in &hosts {
            world.admit(host, None).await;
        }
        let [first, second, third] = &hosts;

        let (bound, bound_id) = create(&world, &["--host", "de-1"]);
        let refused = with(second, &bound).await.begin().await;
        assert_eq!(refused.unwrap_err(), "join-token-of-other-host");
        enrol(&with(first, &bound).await).await.unwrap();

        let (once, once_id) = create(&world, &["--uses", "1"]);
        let waiting = with(third, &once).await;
        let challenge = waiting.begin().await.unwrap();
        let lucky = with(second, &once).await;
        enrol(&lucky).await.unwrap();
        // The answer was lost: the same keys are no second use.
        enrol(&lucky).await.unwrap();
        // What was begun before the last use comes too late.
        let secret = waiting.open(&challenge).await.unwrap();
        let late = waiting.activate(&challenge, secret).await.map(drop);
        assert_eq!(late.unwrap_err(), "join-token-used-up");
        let late = with(third, &once).await.begin().await;
        assert_eq!(late.unwrap_err(), "join-token-used-up");

        // Revoked between the two messages.
        let (revoked, id) = create(&world, &[]);
        let waiting = with(third, &revoked).await;
        let challenge = waiting.begin().await.unwrap();
        let secret = waiting.open(&challenge).await.unwrap();
        world.server.command(&["join-token", "revoke", &id[..8]]);
        let late = waiting.activate(&challenge, secret).await.map(drop);
        assert_eq!(late.unwrap_err(), "unauthenticated");
        let unknown = ["join-token", "revoke", "00000000"];
        assert_eq!(world.server.refusal(&unknown), "join-token-unknown");

        let list = world.server.command(&["join-token", "list"]);
        let text = list.to_string();
        for secret in [&bound.secret, &once.secret, &revoked.secret] {
            assert!(!text.contains(secret.as_str()), "a secret is listed");
        }
        let of = |id: &str| {
            let tokens = list["join_tokens"].as_array().unwrap();
            tokens.iter().find(|one| one["id"] == id).unwrap().clone()
        };
        assert_eq!(of(&bound_id)["host"], "de-1");
        assert_eq!(of(&once_id)["uses"], 1);
        assert_eq!(of(&once_id)["uses_max"], 1);
        assert!(of(&id)["revoked_at"].as_i64().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_force_when_the_request_is_whole() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        world.admit(&host, None).await;
        let (token, id) = create(&world, &[]);
        let request = serde_json::to_vec(&with(&host, &token).await.request).unwrap();
        let key = TlsKey::generate().unwrap();
        let late = Slow::join(&token, &key, "/v1/enrolments");
        world.server.command(&["join-token", "revoke", &id[..8]]);
        let answer = late.send(&request);
        assert!(answer.contains("touchstone:join-token-over"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lets_nobody_in_leaves_no_trace() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let boot = |name| Host::boot(&maker.authority, name, Profile::Healthy);
        let (host, stranger) = (boot("de-1"), boot("stranger"));
        // A machine of the inventory whose maker nobody knows.
        let other_maker = Maker::new();
        let unmatched = Host::boot(&other_maker.authority, "de-2", Profile::Healthy);
        world.admit(&host, None).await;
        world.admit(&unmatched, None).await;
        let (bound, _) = create(&world, &["--host", "de-1"]);
        let (once, _) = create(&world, &["--uses", "1"]);
        enrol(&with(&host, &once).await).await.unwrap();
        for (token, code) in [
            (&bound, "join-token-of-other-host"),
            (&once, "join-token-used-up"),
        ] {
            for machine in [&stranger, &unmatched] {
                let refused = with(machine, token).await.begin().await;
                assert_eq!(refused.unwrap_err(), code);
            }
        }
        let waiting = world.server.get("/v1/quarantine").await;
        assert_eq!(waiting["quarantine"].as_array().unwrap().len(), 0);
        let unmatched = world.server.command(&["endorsement", "unmatched"]);
        assert_eq!(unmatched["unmatched"].as_array().unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_enrolments_of_a_machine_the_latest_are_kept() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        world.admit(&host, None).await;
        let (token, _) = create(&world, &[]);
        let machine = with(&host, &token).await;
        let mut begun = Vec::new();
        // One second cannot tell all of them apart: far more than are kept.
        for _ in 0..40 {
            begun.push(machine.begin().await.unwrap());
        }
        let mut known = 0;
        for challenge in &begun {
            // A wrong answer burns those that are there.
            match machine.activate(challenge, vec![0; 32]).await.map(drop) {
                Err(code) if code == "activation-failed" => known += 1,
                refused => assert_eq!(refused.unwrap_err(), "enrolment-unknown"),
            }
        }
        assert_eq!(known, 9, "{}", database.name());
        enrol(&machine).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_attestor_fails_to_do_costs_no_use() {
    let maker = Maker::new();
    let database = Database::postgres();
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    let (once, id) = create(&world, &["--uses", "1"]);
    let machine = with(&host, &once).await;
    let challenge = machine.begin().await.unwrap();
    let secret = machine.open(&challenge).await.unwrap();
    // A write that is lost, in a transaction that could still be committed.
    database.execute(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER lose BEFORE INSERT ON hosts FOR EACH ROW EXECUTE FUNCTION lose()",
    );
    let failed = machine.activate(&challenge, secret.clone()).await.map(drop);
    assert_eq!(failed.unwrap_err(), "internal");
    let list = world.server.command(&["join-token", "list"]);
    let tokens = list["join_tokens"].as_array().unwrap();
    let token = tokens.iter().find(|one| one["id"] == id.as_str()).unwrap();
    assert_eq!(token["uses"], 0);
    // The very enrolment goes on once the database does its work again.
    database.execute("DROP TRIGGER lose ON hosts");
    machine.activate(&challenge, secret).await.unwrap();
}
