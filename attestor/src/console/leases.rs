//! `touchstone lease …`: what hosts were given keys for, and who may be given which no more.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::host_id::HostId;

use super::client::Client;
use super::output::{cut, line, moment, table, text};
use crate::audit::Reason;

/// `touchstone lease …`
#[derive(Subcommand, Debug)]
pub enum Lease {
    /// List the last lease of each host, key and layer, and which keys were taken back from whom
    List {
        /// Only of this host
        #[arg(long)]
        host: Option<HostId>,
        /// Only of this key
        #[arg(long)]
        key: Option<KeyName>,
    },
    /// Give a host no key any more, or not this one, for images and secrets alike, and have it purge the images that it
    /// opened with it
    Revoke(Act),
    /// Let a host have a key again, or all that were taken back from it. What it purged it pulls anew
    Restore(Act),
}

/// Whose leases, of which key, and why.
#[derive(Args, Debug)]
pub struct Act {
    /// The host
    #[arg(long)]
    host: HostId,
    /// The key; without it, every key
    #[arg(long)]
    key: Option<KeyName>,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<Reason>,
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Lease) -> anyhow::Result<()> {
    match command {
        Lease::List { host, key } => list(client, json, host.as_ref(), key.as_ref()).await,
        Lease::Revoke(act) => {
            let answer = post(client, &act, "revoke").await?;
            line(json, &answer, || {
                let (host, what) = (&act.host, what(&act));
                let leases = text(&answer, "leases");
                let begin = match changed(&answer) {
                    true => format!("{host} gets {what} no more"),
                    false => format!("nothing is changed: {host} got {what} no more already"),
                };
                format!(
                    "{begin}; it is told to purge what {leases} leases opened, and \
                     `touchstone lease list --host {host}` shows when it has"
                )
            })
        }
        Lease::Restore(act) => {
            let answer = post(client, &act, "restore").await?;
            line(json, &answer, || {
                let (host, what) = (&act.host, what(&act));
                match changed(&answer) {
                    true => format!("{host} may have {what} again"),
                    false => format!("nothing is changed: {what} was not taken back from {host}"),
                }
            })
        }
    }
}

fn changed(answer: &Value) -> bool {
    answer.get("changed").and_then(Value::as_bool) == Some(true)
}

fn what(act: &Act) -> String {
    match &act.key {
        Some(key) => format!("the key {key}"),
        None => "any key".to_owned(),
    }
}

async fn post(client: &Client, act: &Act, verb: &str) -> anyhow::Result<Value> {
    let reason = act.reason.clone().map(String::from);
    let body = json!({ "host": act.host, "key": act.key, "reason": reason });
    client.post(&format!("/v1/leases/{verb}"), &body).await
}

/// Every page, one after the other.
async fn list(
    client: &Client,
    json: bool,
    host: Option<&HostId>,
    key: Option<&KeyName>,
) -> anyhow::Result<()> {
    let mut query = Vec::new();
    query.extend(host.map(|host| format!("host={host}")));
    query.extend(key.map(|key| format!("key={key}")));
    let asked = |more: Option<&str>| {
        let after = more.map(|next| format!("after={next}"));
        let all: Vec<&str> = query.iter().chain(&after).map(String::as_str).collect();
        format!("/v1/leases?{}", all.join("&"))
    };
    let mut answer = client.get(&asked(None)).await?;
    let mut leases = items(&mut answer, "leases");
    while let Some(next) = answer.get("next").and_then(Value::as_str) {
        answer = client.get(&asked(Some(next))).await?;
        leases.append(&mut items(&mut answer, "leases"));
    }
    let revocations = items(&mut answer, "revocations");
    let rows = leases.iter().map(row).chain(revocations.iter().map(bar));
    let rows = rows.collect();
    let answer = json!({ "leases": leases, "revocations": revocations });
    let header = ["host", "key", "version", "layer", "state", "until"];
    table(json, &answer, &header, rows)
}

fn items(answer: &mut Value, list: &str) -> Vec<Value> {
    match answer.get_mut(list).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn row(lease: &Value) -> Vec<String> {
    vec![
        text(lease, "host"),
        text(lease, "key"),
        text(lease, "key_version"),
        cut(&text(lease, "layer")),
        text(lease, "state"),
        moment(lease, "expires_at"),
    ]
}

/// That a host may not have a key.
fn bar(revocation: &Value) -> Vec<String> {
    let key = match text(revocation, "key").as_str() {
        "-" => "every key".to_owned(),
        key => key.to_owned(),
    };
    let since = format!("taken back since {}", moment(revocation, "revoked_at"));
    let none = || "-".to_owned();
    vec![text(revocation, "host"), key, none(), none(), since, none()]
}
