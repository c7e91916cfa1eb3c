//! `touchstone host`, as far as it is about identity: quarantine, enrolment anew, other TPMs, out of service.

use clap::Subcommand;
use serde_json::{Value, json};
use touchstone_evidence::host_id::HostId;

use super::ek_prefix::EkPrefix;
use super::{Eks, Why, keys_of};
use crate::console::answers::rows;
use crate::console::client::Client;
use crate::console::output::{digits, line, moment, table, text};

/// What becomes of a host's identity: `touchstone host …`
#[derive(Subcommand, Debug)]
pub enum Service {
    /// Genuine TPMs that are not in the inventory and asked to be enrolled
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Put a TPM out of quarantine into the inventory; it enrols by itself after that
    Approve {
        /// Digest of the endorsement key, or its first 8 digits or more, as `quarantine list` shows them
        ek_digest: EkPrefix,
        /// Name of the machine
        #[arg(long)]
        host: HostId,
    },
    /// Say that a TPM in quarantine is none of ours
    Reject {
        /// Digest of the endorsement key, or its first 8 digits or more, as `quarantine list` shows them
        ek_digest: EkPrefix,
    },
    /// Let a host enrol once with other keys, as after a TPM2_Clear. On the host: `enrol --again`
    ///
    /// Nothing is void until it does: its verdict counts until then. Where a copy of its TPM may be about, it
    /// needs another TPM and `replace`, since a copy can enrol in its place.
    Reenrol {
        /// The host
        host: HostId,
        /// Seconds for which it may, at most a week
        #[arg(long = "for", value_name = "SECONDS", default_value_t = 3600)]
        seconds: u32,
        /// Why
        #[command(flatten)]
        why: Why,
    },
    /// Take a host out of service: identity, location tag and nodes are void at once; its name stays
    /// taken
    Retire {
        /// The host
        host: HostId,
        /// Why
        #[command(flatten)]
        why: Why,
    },
    /// Put another TPM under a host's name, as after a new mainboard: all that the old one had is void
    Replace {
        /// The host
        host: HostId,
        /// The new TPM
        #[command(flatten)]
        eks: Eks,
        /// Why
        #[command(flatten)]
        why: Why,
    },
}

/// `touchstone host quarantine …`
#[derive(Subcommand, Debug)]
pub enum Quarantine {
    /// List TPMs, the last seen first
    List,
}

pub(in crate::console) async fn service(
    client: &Client,
    json: bool,
    command: Service,
) -> anyhow::Result<()> {
    match command {
        Service::Quarantine(Quarantine::List) => list_quarantine(client, json).await,
        Service::Approve { ek_digest, host } => {
            let ek_digest = ek_digest.resolve(client).await?;
            let body = json!({ "ek_digest": ek_digest, "host": host });
            let answer = client.post("/v1/quarantine/approve", &body).await?;
            line(json, &answer, || {
                format!("{host} is in the inventory; it enrols when it asks again")
            })?;
            Ok(())
        }
        Service::Reject { ek_digest } => {
            let ek_digest = ek_digest.resolve(client).await?;
            let body = json!({ "ek_digest": ek_digest });
            let answer = client.post("/v1/quarantine/reject", &body).await?;
            line(json, &answer, || {
                format!("{ek_digest} is refused from now on, until it is added or approved")
            })?;
            Ok(())
        }
        Service::Reenrol { host, seconds, why } => {
            let mut body = why.body();
            body["seconds"] = json!(seconds);
            let answer = client
                .post(&format!("/v1/hosts/{host}/reenrol"), &body)
                .await?;
            line(json, &answer, || {
                format!(
                    "{host} may enrol once with other keys until {}; until it does, nothing is void and its verdict \
                     counts; on the host: touchstone-agent enrol --again --join-token FILE",
                    moment(&answer, "expires_at")
                )
            })?;
            Ok(())
        }
        Service::Retire { host, why } => {
            let path = format!("/v1/hosts/{host}/retire");
            let answer = client.post(&path, &why.body()).await?;
            line(json, &answer, || {
                format!("{host} is out of service; all that it had is void")
            })?;
            Ok(())
        }
        Service::Replace { host, eks, why } => {
            let mut body = why.body();
            body["ek_digests"] = json!(eks.digests()?);
            let answer = client
                .post(&format!("/v1/hosts/{host}/replace"), &body)
                .await?;
            line(json, &answer, || {
                format!("{host} has another TPM with {}; enrol it", keys_of(&answer))
            })?;
            Ok(())
        }
    }
}

async fn list_quarantine(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/quarantine").await?;
    let rows = rows(&answer, "quarantine", |one| {
        let tpm = one.get("tpm").unwrap_or(&Value::Null);
        let rejected = one.get("rejected").and_then(Value::as_bool) == Some(true);
        vec![
            digits(&text(one, "ek_digest")),
            format!("{} {}", text(tpm, "manufacturer"), text(tpm, "model")),
            text(one, "root_class"),
            format!("{}\nserial {}", text(tpm, "subject"), text(tpm, "serial")),
            format!(
                "{} times\nlast {}",
                text(one, "seen"),
                moment(one, "last_seen")
            ),
            if rejected { "rejected" } else { "waits" }.to_owned(),
        ]
    });
    let header = [
        "endorsement key",
        "TPM",
        "class",
        "certificate",
        "asked",
        "state",
    ];
    table(json, &answer, &header, rows)?;
    Ok(())
}
