//! The audit log: verified offline, without the server, and broken by any change.

use touchstone_tests::world::healthy_host;

#[tokio::test(flavor = "multi_thread")]
async fn an_export_verifies_without_the_server_and_any_change_shows() {
    let (mut world, _host, _maker) = healthy_host().await;
    world.server.place("u1", "node-de-1").await;
    let key = world.server.command(&["keys"])["checkpoint_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let file = world.server.folder().join("audit.jsonl");
    let file = file.to_str().unwrap().to_owned();
    world.server.command(&["audit", "export", "--out", &file]);
    world.server.stop();

    let verified = world
        .server
        .command(&["audit", "verify", &file, "--key", &key]);
    assert_eq!(
        (
            verified["verified"].as_bool(),
            verified["key_given"].as_bool()
        ),
        (Some(true), Some(true))
    );
    let lines: Vec<String> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(verified["size"].as_u64().unwrap(), lines.len() as u64 - 2);

    // A head that was kept earlier must still be a beginning of the log.
    let head = format!(
        "{}:{}",
        verified["size"],
        verified["root"].as_str().unwrap()
    );
    let kept = world
        .server
        .command(&["audit", "verify", &file, "--key", &key, "--head", &head]);
    assert_eq!(kept["earlier_heads"], 1);
    let other_history = format!("1:{}", "00".repeat(32));
    let output = world.server.run(&[
        "audit",
        "verify",
        &file,
        "--key",
        &key,
        "--head",
        &other_history,
    ]);
    assert_eq!(output.status.code(), Some(1));

    // S5: edited, removed, inserted, reordered, cut; and another log's key.
    let mut edited = lines.clone();
    let position = lines
        .iter()
        .position(|line| line.contains("host-appraised"))
        .unwrap();
    edited[position] = lines[position].replacen("affirming", "warning", 1);
    let mut removed = lines.clone();
    removed.remove(2);
    let mut inserted = lines.clone();
    inserted.insert(2, lines[2].clone());
    let mut reordered = lines.clone();
    reordered.swap(2, 3);
    let cut = lines[..lines.len() - 1].to_vec();
    for changed in [edited, removed, inserted, reordered, cut] {
        let changed = world
            .server
            .file("changed.jsonl", &format!("{}\n", changed.join("\n")));
        let output = world
            .server
            .run(&["audit", "verify", &changed, "--key", &key]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    let (other, _host, _maker) = healthy_host().await;
    let other_key = other.server.command(&["keys"])["checkpoint_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let output = world
        .server
        .run(&["audit", "verify", &file, "--key", &other_key]);
    assert_eq!(output.status.code(), Some(1));

    // The key may stand in a file; what cannot be read at all is not said to be tampered with.
    let key_file = world.server.file("log.key", &format!("{key}\n"));
    let held = ["audit", "verify", &file, "--key", &key_file];
    assert_eq!(world.server.command(&held)["key_given"], true);
    let no_log = world.server.file("no.log", "not a log\n");
    let empty = world.server.file("empty.jsonl", "");
    for line in [
        &["audit", "verify", &format!("{file}.absent")][..],
        &["audit", "verify", &no_log],
        &["audit", "verify", &empty, "--key", &key],
        &["audit", "verify", &file, "--key", "no-key"],
        &["audit", "verify", &file, "--key", &file],
        &["audit", "verify", &file, "--head", "no-head"],
    ] {
        let output = world.server.run(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_there_after_a_restart() {
    let (world, host, _maker) = healthy_host().await;
    let before = world.server.audit_entries();
    let verdict = world.server.get("/v1/hosts/de-1").await;
    let database = world.server.database();
    let server = world.server.restart(&database);
    assert_eq!(server.audit_entries(), before);
    let after = server.get("/v1/hosts/de-1").await;
    assert_eq!(after["entry"], verdict["entry"]);
    // The verdict still admits: it was read back, not asked for again.
    assert!(server.place("u1", "node-de-1").await.0);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_never_signed_by_another_key() {
    let (mut world, _host, _maker) = healthy_host().await;
    world.server.stop();
    let key = world.server.folder().join("checkpoint.key");
    std::fs::remove_file(&key).unwrap();
    let said = world.server.refusal_to_start(&world.server.database(), &[]);
    assert!(said.contains("checkpoint.key` is missing"), "{said}");
    // Another log's key in its place.
    let (other, _host, _maker) = healthy_host().await;
    std::fs::copy(other.server.folder().join("checkpoint.key"), &key).unwrap();
    let said = world.server.refusal_to_start(&world.server.database(), &[]);
    assert!(said.contains("begun with another key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_of_a_database_in_use_is_made_anew() {
    let (mut world, _host, _maker) = healthy_host().await;
    world.server.stop();
    for name in ["ca.key", "result.key", "webhook.key"] {
        let key = world.server.folder().join(name);
        let aside = world.server.folder().join("aside");
        std::fs::rename(&key, &aside).unwrap();
        let said = world.server.refusal_to_start(&world.server.database(), &[]);
        assert!(said.contains(&format!("{name}` is missing")), "{said}");
        assert!(!key.exists());
        std::fs::rename(&aside, &key).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_published_even_if_nobody_waits() {
    let (world, _host, _maker) = healthy_host().await;
    let operator = world.server.operator();
    let token = operator["token"].as_str().unwrap();
    // A hundred mappings whose callers go away at once.
    for number in 0..100 {
        let http = touchstone_tests::server::client(&operator);
        let body = serde_json::json!({ "node": format!("fleeting-{number}"), "host": "de-1" });
        let request = http
            .post(format!("{}/v1/nodes", world.server.url))
            .bearer_auth(token)
            .json(&body)
            .send();
        let patience = std::time::Duration::from_millis(number % 12);
        let _gone = tokio::time::timeout(patience, request).await;
    }
    let mapped: Vec<String> = world
        .server
        .audit_entries()
        .iter()
        .filter(|entry| entry["kind"] == "node-mapped")
        .map(|entry| entry["node"].as_str().unwrap().to_owned())
        .collect();
    let view = world.server.get("/v1/hosts/de-1").await;
    let published = view["nodes"].as_array().unwrap();
    for node in &mapped {
        assert!(
            published.contains(&serde_json::json!(node)),
            "{node} was committed and not published"
        );
    }
    eprintln!(
        "{} of 100 were committed, each is published",
        mapped.len() - 1
    );
}
