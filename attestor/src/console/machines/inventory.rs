//! `touchstone inventory`: which machines are ours.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use touchstone_evidence::host_id::HostId;

use super::oems::{self, Oem};
use super::{Eks, Why, import, keys_of};
use crate::console::answers::{rows, strings};
use crate::console::client::Client;
use crate::console::output::{digits, line, table, text};

/// `touchstone inventory …`
#[derive(Subcommand, Debug)]
pub enum Inventory {
    /// Add a machine: its name and every endorsement key of its TPM
    Add {
        /// Name of the machine: a-z, 0-9, `-` and `.`
        #[arg(long)]
        host: HostId,
        /// The TPM
        #[command(flatten)]
        eks: Eks,
    },
    /// Add an endorsement key that was found later, such as the ECC sibling of an RSA key. The
    /// machine's location tag is void after that: issue another one
    AddEk {
        /// Name of the machine
        host: HostId,
        /// The keys
        #[command(flatten)]
        eks: Eks,
    },
    /// Add many machines, all or none
    ///
    /// One machine a line: either JSON, `{"host":"de-1","ek_digests":["…"]}`, or CSV, the name and
    /// then one digest a column: `de-1,DIGEST,DIGEST`. A digest is the SHA-256 of an EK's DER
    /// SubjectPublicKeyInfo. Empty lines and lines that begin with `#` count for nothing, and so
    /// does a first line that begins with `host,`.
    Import {
        /// CSV or JSON lines
        file: PathBuf,
    },
    /// List machines
    List,
    /// Show one machine
    Show {
        /// Name of the machine
        host: HostId,
    },
    /// Take a machine out: its identity, its location tag and its nodes are void at once
    Remove {
        /// Name of the machine
        host: HostId,
        /// Why
        #[command(flatten)]
        why: Why,
    },
    /// Makers of machines: whose platform certificates put machines into the inventory
    #[command(subcommand)]
    Oem(Oem),
}

pub(in crate::console) async fn inventory(
    client: &Client,
    json: bool,
    command: Inventory,
) -> anyhow::Result<()> {
    match command {
        Inventory::Add { host, eks } => {
            let body = json!({ "host": host, "ek_digests": eks.digests()? });
            let answer = client.post("/v1/inventory", &body).await?;
            line(json, &answer, || {
                format!("{host} is in the inventory with {}", keys_of(&answer))
            })?;
        }
        Inventory::AddEk { host, eks } => {
            let body = json!({ "ek_digests": eks.digests()? });
            let path = format!("/v1/inventory/{host}/eks");
            let answer = client.post(&path, &body).await?;
            line(json, &answer, || {
                format!(
                    "{host} is in the inventory with {}; its location tag is void, issue another one",
                    keys_of(&answer)
                )
            })?;
        }
        Inventory::Import { file } => import::import(client, json, &file).await?,
        Inventory::List => list(client, json).await?,
        Inventory::Show { host } => {
            let answer = client.get(&format!("/v1/inventory/{host}")).await?;
            let mut rows = vec![vec!["state".to_owned(), text(&answer, "state")]];
            for (field, word) in [("ek_digests", "endorsement key"), ("nodes", "node")] {
                let values = strings(&answer, field);
                rows.extend(values.map(|value| vec![word.to_owned(), value.to_owned()]));
            }
            table(json, &answer, &["about", host.as_str()], rows)?;
        }
        Inventory::Oem(command) => oems::oem(client, json, command).await?,
        Inventory::Remove { host, why } => {
            let path = format!("/v1/inventory/{host}/remove");
            let answer = client.post(&path, &why.body()).await?;
            line(json, &answer, || {
                format!("{host} is out of the inventory; all that it had is void")
            })?;
        }
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/inventory").await?;
    let rows = rows(&answer, "inventory", |machine| {
        let digests: Vec<String> = strings(machine, "ek_digests").map(digits).collect();
        vec![
            text(machine, "host"),
            text(machine, "state"),
            digests.join("\n"),
        ]
    });
    let header = ["host", "state", "endorsement keys"];
    table(json, &answer, &header, rows)?;
    Ok(())
}
