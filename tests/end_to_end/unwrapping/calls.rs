//! Calls: both transports, both forms, and those that are none.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tokio::task::JoinSet;
use touchstone_evidence::keyprovider::grpc::{UNWRAP, WRAP, frame};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::keyprovider::{
    Form, KeyProvider, Refused, base64, numbers, options, program, unwrap,
};
use touchstone_tests::programs;
use touchstone_tests::world::{Maker, World};

use super::{scene, way};
use crate::layer_keys;

const FORMS: [Form; 2] = [base64, numbers];

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_unwrapped_by_both_transports_in_both_forms() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    for form in FORMS {
        let unwrapped = provider.unwrap(&annotation, &["node"], form).await;
        assert_eq!(unwrapped.unwrap(), layer_keys::options());
        let output = program(&host, &world.server, &unwrap(&annotation, &[], form));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(options(&output.stdout, form), layer_keys::options());
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    let said = provider.daemon.said();
    assert!(
        !said.contains("aHVzaA"),
        "it tells the key of the layer: {said}"
    );
    let socket = provider.socket.clone();
    provider.daemon.stop();
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_and_releases_go_on_beside_each_other() {
    let (world, host, _maker, annotation) = scene().await;
    let mut provider = KeyProvider::start_with(&host, &world.server, &["--interval", "1"]);
    for unwrapped in at_once(&provider, 8, &annotation).join_all().await {
        assert_eq!(unwrapped.unwrap(), layer_keys::options());
    }
    provider.daemon.wait_for_round("affirming");
    provider.daemon.wait_for_round("affirming");
    let said = provider.daemon.said();
    assert!(!said.contains("not attested"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_unwrap_is_refused_with_what_to_do() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    let wrap = br#"{"op":"keywrap","keywrapparams":{"optsdata":"e30="}}"#;
    let with = |parameter| frame(&unwrap(&annotation, &[parameter], base64)).to_vec();
    let cases: [(&str, &[u8], u8, &str); 8] = [
        (WRAP, &frame(wrap), 12, "`touchstone keyprovider`"),
        (UNWRAP, &frame(wrap), 12, "`touchstone keyprovider`"),
        (
            "/nobody/Calls",
            &frame(b""),
            12,
            "there is no call `/nobody/Calls`",
        ),
        (UNWRAP, b"\0\0\0\0\x09half", 3, "not one gRPC message"),
        (UNWRAP, &frame(b"hush"), 3, "line 1, column"),
        (UNWRAP, &frame(&vec![b' '; 1 << 20]), 3, "too large"),
        (
            UNWRAP,
            &frame(&unwrap(b"{}", &[], base64)),
            3,
            "encrypt the image again",
        ),
        (UNWRAP, &with("app@sha256:12"), 3, "IMAGE@sha256:"),
    ];
    for (path, body, status, words) in cases {
        let refused = provider.refusal(path, body).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.text.starts_with("touchstone: "), "{refused:?}");
        assert!(refused.text.contains(words), "{refused:?}");
    }
    let output = program(&host, &world.server, wrap);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        output.stdout.is_empty() && said.contains("`touchstone keyprovider`"),
        "{said}"
    );
    let output = program(&host, &world.server, &vec![b' '; 1 << 20]);
    assert_eq!(output.status.code(), Some(2));
    // None of it was any matter of the attestor's.
    let entries = world.server.audit_entries();
    assert!(
        entries
            .iter()
            .all(|entry| entry["kind"] != "layer-key-refused")
    );
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_enrolled_says_so() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let message = unwrap(b"{}", &[], base64);
    let output = program(&host, &world.server, &message);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("see that `touchstone-agent run` runs"),
        "{said}"
    );

    let token = world.join_token.to_str().unwrap();
    let mut provider = KeyProvider::begin(&host, &world.server, &["--join-token", token]);
    provider.daemon.wait_for("not ready");
    world
        .server
        .command(&["key", "create", "payments", "--policy", "payments"]);
    let annotation = super::another(&world, "ci").await;
    let refused = provider.unwrap(&annotation, &[], base64).await.unwrap_err();
    assert_eq!(refused.status, 14, "{refused:?}");
    assert!(
        refused.text.contains("`touchstone-agent check`"),
        "{refused:?}"
    );
    world.admit(&host, Some("DE")).await;
    provider.daemon.wait_for_round("affirming");
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_root_and_the_agents_user_is_answered() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&provider.socket), 0o600);
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can be somebody else");
        return;
    }
    // Where everybody may look for it.
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let program = folder.path().join("touchstone-agent");
    std::fs::copy(programs::path("touchstone-agent"), &program).unwrap();
    let socket = folder.path().join("keyprovider.sock");
    std::fs::rename(&provider.socket, &socket).unwrap();
    let file = folder.path().join("message");
    std::fs::write(&file, unwrap(&annotation, &[], base64)).unwrap();
    let ask = || {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["keyprovider", "--socket"])
            .arg(&socket)
            .env("TSS2_LOG", "all+none")
            .stdin(std::fs::File::open(&file).unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = ask();
    assert!(said.contains("Permission denied"), "{said}");
    // Somebody was careless with it, or gave a connection away.
    open(&socket, 0o666);
    let said = ask();
    assert!(said.contains("user 65534 may not ask for keys"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_queue_are_told_to_come_later() {
    let (world, host, _maker, annotation) = scene().await;
    let way = way(&host, &world);
    let provider = KeyProvider::start(&host, &world.server);
    way.cut();
    let mut waiting = at_once(&provider, 40, &annotation);
    for _ in 32..40 {
        let refused = waiting.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.status, 8, "{refused:?}");
        assert!(refused.text.contains("32 calls wait"), "{refused:?}");
    }
    // Who goes away makes room.
    waiting.shutdown().await;
    way.mend();
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
}

/// Calls for one layer, all at once.
fn at_once(provider: &KeyProvider, count: usize, annotation: &[u8]) -> Answers {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let (desk, annotation) = (provider.desk.clone(), annotation.to_vec());
        calls.spawn(async move { desk.unwrap(&annotation, &[], base64).await });
    }
    calls
}

type Answers = JoinSet<Result<Vec<u8>, Refused>>;
