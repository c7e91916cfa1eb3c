//! Identity over the life of a machine: waiting, approved, enrolled anew, out of service, with another TPM.

mod inventory;
mod join_tokens;
mod keys;
mod reenrolment;
mod service;
mod slow_callers;

use serde_json::Value;
use touchstone_evidence::wire::JoinToken;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::lies::Applicant;

fn token(world: &World) -> JoinToken {
    let text = std::fs::read_to_string(&world.join_token).unwrap();
    text.parse().unwrap()
}

pub(crate) async fn applicant(host: &Host, world: &World) -> Applicant {
    let token = token(world);
    Applicant::at(&host.tpm.tcti(), &token).await.unwrap()
}

/// Both messages of an enrolment: the code of the refusal.
async fn enrol(applicant: &Applicant) -> Result<(), String> {
    let challenge = applicant.begin().await?;
    let secret = applicant.open(&challenge).await.unwrap();
    applicant.activate(&challenge, secret).await.map(drop)
}

async fn view(world: &World, host: &str) -> Value {
    world.server.get(&format!("/v1/hosts/{host}")).await
}

/// Kinds of the audit entries, oldest first.
fn kinds(server: &Server) -> Vec<String> {
    let entries = server.audit_entries();
    let kinds = entries.iter().map(|entry| entry["kind"].as_str().unwrap());
    kinds.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_tpm_waits_until_an_operator_approves_and_then_enrols_by_itself() {
    let maker = Maker::new();
    for database in Database::each_under_test() {
        let world = World::start(&database, &maker);
        let host = Host::boot(&maker.authority, "new-machine", Profile::Healthy);

        // Without a join token nobody gets in there.
        let mut stranger = token(&world);
        stranger.secret = "guessed".to_owned();
        let stranger = Applicant::at(&host.tpm.tcti(), &stranger).await.unwrap();
        assert_eq!(stranger.begin().await.unwrap_err(), "unauthenticated");
        let waiting = async || world.server.get("/v1/quarantine").await["quarantine"].clone();
        assert_eq!(waiting().await.as_array().unwrap().len(), 0);

        // The daemon asks until it may.
        let settings = host.settings(&world.server);
        let (enrolled, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
        let join_token = token(&world);
        let report = |outcome: &touchstone_agent::Outcome| {
            enrolled.send(outcome.host.to_string()).unwrap();
        };
        let second = std::time::Duration::from_secs(1);
        let never = std::future::pending();
        let now = tokio::sync::Notify::new();
        let token = Some(&join_token);
        let none = touchstone_agent::Runtimes::default();
        let daemon = touchstone_agent::run(&settings, &none, token, second, report, &now, never);
        let operator = async {
            let one = loop {
                let listed = waiting().await;
                match listed.get(0).filter(|one| one["seen"].as_i64() > Some(1)) {
                    Some(one) => break one.clone(),
                    None => tokio::task::yield_now().await,
                }
            };
            let ek = one["ek_digest"].as_str().unwrap();
            let approve = ["host", "approve", ek, "--host", "de-5"];
            world.server.command(&approve);
            assert_eq!(outcomes.recv().await.unwrap(), "de-5");
            one
        };
        let one = tokio::select! {
            ended = daemon => panic!("the agent gave up: {ended:?}"),
            one = operator => one,
        };
        assert_eq!(one["root_class"], "simulator");
        assert_eq!(one["tpm"]["manufacturer"], "id:00001014");
        assert_eq!(one["tpm"]["subject"], "CN=new-machine");
        assert!(one["tpm"]["serial"].as_str().unwrap().len() >= 2, "{one}");
        assert_eq!(one["rejected"], false);
        assert_eq!(waiting().await.as_array().unwrap().len(), 0);
        let identity = view(&world, "de-5").await["identity"].clone();
        assert_eq!(identity["state"], "enrolled");
        assert_eq!(identity["ek_digest"], one["ek_digest"]);
        assert_eq!(identity["tpm"]["model"], "swtpm");
        let kinds = kinds(&world.server);
        let approved = kinds.iter().position(|kind| kind == "host-approved");
        let enrolled = kinds.iter().position(|kind| kind == "host-enrolled");
        assert!(approved.is_some() && approved < enrolled, "{kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_tpm_stays_rejected() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "not-ours", Profile::Healthy);
    let applicant = applicant(&host, &world).await;
    assert_eq!(applicant.begin().await.unwrap_err(), "ek-not-in-inventory");
    let list = world.server.command(&["host", "quarantine", "list"]);
    let ek = list["quarantine"][0]["ek_digest"]
        .as_str()
        .unwrap()
        .to_owned();
    world.server.command(&["host", "reject", &ek]);
    assert_eq!(applicant.begin().await.unwrap_err(), "ek-rejected");
    let list = world.server.command(&["host", "quarantine", "list"]);
    assert_eq!(list["quarantine"][0]["rejected"], true);
    assert_eq!(list["quarantine"][0]["seen"], 2);
    // An operator can think again.
    world
        .server
        .command(&["host", "approve", &ek, "--host", "de-1"]);
    enrol(&applicant).await.unwrap();
    assert_eq!(
        world.server.refusal(&["host", "reject", &ek]),
        "not-in-quarantine"
    );
}
