//! `touchstone credential …`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;

use super::answers::rows;
use super::client::Client;
use super::credential_file::{CredentialFile, Shown};
use super::output::{line, moment, table, text};
use crate::clock;
use crate::role::Role;

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// `touchstone credential …`
#[derive(Subcommand, Debug)]
pub enum Credential {
    /// Make a credential for somebody: a file like the operator's, mode 0600, for `--credential`
    Create {
        /// Whose it is, in lists and in the audit log: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `@`. A name is given
        /// once
        name: String,
        /// What its holder may do
        #[arg(long)]
        role: Role,
        /// File to write it to
        #[arg(long)]
        out: PathBuf,
        /// Days for which it counts; without it, until it is revoked
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: Option<u16>,
        /// A TLS client certificate instead of a bearer token: its key is made here, and the attestor sees only
        /// its digest
        #[arg(long)]
        tls: bool,
    },
    /// Allow a TLS client key that its holder made: nothing is secret here
    Allow {
        /// Whose it is
        name: String,
        /// What its holder may do
        #[arg(long)]
        role: Role,
        /// SHA-256 of the SubjectPublicKeyInfo of its TLS client certificate, hexadecimal
        #[arg(long)]
        tls_key: Sha256Digest,
        /// Days for which it counts; without it, until it is revoked
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: Option<u16>,
    },
    /// Take up the attestor's CA in the file of the credential that is shown, while it is exchanged
    Refresh,
    /// List all credentials there ever were
    List,
    /// Take a credential back, at once
    Revoke {
        /// Whose it is
        name: String,
    },
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Credential) -> anyhow::Result<()> {
    match command {
        Credential::Create {
            name,
            role,
            out,
            days,
            tls,
        } => {
            ensure!(
                !out.exists(),
                "`{}` is there already; choose another name for the file",
                out.display()
            );
            let made = match tls {
                true => with_certificate(client, &name, role, days, &out).await?,
                false => with_token(client, &name, role, days, &out).await?,
            };
            line(json, &made, || {
                format!(
                    "{name} may call as {}, until {}; the credential is in {}: carry it there as a secret",
                    role.word(),
                    end(&made),
                    out.display()
                )
            })
        }
        Credential::Allow {
            name,
            role,
            tls_key,
            days,
        } => {
            let answer = create(client, &name, role, days, Some(tls_key)).await?;
            let made = answer.get("credential").unwrap_or(&Value::Null);
            line(json, made, || {
                format!("{name} may call as {}, until {}", role.word(), end(made))
            })
        }
        Credential::Refresh => refresh(client, json).await,
        Credential::List => list(client, json).await,
        Credential::Revoke { name } => {
            let body = json!({ "name": name });
            let answer = client.post("/v1/credentials/revoke", &body).await?;
            line(json, &answer, || format!("{name} may call no more"))
        }
    }
}

async fn create(
    client: &Client,
    name: &str,
    role: Role,
    days: Option<u16>,
    tls_key: Option<Sha256Digest>,
) -> anyhow::Result<Value> {
    let body = json!({
        "name": name,
        "role": role,
        "lifetime_seconds": days.map(|days| i64::from(days) * DAY),
        "tls_key": tls_key,
    });
    client.post("/v1/credentials", &body).await
}

async fn with_token(
    client: &Client,
    name: &str,
    role: Role,
    days: Option<u16>,
    out: &Path,
) -> anyhow::Result<Value> {
    let answer = create(client, name, role, days, None).await?;
    let token = answer.get("token").and_then(Value::as_str);
    let token = token.context("the attestor's answer holds no token")?;
    let shown = Shown::Token {
        token: token.to_owned(),
    };
    keep(client, shown, out).await?;
    Ok(answer.get("credential").cloned().unwrap_or_default())
}

/// The key is written before the attestor hears of it: a file that cannot be written allows nobody.
async fn with_certificate(
    client: &Client,
    name: &str,
    role: Role,
    days: Option<u16>,
    out: &Path,
) -> anyhow::Result<Value> {
    let key = KeyPair::generate().context("cannot make a key")?;
    let mut certificate = CertificateParams::new(Vec::new())?;
    certificate
        .distinguished_name
        .push(DnType::CommonName, name);
    let certificate = certificate.self_signed(&key)?;
    let digest = Sha256Digest::of(&key.subject_public_key_info());
    let shown = Shown::Certificate {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    };
    keep(client, shown, out).await?;
    match create(client, name, role, days, Some(digest)).await {
        Ok(answer) => Ok(answer.get("credential").cloned().unwrap_or_default()),
        Err(error) => {
            let _nobody_has_seen_it = std::fs::remove_file(out);
            Err(error)
        }
    }
}

async fn keep(client: &Client, shown: Shown, out: &Path) -> anyhow::Result<()> {
    let file = CredentialFile {
        server: client.credential().server.clone(),
        ca: attestors_ca(client).await?,
        shown,
        webhook: None,
    };
    file.write(out)
}

/// What the attestor says that is to be believed, over a connection that is.
async fn attestors_ca(client: &Client) -> anyhow::Result<String> {
    let keys = client.get("/v1/keys").await?;
    let ca = keys.get("ca").and_then(Value::as_str);
    Ok(ca.context("the attestor's answer holds no CA")?.to_owned())
}

async fn refresh(client: &Client, json: bool) -> anyhow::Result<()> {
    let mut file = CredentialFile::read(client.file())?;
    file.ca = attestors_ca(client).await?;
    file.write(client.file())?;
    line(json, &json!({ "ca": file.ca }), || {
        format!(
            "{} holds the attestor's CA as it is now",
            client.file().display()
        )
    })
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/credentials").await?;
    let rows = rows(&answer, "credentials", |one| {
        vec![
            text(one, "name"),
            text(one, "role"),
            text(one, "way"),
            moment(one, "created_at"),
            state(one),
        ]
    });
    let header = ["name", "role", "shown by", "made", "in force"];
    table(json, &answer, &header, rows)
}

fn state(credential: &Value) -> String {
    let ended = |end: &Value| end.as_i64().is_some_and(|end| end <= clock::now());
    if credential
        .get("revoked_at")
        .is_some_and(|end| !end.is_null())
    {
        return format!("revoked {}", moment(credential, "revoked_at"));
    }
    match credential.get("expires_at").is_some_and(ended) {
        true => format!("expired {}", moment(credential, "expires_at")),
        false => format!("until {}", end(credential)),
    }
}

fn end(credential: &Value) -> String {
    match moment(credential, "expires_at").as_str() {
        "-" => "it is revoked".to_owned(),
        moment => moment.to_owned(),
    }
}
