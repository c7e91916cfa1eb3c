//! `touchstone keys …`: what verifies the attestor's signatures, and the exchange of its keys.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::answers::rows;
use super::client::Client;
use super::log_key;
use super::output::{line, moment, print, table, text};

/// `touchstone keys …`
#[derive(Subcommand, Debug)]
pub enum Keys {
    /// Put a new key in the place of one
    ///
    /// A key that signed results still verifies them until it is revoked. With several attestors on one database,
    /// copy the key's file to the others afterwards and start them again.
    Rotate {
        /// Which
        key: Exchanged,
    },
    /// Put the next CA in force, once hosts and API servers believe it
    Activate {
        /// Which
        key: Announced,
        /// Although enrolled hosts have not said that they believe it, and would be cut off
        #[arg(long)]
        force: bool,
    },
    /// Say that a key no longer counts: results of a key that somebody else may have, or the webhook's secret
    /// before the current one
    Revoke {
        /// Its id, as `touchstone keys` shows it; or `webhook`
        id: String,
    },
}

/// What stands in the place of an id for the webhook's secret; ids are hexadecimal.
const WEBHOOK: &str = "webhook";

/// A key that can be exchanged.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Exchanged {
    /// The key that signs attestation results
    Result,
    /// The key that signs the heads of the audit log; auditors verify on with the one that they have
    Checkpoint,
    /// The secret in the webhook's URL. The one before is let in too, until `keys revoke webhook`
    Webhook,
    /// The CA of the attestor's TLS certificate: makes the next one and tells hosts of it; `keys activate ca` puts
    /// it in force
    Ca,
}

/// A key that is told before it is in force.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Announced {
    /// The CA of the attestor's TLS certificate
    Ca,
}

/// Runs one of them; without one, lists the keys.
pub(super) async fn run(client: &Client, json: bool, command: Option<Keys>) -> anyhow::Result<()> {
    match command {
        None => list(client, json).await,
        Some(Keys::Rotate {
            key: Exchanged::Result,
        }) => {
            let answer = client.post("/v1/keys/result/rotate", &json!({})).await?;
            line(json, &answer, || {
                format!("results are signed with {}", text(&answer, "id"))
            })
        }
        Some(Keys::Rotate {
            key: Exchanged::Checkpoint,
        }) => log_key::rotate(client, json).await,
        Some(Keys::Rotate {
            key: Exchanged::Webhook,
        }) => {
            let answer = client.post("/v1/keys/webhook/rotate", &json!({})).await?;
            line(json, &answer, || {
                "the webhook's new URL is in the attestor's `operator.json`; give it to API servers, then run \
                 `touchstone keys revoke webhook`"
                    .to_owned()
            })
        }
        Some(Keys::Rotate { key: Exchanged::Ca }) => {
            let answer = client.post("/v1/keys/ca/rotate", &json!({})).await?;
            line(json, &answer, || {
                format!(
                    "the next CA is {}; hosts learn it with their next round, then run `touchstone keys activate ca`",
                    text(&answer, "next_ca")
                )
            })
        }
        Some(Keys::Activate {
            key: Announced::Ca,
            force,
        }) => {
            let body = json!({ "force": force });
            let answer = client.post("/v1/keys/ca/activate", &body).await?;
            line(json, &answer, || {
                "the TLS certificate is of the next CA from now on; the one before is believed no more"
                    .to_owned()
            })
        }
        Some(Keys::Revoke { id }) if id == WEBHOOK => {
            let answer = client.post("/v1/keys/webhook/revoke", &json!({})).await?;
            line(json, &answer, || {
                "the webhook's URL before this one lets nobody in".to_owned()
            })
        }
        Some(Keys::Revoke { id }) => {
            let body = json!({ "id": id });
            let answer = client.post("/v1/keys/result/revoke", &body).await?;
            line(json, &answer, || format!("results of {id} count no more"))
        }
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/keys").await?;
    let rows = rows(&answer, "result_keys", |key| {
        vec![
            text(key, "id"),
            text(key, "state"),
            moment(key, "since"),
            moment(key, "until"),
            text(key, "public_key"),
        ]
    });
    let header = ["result key", "state", "since", "until", "public key"];
    table(json, &answer, &header, rows)?;
    match json {
        true => Ok(()),
        false => print(&format!(
            "checkpoints: {}\n",
            text(&answer, "checkpoint_key")
        )),
    }
}
