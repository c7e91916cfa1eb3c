//! What is left of keys on disk.

use std::path::Path;

use touchstone_tests::database::Database;
use touchstone_tests::rows::Rows;
use touchstone_tests::server::Server;

use super::{attestor, publisher, wrap};

/// Whether a file below `folder` holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => std::fs::read(&path)
                .is_ok_and(|content| content.windows(bytes.len()).any(|part| part == bytes)),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_kept_in_clear_and_a_destroyed_key_is_in_no_file() {
    let database = Database::under_test();
    let server = attestor(&database);
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    wrap(&server, &ci, "payments").await.unwrap();
    let sqlite = database.url().is_none();
    let statement = match sqlite {
        true => "SELECT hex(wrapped) FROM layer_key_versions",
        false => "SELECT encode(wrapped, 'hex') FROM layer_key_versions",
    };
    let rows = Rows::of(&database, server.folder()).await;
    let wrapped = rows.all(statement).await.remove(0).remove(0).unwrap();
    rows.close().await;
    let wrapped = hex::decode(wrapped).unwrap();
    let master = std::fs::read_to_string(server.folder().join("master.key")).unwrap();
    let master = hex::decode(master.trim()).unwrap();
    // The symmetric key of the layer, as it stands in the options.
    for secret in [&b"aHVzaA=="[..], &master] {
        assert!(!holds(server.folder(), secret));
    }
    // PostgreSQL's own log keeps what was written until it is recycled; the tables are what is looked at.
    let files = |server: &Server| match sqlite {
        true => holds(server.folder(), &wrapped),
        false => {
            database.execute("CHECKPOINT");
            holds(&database.cluster().folder().join("data/base"), &wrapped)
        }
    };
    assert!(
        files(&server),
        "the wrapped key is not found while it is there"
    );
    server.command(&["key", "destroy", "payments", "--yes"]);
    assert!(
        !files(&server),
        "a destroyed key is left in the database's files"
    );
    assert_eq!(
        server
            .count("layer_key_versions WHERE wrapped IS NOT NULL")
            .await,
        0
    );
}
