//! The secret in the webhook's URL: its exchange, and the end of the one before.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::review::create;
use touchstone_tests::server::Server;

fn webhook(server: &Server) -> String {
    server.operator()["webhook"].as_str().unwrap().to_owned()
}

async fn status(server: &Server, url: &str) -> StatusCode {
    let review = create("u1", "payments", None);
    server.send(Method::POST, url, None, Some(&review)).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn both_urls_of_the_webhook_work_until_the_first_is_revoked() {
    let database = Database::under_test();
    let mut server = Server::start(&database);
    let file = |server: &Server, name: &str| server.folder().join(name);
    let first = webhook(&server);
    let none_before = ["keys", "revoke", "webhook"];
    assert_eq!(server.refusal(&none_before), "webhook-none-before");

    server.command(&["keys", "rotate", "webhook"]);
    let second = webhook(&server);
    assert_ne!(first, second);
    assert_eq!(
        server.refusal(&["keys", "rotate", "webhook"]),
        "webhook-not-revoked"
    );
    for _ in 0..2 {
        assert_eq!(status(&server, &first).await, StatusCode::OK);
        assert_eq!(status(&server, &second).await, StatusCode::OK);
        assert_eq!(server.command(&["keys"])["webhook_secrets"], 2);
        // Both also after a start.
        server.restart_with(&database, &[]);
    }

    server.command(&["keys", "revoke", "webhook"]);
    assert!(!file(&server, "webhook.key.before").exists());
    for _ in 0..2 {
        assert_eq!(status(&server, &first).await, StatusCode::UNAUTHORIZED);
        let denied = server.metric("touchstone_reviews_denied_total").await;
        assert_eq!(denied, 1.0);
        assert_eq!(status(&server, &second).await, StatusCode::OK);
        server.restart_with(&database, &[]);
    }

    let entries = server.audit_entries().into_iter();
    let told: Vec<Value> = entries
        .filter(|entry| entry["kind"].as_str().unwrap().starts_with("webhook-"))
        .collect();
    let kinds: Vec<&Value> = told.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["webhook-rotated", "webhook-revoked"]);
    for (entry, url) in told
        .iter()
        .flat_map(|told| [(told, &first), (told, &second)])
    {
        let secret = url.rsplit('/').next().unwrap();
        assert!(!entry.to_string().contains(secret), "{entry}");
    }
}
