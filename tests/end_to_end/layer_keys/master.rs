//! The master key: made once, guarded, missed when it is gone, and exchanged.

use std::os::unix::fs::PermissionsExt as _;

use touchstone_tests::database::Database;

use super::{annotation, attestor, manifest, publisher, register, told, wrap};

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_does_not_start_without_the_master_key_of_its_database() {
    let database = Database::under_test();
    let mut server = attestor(&database);
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    server.stop();
    let file = server.folder().join("master.key");
    let first = std::fs::read(&file).unwrap();
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    mode(0o640).unwrap();
    let refused = server.refusal_to_start(&database, &[]);
    assert!(refused.contains("can be read by others"), "{refused}");

    std::fs::remove_file(&file).unwrap();
    let refused = server.refusal_to_start(&database, &[]);
    assert!(refused.contains("master.key` is missing"), "{refused}");
    assert!(!file.exists(), "it made another one");
    server.write_private(&file, "7".repeat(64).as_bytes());
    let refused = server.refusal_to_start(&database, &[]);
    assert!(refused.contains("--previous-master-key"), "{refused}");
    assert!(!refused.contains(&"7".repeat(8)), "{refused}");

    // As from the mount of a secret.
    std::fs::remove_file(&file).unwrap();
    let mounted = server.folder().join("mounted");
    let named = mounted.to_str().unwrap();
    let refused = server.refusal_to_start(&database, &["--master-key", named]);
    assert!(refused.contains("mounted` is missing"), "{refused}");
    server.write_private(&mounted, &first);
    server.restart_with(&database, &["--master-key", named]);
    assert!(!file.exists(), "a file that nobody asked for");
    wrap(&server, &ci, "payments").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_takes_everything_over() {
    let database = Database::under_test();
    let mut server = attestor(&database);
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    let before = annotation(&wrap(&server, &ci, "payments").await.unwrap());
    server.command(&["key", "rotate", "payments"]);
    server.command(&["key", "create", "gone", "--policy", "payments"]);
    server.command(&["key", "destroy", "gone", "--yes"]);
    server.stop();
    let (file, old) = (
        server.folder().join("master.key"),
        server.folder().join("master.key.old"),
    );
    std::fs::rename(&file, &old).unwrap();
    let old = old.to_str().unwrap();
    server.restart_with(&database, &["--previous-master-key", old]);
    register(&server, &ci, &manifest(&[&before])).await.unwrap();
    server.stop();
    // Once more finds nothing to do, and without the old one it starts too.
    server.restart_with(&database, &["--previous-master-key", old]);
    server.stop();
    let new = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let refused = server.refusal_to_start(&database, &["--previous-master-key", old]);
    assert!(refused.contains("master.key` is missing"), "{refused}");
    assert!(!file.exists(), "it made another one");
    server.write_private(&file, &new);
    std::fs::remove_file(old).unwrap();
    server.restart_with(&database, &[]);
    let after = annotation(&wrap(&server, &ci, "payments").await.unwrap());
    register(&server, &ci, &manifest(&[&before, &after]))
        .await
        .unwrap();
    let entries = server.audit_entries();
    let replaced = entries
        .iter()
        .find(|entry| entry["kind"] == "master-key-replaced")
        .unwrap();
    assert_eq!(replaced["versions"], 2);
    assert_eq!(replaced["actor"], "attestor");
    let kinds = told(&server)
        .into_iter()
        .filter(|(kind, ..)| kind == "master-key-replaced");
    assert_eq!(kinds.count(), 1);
}
