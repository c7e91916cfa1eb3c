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
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_there_after_a_restart() {
    let (world, host, _maker) = healthy_host().await;
    let before = world.server.audit_entries();
    let verdict = world.server.get("/v1/hosts/de-1").await;
    let database = touchstone_tests::database::Database::Sqlite;
    let server = world.server.restart(&database);
    assert_eq!(server.audit_entries(), before);
    let after = server.get("/v1/hosts/de-1").await;
    assert_eq!(after["entry"], verdict["entry"]);
    // The verdict still admits: it was read back, not asked for again.
    assert!(server.place("u1", "node-de-1").await.0);
    drop(host);
}
