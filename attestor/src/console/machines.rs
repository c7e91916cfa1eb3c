//! The life of a machine at the command line: inventory, join tokens, quarantine, out of service.

mod ek_certificate;
mod ek_prefix;
mod file;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;
use x509_parser::pem::Pem;

use super::client::Client;
use super::output::{digits, line, moment, table, text};
use ek_prefix::EkPrefix;

use crate::audit::Reason;
use crate::keys;

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

/// `touchstone inventory oem …`
#[derive(Subcommand, Debug)]
pub enum Oem {
    /// Believe the platform certificates that this maker signs: a machine whose TPM one of them names enters
    /// the inventory when it enrols
    Add {
        /// The certificate whose key signs platform certificates, DER or PEM; it needs no chain
        #[arg(long)]
        certificate: PathBuf,
        /// How the names of its machines begin; the platform's serial number follows, e.g. rack-
        #[arg(long)]
        host_prefix: String,
    },
    /// List makers
    List,
}

/// The endorsement keys of one TPM.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct Eks {
    /// EK certificate, DER or PEM, one a file; may be given several times
    #[arg(long, value_name = "FILE")]
    ek_certificate: Vec<PathBuf>,
    /// SHA-256 of an EK's DER SubjectPublicKeyInfo; may be given several times
    #[arg(long, value_name = "HEX")]
    ek_digest: Vec<Sha256Digest>,
}

/// A reason.
#[derive(Args, Debug)]
pub struct Why {
    /// Why, in a few words, for the audit log: one line of at most 200 characters
    #[arg(long)]
    pub(super) reason: Option<Reason>,
}

/// `touchstone join-token …`
#[derive(Subcommand, Debug)]
pub enum JoinToken {
    /// Make a token: it names this attestor and its CA, and allows machines of the inventory to enrol
    Create {
        /// File to write it to, mode 0600; without it, standard output
        #[arg(long)]
        out: Option<PathBuf>,
        /// Seconds that it lives, at most a week
        #[arg(long, default_value_t = 3600)]
        lifetime_seconds: u32,
        /// The only machine that may enrol with it
        #[arg(long)]
        host: Option<HostId>,
        /// How many enrolments it is good for; without it, any number within its lifetime
        #[arg(long)]
        uses: Option<u32>,
    },
    /// List tokens; their secrets are known to nobody but who has them
    List,
    /// Revoke a token, at once
    Revoke {
        /// Its id, as `list` shows it, or the first 8 digits
        id: String,
    },
}

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

