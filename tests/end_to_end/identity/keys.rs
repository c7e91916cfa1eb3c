//! Keys of one identity under another.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use touchstone_agent::client::{Client, Error};
use touchstone_agent::state::Records;
use touchstone_agent::tls::TlsKey;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::Activation;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World};

use super::{applicant, enrol, token, view};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_identity_for_ever() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let boot = |name| Host::boot(&maker.authority, name, Profile::Healthy);
        let (first, second) = (boot("de-1"), boot("de-2"));
        world.admit(&second, None).await;
        world.join(&first, None).await;
        let identity = Records::at(&first.settings(&world.server).state).identity();
        let keys = identity.unwrap().unwrap().keys;

        // The AK of an enrolled host under another identity.
        let mut other = applicant(&second, &world).await;
        other.request.ak_public = keys.ak().public.into();
        assert_eq!(other.begin().await.unwrap_err(), "ak-in-use");
        // Its TLS key.
        let other = applicant(&second, &world).await;
        let other = other.over(&token(&world), &keys.tls).unwrap();
        assert_eq!(other.begin().await.unwrap_err(), "tls-key-in-use");
        // Both, once their time is over, under any identity.
        world.server.command(&["host", "reenrol", "de-1"]);
        enrol(&applicant(&first, &world).await).await.unwrap();
        for host in [&first, &second] {
            let other = applicant(host, &world).await;
            let other = other.over(&token(&world), &keys.tls).unwrap();
            assert_eq!(other.begin().await.unwrap_err(), "key-used-before");
            let mut other = applicant(host, &world).await;
            other.request.ak_public = keys.ak().public.into();
            assert_eq!(other.begin().await.unwrap_err(), "key-used-before");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_of_a_host_lives_on_beside_a_new_one() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        world.join(&host, None).await;
        let identity = Records::at(&host.settings(server).state).identity();
        let keys = identity.unwrap().unwrap().keys;
        server.command(&["host", "reenrol", "de-1"]);

        let mut kept_ak = applicant(&host, &world).await;
        kept_ak.request.ak_public = keys.ak().public.into();
        assert_eq!(kept_ak.begin().await.unwrap_err(), "key-used-before");
        let kept_tls_key = applicant(&host, &world).await;
        let kept_tls_key = kept_tls_key.over(&token(&world), &keys.tls).unwrap();
        assert_eq!(kept_tls_key.begin().await.unwrap_err(), "key-used-before");

        // Two over one new TLS key, with an AK each: the first leaves no room for the second, not even
        // through a door of its own.
        let key = TlsKey::generate().unwrap();
        let [one, other] = [
            applicant(&host, &world).await,
            applicant(&host, &world).await,
        ]
        .map(|applicant| applicant.over(&token(&world), &key).unwrap());
        let (first, second) = (one.begin().await.unwrap(), other.begin().await.unwrap());
        let secret = one.open(&first).await.unwrap();
        one.activate(&first, secret).await.unwrap();
        server.command(&["host", "reenrol", "de-1"]);
        let secret = other.open(&second).await.unwrap();
        let late = other.activate(&second, secret).await.map(drop);
        assert_eq!(late.unwrap_err(), "host-enrolled-with-other-keys");
        assert_eq!(other.begin().await.unwrap_err(), "key-used-before");

        // Whatever was tried, the identity can end, and the next one begin.
        enrol(&applicant(&host, &world).await).await.unwrap();
        server.command(&["host", "retire", "de-1"]);
        server.command(&["inventory", "remove", "de-1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_ends_even_if_its_keys_are_noted_as_over_already() {
    let maker = Maker::new();
    let database = Database::under_test();
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, None).await;
    // What earlier versions could leave behind.
    world.server.execute(
        "INSERT INTO former_identities SELECT tls_key, host, ek_digest, ak_public, enrolled_at, 1, 'host-reenrolled'
         FROM hosts",
    ).await;
    world.server.command(&["host", "retire", "de-1"]);
    let view = view(&world, "de-1").await;
    assert_eq!(view["identity"]["state"], "retired");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_keys_are_the_same_whoever_vouches_for_them_now() {
    let maker = Maker::new();
    let database = Database::under_test();
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    let applicant = applicant(&host, &world).await;
    enrol(&applicant).await.unwrap();
    world
        .server
        .execute("UPDATE hosts SET root_class = 'cloud'")
        .await;
    enrol(&applicant).await.unwrap();
    let view = view(&world, "de-1").await;
    assert_eq!(view["identity"]["reenrolled"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_one_key_does_not_activate_another() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    // Q11: begun with one AK; the secret is that of another enrolment, with another AK.
    let (honest, swapped) = (
        applicant(&host, &world).await,
        applicant(&host, &world).await,
    );
    let mine = honest.begin().await.unwrap();
    let theirs = swapped.begin().await.unwrap();
    assert!(swapped.open(&mine).await.is_err(), "another AK opens it");
    let secret = swapped.open(&theirs).await.unwrap();
    let refused = honest.activate(&mine, secret).await.map(drop);
    assert_eq!(refused.unwrap_err(), "activation-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_tells_the_secret() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, None).await;
    let (token, key) = (token(&world), TlsKey::generate().unwrap());
    let client = Client::new(&token.server, &token.ca, &key).unwrap();
    let machine = applicant(&host, &world).await.over(&token, &key).unwrap();
    let challenge = machine.begin().await.unwrap();
    let secret = machine.open(&challenge).await.unwrap();
    let mut wrong = secret.clone();
    wrong[31] ^= 1;
    let activation = Activation {
        enrolment: challenge.enrolment,
        secret: wrong.clone().into(),
    };
    let refused = client.activate(&token.secret, &activation).await;
    let Err(Error::Refused(problem)) = refused else {
        panic!("a wrong secret was taken");
    };
    assert_eq!(problem.code, "activation-failed");
    let said = format!("{problem:?}").to_lowercase();
    let hash = Sha256Digest::of(&secret).0.to_vec();
    for bytes in [&secret, &wrong, &hash] {
        let forms = [
            hex::encode(bytes),
            STANDARD.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
        ];
        for form in forms {
            // Part of it would be too much as well.
            assert!(!said.contains(&form[..8].to_lowercase()), "{said}");
        }
    }
}
