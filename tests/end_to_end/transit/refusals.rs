//! Who gets no secret, and what is no request, with what whoever asked is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::transit::{Transit, command, run};
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::swtpm::Bank;

use super::{SECRET, count, create, scene};
use crate::layer_keys::{annotation, publisher, wrap};
use crate::unwrapping::way;

#[tokio::test(flavor = "multi_thread")]
async fn only_a_host_that_is_trusted_now_gets_the_secret() {
    let (world, host, maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let text = transit.ciphertext("disks", SECRET);
    let elsewhere = async |name: &str, profile, country, words: &str| {
        let host = Host::boot(&maker.authority, name, profile);
        world.join(&host, Some(country)).await;
        let transit = Transit::start(&host, &world.server);
        let decrypted = transit.decrypt("disks", &text, b"").unwrap_err();
        let encrypted = transit.encrypt("disks", b"x", b"").unwrap_err();
        for refused in [decrypted, encrypted] {
            assert_eq!(refused.status, 403, "{refused:?}");
            assert!(refused.text.contains(words), "{refused:?}");
        }
        let output = command(&host, &world.server, &["decrypt", "disks"], text.as_bytes());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words) && output.stdout.is_empty(), "{said}");
    };
    let changed = "kernel command line changed";
    elsewhere("de-2", Profile::Altered, "DE", changed).await;
    elsewhere(
        "us-1",
        Profile::Healthy,
        "US",
        "outside the region `germany`",
    )
    .await;
    assert_eq!(count(&world, "data-key-refused"), 6);

    // The same host, once something is measured that no log tells of. Its last verdict is still good.
    host.tpm.extend(4, &[(Bank::Sha256, vec![7; 32])]).unwrap();
    let refused = transit.decrypt("disks", &text, b"").unwrap_err();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text.contains("PCR 4"), "{refused:?}");
    // Booted anew, by another release key, and by a round of its own.
    host.reboot();
    assert_eq!(transit.decrypt("disks", &text, b"").unwrap(), SECRET);
    world
        .server
        .command(&["host", "retire", "de-1", "--reason", "old"]);
    let refused = transit.decrypt("disks", &text, b"").unwrap_err();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text.contains("`host-retired`"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_attestor_there_is_no_secret_and_an_unenrolled_host_says_so() {
    let (world, host, maker) = scene().await;
    let way = way(&host, &world);
    let transit = Transit::start(&host, &world.server);
    let text = transit.ciphertext("disks", SECRET);
    transit.daemon.stop();
    let patience = ["--keyprovider-patience", "2"];
    let mut transit = Transit::begin(&host, &world.server, &patience);
    transit.daemon.wait_for(": attested ");
    way.cut();
    let refused = transit.decrypt("disks", &text, b"").unwrap_err();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.text.contains("the attestor took too long"),
        "{refused:?}"
    );
    way.mend();
    assert_eq!(transit.decrypt("disks", &text, b"").unwrap(), SECRET);

    let stranger = Host::boot(&maker.authority, "de-9", Profile::Healthy);
    let other = World::start(&Database::under_test(), &Maker::new());
    let token = other.join_token.to_str().unwrap();
    let mut unready = Transit::begin(&stranger, &world.server, &["--join-token", token]);
    unready.daemon.wait_for("not ready");
    let refused = unready.decrypt("disks", &text, b"").unwrap_err();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.text.contains("not enrolled"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_disabled_destroyed_or_none_gives_nothing() {
    let (world, host, _maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let text = transit.ciphertext("disks", SECRET);
    let key = |act: &[&str]| world.server.command(&[&["key"], act].concat());
    let both = |words: &str| {
        let decrypted = transit.decrypt("disks", &text, b"").unwrap_err();
        let encrypted = transit.encrypt("disks", b"x", b"").unwrap_err();
        for refused in [decrypted, encrypted] {
            assert_eq!(refused.status, 400, "{refused:?}");
            assert!(refused.text.contains(words), "{refused:?}");
        }
    };
    key(&["disable", "disks"]);
    both("touchstone key enable disks");
    key(&["enable", "disks"]);
    assert_eq!(transit.decrypt("disks", &text, b"").unwrap(), SECRET);
    key(&["destroy", "disks", "--yes"]);
    both("was destroyed");
    key(&["create", "images", "--policy", "payments", "--registered"]);
    for (name, words) in [
        ("images", "`layer-key-images-alone`"),
        ("nobodys", "no key is called `nobodys`"),
    ] {
        let refused = transit.encrypt(name, b"x", b"").unwrap_err();
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.text.contains(words), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_with_what_to_do() {
    let (world, host, _maker) = scene().await;
    create(&world, "layers");
    let transit = Transit::start(&host, &world.server);
    let publisher = publisher(&world.server, "ci");
    let layer = annotation(&wrap(&world.server, &publisher, "disks").await.unwrap());
    // A layer's annotation where the wrapped data key stands.
    let length = u16::try_from(layer.len()).unwrap().to_be_bytes();
    let parts = [&[1], &length[..], &layer, &[7; 12 + 48]].concat();
    let dressed = json!({ "ciphertext": format!("vault:v1:{}", STANDARD.encode(parts)) });
    let (encrypt, decrypt) = ("/v1/transit/encrypt/disks", "/v1/transit/decrypt/disks");
    let hush = STANDARD.encode(SECRET);
    let cases: [(&str, &str, String, u16, &str); 14] = [
        (
            "POST",
            "/v1/sys/health",
            "{}".into(),
            404,
            "`/v1/transit/encrypt/KEY`",
        ),
        (
            "POST",
            "/v1/transit/rewrap/disks",
            "{}".into(),
            404,
            "is nothing at `/v1/transit/rewrap",
        ),
        ("GET", encrypt, String::new(), 405, "POST or PUT"),
        (
            "POST",
            "/v1/transit/encrypt/",
            "{}".into(),
            400,
            "cannot name a key",
        ),
        (
            "POST",
            "/v1/transit/encrypt/a/b",
            "{}".into(),
            400,
            "cannot name a key",
        ),
        ("POST", encrypt, String::new(), 400, "line 1, column 0"),
        (
            "POST",
            encrypt,
            format!(r#"{{"plaintext":"{hush}!"}}"#),
            400,
            "base64 with padding",
        ),
        ("POST", encrypt, "{}".into(), 400, "no `plaintext`"),
        ("POST", decrypt, "{}".into(), 400, "no `ciphertext`"),
        (
            "POST",
            encrypt,
            format!(r#"{{"batch_input":[{{"plaintext":"{hush}"}}]}}"#),
            400,
            "`batch_input` is not supported",
        ),
        (
            "POST",
            encrypt,
            r#"{"plaintext":"","context":"AA=="}"#.into(),
            400,
            "`context`",
        ),
        (
            "POST",
            decrypt,
            r#"{"ciphertext":"vault:v1:8SDd3WHDOjf7mq69"}"#.into(),
            400,
            "none of Touchstone's",
        ),
        (
            "POST",
            decrypt,
            dressed.to_string(),
            400,
            "the data key in the ciphertext",
        ),
        ("POST", encrypt, " ".repeat(1 << 20), 413, "at most 64 KiB"),
    ];
    for (method, path, body, status, words) in cases {
        let refused = transit.refusal(method, path, body.as_bytes());
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.text.contains(words), "{refused:?}");
        assert!(!refused.text.contains(&hush), "{refused:?}");
    }
    let output = command(&host, &world.server, &["decrypt", "disks"], b"hush");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("take it whole"), "{said}");
    // None of it was any matter of the attestor's.
    assert_eq!(count(&world, "data-key-refused"), 0);
    assert_eq!(count(&world, "data-key-released"), 0);
    let said = transit.daemon.said();
    assert!(!said.contains(&hush), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_root_and_the_agents_user_is_answered() {
    let (world, host, _maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let mode = fs::metadata(&transit.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can be somebody else");
        return;
    }
    // Where everybody may look for it, and somebody was careless with it.
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let socket = folder.path().join("transit.sock");
    fs::rename(&transit.socket, &socket).unwrap();
    let ask = || {
        let mut curl = Command::new("setpriv");
        curl.args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["curl", "--silent", "--data-binary", "@-", "--unix-socket"])
            .arg(&socket)
            .arg("http://localhost/v1/transit/encrypt/disks");
        run(curl, br#"{"plaintext":"aGk="}"#)
    };
    // curl cannot even connect.
    assert_eq!(ask().status.code(), Some(7));
    open(&socket, 0o666);
    let said = String::from_utf8(ask().stdout).unwrap();
    assert!(said.contains("user 65534 may not ask for keys"), "{said}");
    assert_eq!(count(&world, "data-key-released"), 0);
}