pub(super) async fn inventory(
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
        Inventory::Import { file } => import(client, json, &file).await?,
        Inventory::List => list(client, json).await?,
        Inventory::Show { host } => {
            let answer = client.get(&format!("/v1/inventory/{host}")).await?;
            let mut rows = vec![vec!["state".to_owned(), text(&answer, "state")]];
            for (field, word) in [("ek_digests", "endorsement key"), ("nodes", "node")] {
                rows.extend(strings(&answer, field).map(|value| vec![word.to_owned(), value]));
            }
            table(json, &answer, &["about", host.as_str()], rows)?;
        }
        Inventory::Oem(command) => oem(client, json, command).await?,
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

async fn oem(client: &Client, json: bool, command: Oem) -> anyhow::Result<()> {
    match command {
        Oem::Add {
            certificate,
            host_prefix,
        } => {
            let der: Bytes<16384> = certificate_der(&certificate)?.into();
            let body = json!({ "certificate": der, "host_prefix": host_prefix });
            let answer = client.post("/v1/oems", &body).await?;
            line(json, &answer, || {
                format!(
                    "platform certificates of {} are believed; its machines are called {host_prefix}SERIAL",
                    text(&answer, "subject")
                )
            })?;
        }
        Oem::List => {
            let answer = client.get("/v1/oems").await?;
            let rows = super::answers::rows(&answer, "oems", |oem| {
                vec![
                    text(oem, "subject"),
                    text(oem, "host_prefix"),
                    moment(oem, "not_after"),
                    text(oem, "digest"),
                ]
            });
            let header = ["maker", "host prefix", "valid until", "certificate"];
            table(json, &answer, &header, rows)?;
        }
    }
    Ok(())
}

async fn import(client: &Client, json: bool, path: &Path) -> anyhow::Result<()> {
    let content = super::commands::read(path)?;
    let machines = {
        let progress = progress(content.lines().count());
        let machines = file::read(&content, || progress.inc(1));
        progress.finish_and_clear();
        machines.with_context(|| format!("`{}` was not imported", path.display()))?
    };
    let spinner = progress(0);
    spinner.set_message(format!("adding {} machines", machines.len()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let body = json!({ "machines": machines.iter().map(file::Line::body).collect::<Vec<_>>() });
    let answer = client.post("/v1/inventory-imports", &body).await;
    spinner.finish_and_clear();
    let answer = answer.map_err(|error| file::with_lines(&error, &machines))?;
    line(json, &answer, || {
        format!(
            "{} machines are in the inventory",
            text(&answer, "imported")
        )
    })?;
    Ok(())
}

/// A bar of `lines`, or a spinner without; neither unless a person looks on.
fn progress(lines: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match u64::try_from(lines) {
        Ok(lines @ 1..) => (
            ProgressBar::new(lines),
            "  reading [{bar:40}] {pos}/{len} lines",
        ),
        _ => (ProgressBar::new_spinner(), "  {spinner} {msg} ({elapsed})"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/inventory").await?;
    let machines = answer.get("inventory").and_then(Value::as_array);
    let rows = machines.into_iter().flatten().map(|machine| {
        let digests: Vec<String> = strings(machine, "ek_digests")
            .map(|digest| digits(&digest))
            .collect();
        vec![
            text(machine, "host"),
            text(machine, "state"),
            digests.join("\n"),
        ]
    });
    let header = ["host", "state", "endorsement keys"];
    table(json, &answer, &header, rows.collect())?;
    Ok(())
}

pub(super) async fn join_token(
    client: &Client,
    json: bool,
    command: JoinToken,
) -> anyhow::Result<()> {
    match command {
        JoinToken::Create {
            out,
            lifetime_seconds,
            host,
            uses,
        } => {
            let body = json!({ "lifetime_seconds": lifetime_seconds, "host": host, "uses": uses });
            create_token(client, json, out.as_deref(), &body).await
        }
        JoinToken::List => list_tokens(client, json).await,
        JoinToken::Revoke { id } => {
            let answer = client
                .post("/v1/join-tokens/revoke", &json!({ "id": id }))
                .await?;
            line(json, &answer, || {
                format!("join token {} is revoked", text(&answer, "id"))
            })?;
            Ok(())
        }
    }
}

async fn create_token(
    client: &Client,
    json: bool,
    out: Option<&Path>,
    body: &Value,
) -> anyhow::Result<()> {
    if let Some(path) = out {
        ensure!(
            !path.exists(),
            "`{}` is there already; name another file",
            path.display()
        );
    }
    let answer = client.post("/v1/join-tokens", body).await?;
    let token = text(&answer, "token");
    let Some(path) = out else {
        line(json, &answer, || token)?;
        return Ok(());
    };
    keys::write_private(path, token.as_bytes())?;
    let id = text(&answer, "id");
    let answer = json!({ "file": path, "id": id, "expires_at": answer.get("expires_at") });
    line(json, &answer, || {
        format!(
            "wrote {} (id {id}); on the machine: touchstone-agent enrol --join-token FILE",
            path.display()
        )
    })?;
    Ok(())
}

async fn list_tokens(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/join-tokens").await?;
    let tokens = answer.get("join_tokens").and_then(Value::as_array);
    let rows = tokens.into_iter().flatten().map(|token| {
        let uses = match text(token, "uses_max").as_str() {
            "-" => text(token, "uses"),
            most => format!("{} of {most}", text(token, "uses")),
        };
        let revoked = match moment(token, "revoked_at").as_str() {
            "-" => String::new(),
            moment => format!("revoked {moment}"),
        };
        vec![
            text(token, "id"),
            moment(token, "expires_at"),
            text(token, "host"),
            uses,
            revoked,
        ]
    });
    let header = ["id", "expires", "only for", "uses", ""];
    table(json, &answer, &header, rows.collect())?;
    Ok(())
}

pub(super) async fn service(client: &Client, json: bool, command: Service) -> anyhow::Result<()> {
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
    let waiting = answer.get("quarantine").and_then(Value::as_array);
    let rows = waiting.into_iter().flatten().map(|one| {
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
    table(json, &answer, &header, rows.collect())?;
    Ok(())
}

impl Eks {
    fn digests(&self) -> anyhow::Result<Vec<Sha256Digest>> {
        let mut digests = self.ek_digest.clone();
        for certificate in &self.ek_certificate {
            digests.push(ek_certificate::digest(certificate)?);
        }
        Ok(digests)
    }
}

impl Why {
    fn body(&self) -> Value {
        json!({ "reason": self.reason })
    }
}

/// A certificate out of a file, DER or PEM.
fn certificate_der(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match bytes.starts_with(b"-----") {
        true => Pem::iter_from_buffer(&bytes)
            .next()
            .and_then(Result::ok)
            .map(|pem| pem.contents)
            .with_context(|| format!("`{}` holds no PEM certificate", path.display())),
        false => Ok(bytes),
    }
}

fn keys_of(answer: &Value) -> String {
    match strings(answer, "ek_digests").count() {
        1 => "1 endorsement key".to_owned(),
        count => format!("{count} endorsement keys"),
    }
}

fn strings<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = String> + use<'a> {
    let items = value.get(field).and_then(Value::as_array);
    let items = items.into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned)
}
