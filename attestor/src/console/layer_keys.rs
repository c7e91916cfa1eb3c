//! `touchstone key …`: the keys of encrypted container layers.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use touchstone_evidence::annotation::{KeyName, PolicyName};
use touchstone_evidence::endorsement::Bundle;
use zeroize::Zeroizing;

use super::client::Client;
use super::output::{line, moment, table, text};
use crate::audit::Reason;
use crate::keys;

/// `touchstone key …`
#[derive(Subcommand, Debug)]
pub enum Key {
    /// Make a key for the layers of one WorkloadPolicy's workloads
    Create {
        /// How it is called: 1 to 63 of `a-z`, `0-9`, `-` and `.`. A name is given once
        name: KeyName,
        /// For what
        #[command(flatten)]
        purpose: Purpose,
    },
    /// List all keys there ever were
    List,
    /// Wrap under new bytes from now on; what was wrapped before still opens
    Rotate(Act),
    /// Use a key for nothing, until it is enabled again, and have every host purge the images that it opened
    Disable(Act),
    /// Use a key again
    Enable(Act),
    /// Delete a key for ever: nothing that was encrypted with it can be read any more, and every host purges the images
    /// that it opened
    Destroy {
        /// Which
        #[command(flatten)]
        act: Act,
        /// Do not ask. Without it the key's name is to be typed again at a terminal; elsewhere nothing is destroyed
        #[arg(long)]
        yes: bool,
    },
    /// Make a key pair to which one key of yours can be encrypted, within an hour
    ImportKey {
        /// File to write the public key to, PEM; without it, standard output
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Bring a key of your own: as a new one, or as the next version of one
    #[command(group(ArgGroup::new("source").required(true).args(["file", "wrapped"])))]
    Import {
        /// How it is called
        name: KeyName,
        /// A file with the key: 32 bytes, or 64 hexadecimal digits. It is encrypted here, to an import key made for it
        #[arg(long, conflicts_with = "import_key")]
        file: Option<PathBuf>,
        /// A file with the key as another key store encrypted it: RSA-OAEP with SHA-256, no label
        #[arg(long, requires = "import_key")]
        wrapped: Option<PathBuf>,
        /// Id of the import key that it was encrypted to, as `touchstone key import-key` told it
        #[arg(long)]
        import_key: Option<String>,
        /// The WorkloadPolicy that a new key is for; not for the next version of one
        #[arg(long)]
        policy: Option<PolicyName>,
        /// Release layers of registered images only; for a new key
        #[arg(long)]
        registered: bool,
    },
}

/// What hosts do when a key is used no more, up to the key's name.
const PURGE: &str = "each host is told with its next round to purge the images that it opened, with what runs of them, and \
                     `touchstone lease list --key ";

/// What a key is for.
#[derive(Args, Debug)]
pub struct Purpose {
    /// The WorkloadPolicy whose host half decides who may read the layers
    #[arg(long)]
    policy: PolicyName,
    /// Release layers of registered images only (`touchstone image register`)
    #[arg(long)]
    registered: bool,
}

/// What is done to a key, and why.
#[derive(Args, Debug)]
pub struct Act {
    /// Which
    name: KeyName,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<Reason>,
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Key) -> anyhow::Result<()> {
    match command {
        Key::Create { name, purpose } => {
            let Purpose { policy, registered } = purpose;
            let body = json!({ "name": name, "policy": policy, "registered": registered });
            let answer = client.post("/v1/layer-keys", &body).await?;
            line(json, &answer, || {
                let images = format!(
                    "{name} is made; encrypt images with `--encryption-key provider:touchstone:{name}`"
                );
                match registered {
                    true => images,
                    false => format!(
                        "{images}, and secrets on a host with `touchstone-agent transit encrypt {name}`"
                    ),
                }
            })
        }
        Key::List => list(client, json).await,
        Key::Rotate(act) => {
            let answer = post(client, &act, "rotate").await?;
            let version = text(&answer, "version");
            line(json, &answer, || {
                format!("{} wraps with version {version} from now on", act.name)
            })
        }
        Key::Disable(act) => {
            let answer = post(client, &act, "disable").await?;
            line(json, &answer, || {
                format!(
                    "{0} is used for nothing until `touchstone key enable {0}`; {PURGE}{0}` shows when",
                    act.name
                )
            })
        }
        Key::Enable(act) => {
            let answer = post(client, &act, "enable").await?;
            line(json, &answer, || format!("{} is used again", act.name))
        }
        Key::Destroy { act, yes } => {
            ensure!(yes || confirmed(&act.name)?, "nothing was destroyed");
            let answer = post(client, &act, "destroy").await?;
            line(json, &answer, || {
                format!(
                    "{0} is destroyed; {PURGE}{0}` shows when; backups of the database hold the key still, see the \
                     operators' guide",
                    act.name
                )
            })
        }
        Key::ImportKey { out } => import_key(client, json, out.as_deref()).await,
        Key::Import {
            name,
            file,
            wrapped,
            import_key,
            policy,
            registered,
        } => {
            let (id, wrapped) = match (file, wrapped, import_key) {
                (Some(file), ..) => encrypt(client, &file).await?,
                (None, Some(wrapped), Some(id)) => {
                    let read = std::fs::read(&wrapped);
                    (
                        id,
                        read.with_context(|| format!("cannot read `{}`", wrapped.display()))?,
                    )
                }
                _ => bail!("name the key with `--file`, or with `--wrapped` and `--import-key`"),
            };
            let body = json!({
                "import_key": id,
                "wrapped": URL_SAFE_NO_PAD.encode(wrapped),
                "policy": policy,
                "registered": registered,
            });
            let path = format!("/v1/layer-keys/{name}/import");
            let answer = client.post(&path, &body).await?;
            let version = text(&answer, "version");
            line(json, &answer, || {
                format!("{name} wraps with your key, as its version {version}, from now on")
            })
        }
    }
}

async fn post(client: &Client, act: &Act, verb: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/layer-keys/{}/{verb}", act.name);
    let reason = act.reason.clone().map(String::from);
    client.post(&path, &json!({ "reason": reason })).await
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/layer-keys").await?;
    let keys = answer.get("layer_keys").and_then(Value::as_array);
    let rows = keys.into_iter().flatten().map(|key| {
        let registered = key.get("registered").and_then(Value::as_bool) == Some(true);
        vec![
            text(key, "name"),
            text(key, "policy"),
            if registered { "registered" } else { "any" }.to_owned(),
            text(key, "state"),
            text(key, "version"),
            moment(key, "created_at"),
        ]
    });
    let header = ["key", "policy", "images", "state", "version", "made"];
    table(json, &answer, &header, rows.collect())
}

/// Asks at the terminal, which must say the name again.
fn confirmed(name: &KeyName) -> anyhow::Result<bool> {
    let mut input = std::io::stdin().lock();
    ensure!(
        input.is_terminal(),
        "nothing that was encrypted with `{name}` could be read any more, and hosts would purge the images that it \
         opened; if that is meant: `touchstone key destroy {name} --yes`"
    );
    let mut out = std::io::stderr();
    write!(
        out,
        "Nothing that was encrypted with {name} will ever be read again, and each host purges the images that it opened. \
         Its name, to destroy it: "
    )?;
    out.flush()?;
    let mut said = String::new();
    input.read_line(&mut said)?;
    Ok(said.trim() == name.as_str())
}

/// Prints the public half for another key store.
async fn import_key(client: &Client, json: bool, out: Option<&Path>) -> anyhow::Result<()> {
    let (answer, public) = made(client).await?;
    let pem = Bundle::pem_block("PUBLIC KEY", &public);
    if let Some(out) = out {
        std::fs::write(out, &pem).with_context(|| format!("cannot write `{}`", out.display()))?;
    }
    line(json, &answer, || {
        let id = text(&answer, "import_key");
        let until = moment(&answer, "expires_at");
        let pem = match out {
            Some(_) => "",
            None => pem.as_str(),
        };
        format!("{pem}import key {id}, for one key, until {until}")
    })
}

async fn made(client: &Client) -> anyhow::Result<(Value, Vec<u8>)> {
    let answer = client.post("/v1/layer-key-imports", &json!({})).await?;
    let public = answer.get("public_key").and_then(Value::as_str);
    let public = public.context("the attestor's answer holds no public key")?;
    let public = URL_SAFE_NO_PAD.decode(public)?;
    Ok((answer, public))
}

/// Encrypts the key in `file` to an import key that is made for it; the id of that, and what came of it.
async fn encrypt(client: &Client, file: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let key = read_key(file)?;
    let (answer, public) = made(client).await?;
    let failed = "the attestor's import key is none; look into its log";
    let public = PublicEncryptingKey::from_der(&public).ok();
    let public = public.and_then(|public| OaepPublicEncryptingKey::new(public).ok());
    let public = public.context(failed)?;
    let mut wrapped = vec![0; public.ciphertext_size()];
    let length = public
        .encrypt(&OAEP_SHA256_MGF1SHA256, &key[..], &mut wrapped, None)
        .ok()
        .context(failed)?
        .len();
    wrapped.truncate(length);
    Ok((text(&answer, "import_key"), wrapped))
}

/// 32 bytes, or 64 hexadecimal digits, in a file that nobody else may read.
fn read_key(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let bytes = keys::read_private_bytes(file)?;
    if bytes.len() == 32 {
        return Ok(bytes);
    }
    let digits = Zeroizing::new(bytes.trim_ascii().to_vec());
    let key = hex::decode(&digits[..]).map(Zeroizing::new).ok();
    let key = key.filter(|key| key.len() == 32);
    key.with_context(|| {
        let file = file.display();
        format!("`{file}` holds no key: 32 bytes, or 64 hexadecimal digits, are expected")
    })
}
