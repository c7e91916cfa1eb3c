//! `touchstone keys rotate checkpoint`: another key for the heads of the audit log.

use serde_json::json;

use super::client::Client;
use super::output::{line, text};

/// Exchanges the key that the log is at now.
pub(super) async fn rotate(client: &Client, json: bool) -> anyhow::Result<()> {
    let keys = client.get("/v1/keys").await?;
    let from = json!({ "from": text(&keys, "checkpoint_key") });
    let answer = client.post("/v1/keys/checkpoint/rotate", &from).await?;
    line(json, &answer, || {
        format!(
            "the log's key is {new} from entry {entry} on; the old one handed over to it and is overwritten.\n\
             Tell the auditors the new key: by the old one they verify the log as before.\n\
             Next: back up the folder of the keys. Other attestors on this database sign no heads until they have \
             this one's `checkpoint.key` and are started again",
            new = text(&answer, "checkpoint_key"),
            entry = text(&answer, "entry"),
        )
    })
}
