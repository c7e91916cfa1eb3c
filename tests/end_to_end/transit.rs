//! Secrets on a host: the agent's socket in the shapes of Vault's transit engine, and its command, from the request to the
//! answer. The client is curl.

mod command;
mod disks;
mod refusals;

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use touchstone_tests::host::Host;
use touchstone_tests::transit::{Transit, command};
use touchstone_tests::world::{Maker, World, healthy_host};

/// A secret that stands nowhere else.
const SECRET: &[u8] = b"correct-horse-battery-staple";

/// A healthy host, and a key that it may use: of the sample's policy `payments`.
async fn scene() -> (World, Host, Maker) {
    let (world, host, maker) = healthy_host().await;
    create(&world, "disks");
    (world, host, maker)
}

fn create(world: &World, key: &str) {
    let create = ["key", "create", key, "--policy", "payments"];
    world.server.command(&create);
}

/// How many entries are of a kind.
fn count(world: &World, kind: &str) -> usize {
    let entries = world.server.audit_entries().into_iter();
    entries.filter(|entry| entry["kind"] == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_encrypted_and_decrypted_by_curl_and_by_the_command() {
    let (world, host, _maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let body = format!(
        r#"{{"plaintext":"{}","reference":"1"}}"#,
        STANDARD.encode(SECRET)
    );
    let (status, answer) = transit.call("PUT", "/v1/transit/encrypt/disks", body.as_bytes());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"]["key_version"], 1);
    assert_eq!(answer["request_id"].as_str().unwrap().len(), 36);
    assert!(
        answer["warnings"][0]
            .as_str()
            .unwrap()
            .contains("reference")
    );
    let by_curl = answer["data"]["ciphertext"].as_str().unwrap();
    assert!(by_curl.starts_with("vault:v1:"), "{by_curl}");
    let output = command(&host, &world.server, &["encrypt", "disks"], SECRET);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let by_command = String::from_utf8(output.stdout).unwrap();
    assert!(by_command.starts_with("vault:v1:") && by_command.ends_with('\n'));
    assert_ne!(by_command.trim(), by_curl);

    // Each opens what the other one made.
    assert_eq!(
        transit.decrypt("disks", by_command.trim(), b"").unwrap(),
        SECRET
    );
    let output = command(
        &host,
        &world.server,
        &["decrypt", "disks"],
        by_curl.as_bytes(),
    );
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert_eq!(output.stdout, SECRET);
    assert_eq!(count(&world, "data-key-released"), 4);
    assert_eq!(count(&world, "data-key-refused"), 0);

    // A second host of the same policy may read it, which is what a policy is for.
    let said = transit.daemon.said();
    assert!(said.contains("a secret was decrypted"), "{said}");
    let socket = transit.socket.clone();
    transit.daemon.stop();
    assert!(!socket.exists());
    for trace in [SECRET.to_vec(), STANDARD.encode(SECRET).into_bytes()] {
        let kept = |folder: &Path| holds(folder, &trace);
        assert!(!said.as_bytes().windows(trace.len()).any(|at| at == trace));
        assert_eq!(kept(&host.settings(&world.server).state), None);
        assert_eq!(kept(world.server.folder()), None);
    }
}

/// A file below `folder` with `bytes` in it.
fn holds(folder: &Path, bytes: &[u8]) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = match path.is_dir() {
            true => holds(&path, bytes),
            false => fs::read(&path)
                .is_ok_and(|file| file.windows(bytes.len()).any(|at| at == bytes))
                .then_some(path),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_bound_to_its_associated_data_its_key_and_every_byte() {
    let (world, host, _maker) = scene().await;
    create(&world, "second");
    let transit = Transit::start(&host, &world.server);
    let data = transit.encrypt("disks", SECRET, b"data-1").unwrap();
    let text = data["ciphertext"].as_str().unwrap();
    assert_eq!(transit.decrypt("disks", text, b"data-1").unwrap(), SECRET);
    let decrypt = ["decrypt", "disks", "--associated-data", "data-1"];
    let output = command(&host, &world.server, &decrypt, text.as_bytes());
    assert_eq!(output.stdout, SECRET);
    for other in [&b""[..], b"data-2"] {
        let refused = transit.decrypt("disks", text, other).unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(
            refused.text.contains("other associated data"),
            "{refused:?}"
        );
    }
    let refused = transit.decrypt("second", text, b"data-1").unwrap_err();
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .text
            .contains("is of the key `disks`, not of `second`"),
        "{refused:?}"
    );

    let released = count(&world, "data-key-released");
    let encoded = text.strip_prefix("vault:v1:").unwrap();
    let mut last = STANDARD.decode(encoded).unwrap();
    *last.last_mut().unwrap() ^= 1;
    let mut first = STANDARD.decode(encoded).unwrap();
    first[0] ^= 2;
    for (bytes, asked, words) in [(last, 1, "was changed"), (first, 0, "none of Touchstone's")] {
        let changed = format!("vault:v1:{}", STANDARD.encode(bytes));
        let refused = transit.decrypt("disks", &changed, b"data-1").unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(words), "{refused:?}");
        let so_far = count(&world, "data-key-released");
        assert!(so_far >= released && so_far <= released + 1, "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_of_a_key_decrypt_and_the_current_one_encrypts() {
    let (world, host, _maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let old = transit.ciphertext("disks", SECRET);
    world.server.command(&["key", "rotate", "disks"]);
    let new = transit.encrypt("disks", b"new", b"").unwrap();
    assert_eq!(new["key_version"], 2);
    assert!(new["ciphertext"].as_str().unwrap().starts_with("vault:v2:"));
    assert_eq!(transit.decrypt("disks", &old, b"").unwrap(), SECRET);
    let with = |version: u32| format!(r#"{{"plaintext":"aGk=","key_version":{version}}}"#);
    let path = "/v1/transit/encrypt/disks";
    let refused = transit.refusal("POST", path, with(1).as_bytes());
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("which is 2, not with 1"),
        "{refused:?}"
    );
    for version in [0, 2] {
        assert_eq!(transit.call("POST", path, with(version).as_bytes()).0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_waits_for_a_daemon_that_is_not_there_yet() {
    let (world, host, _maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let text = transit.ciphertext("disks", SECRET);
    transit.daemon.stop();
    let output = command(&host, &world.server, &["decrypt", "disks"], text.as_bytes());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("see that `touchstone-agent run` runs"),
        "{said}"
    );
    let mut waiting = host.agent_command(
        &world.server,
        &["transit", "decrypt", "disks", "--wait", "120"],
    );
    waiting.env("TOUCHSTONE_LOG", "info");
    let file = world.server.file("secret", &text);
    waiting.stdin(fs::File::open(file).unwrap());
    // It has tried in vain before there is a daemon again.
    let log = world.server.folder().join("waiting.log");
    let mut waiting = waiting
        .stdout(std::process::Stdio::piped())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    while !fs::read_to_string(&log).unwrap().contains("trying again") {
        assert!(waiting.try_wait().unwrap().is_none(), "it gave up");
        tokio::task::yield_now().await;
    }
    let _transit = Transit::start(&host, &world.server);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.stdout, SECRET);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_kibibytes_are_a_secret_and_more_are_none() {
    let (world, host, _maker) = scene().await;
    let transit = Transit::start(&host, &world.server);
    let largest = vec![7; 64 << 10];
    let associated = vec![8; 4 << 10];
    let data = transit.encrypt("disks", &largest, &associated).unwrap();
    let text = data["ciphertext"].as_str().unwrap();
    assert_eq!(
        transit.decrypt("disks", text, &associated).unwrap(),
        largest
    );
    let released = count(&world, "data-key-released");
    let refused = transit.encrypt("disks", &[&largest[..], b"x"].concat(), b"");
    let refused = refused.unwrap_err();
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        refused.text.contains("65537 bytes, and at most 65536"),
        "{refused:?}"
    );
    let refused = transit.encrypt("disks", b"x", &[&associated[..], b"x"].concat());
    assert_eq!(refused.unwrap_err().status, 400);
    let refused = transit
        .encrypt("disks", &vec![7; 128 << 10], b"")
        .unwrap_err();
    assert_eq!(refused.status, 413, "{refused:?}");
    let output = command(
        &host,
        &world.server,
        &["encrypt", "disks"],
        &vec![7; 1 << 20],
    );
    assert_eq!(output.status.code(), Some(2));
    // Nobody was asked for a key.
    assert_eq!(count(&world, "data-key-released"), released);
    let status: Value = serde_json::from_slice(
        &host
            .agent_command(&world.server, &["status", "--json"])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    assert_eq!(status["layers_opened"], 0, "secrets are no layers");
}
