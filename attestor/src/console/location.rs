//! `touchstone location …`, with the location authority's side: its key, and the tags that it signs. The key
//! never leaves this process; the attestor gets the public half and finished tags.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::{LocationAuthority, LocationTag, Place};
use zeroize::Zeroizing;

use super::answers::{items, rows};
use super::client::Client;
use super::commands::place;
use super::machines::Why;
use super::output::{digits, grid, line, moment, table, text};
use crate::{clock, keys, random};

/// `touchstone location …`
#[derive(Subcommand, Debug)]
pub enum Location {
    /// The keys that sign tags
    #[command(subcommand)]
    Authority(Authority),
    /// Sign a tag for a host and make it the current one; the host carries it from its next round on
    Tag {
        /// The host
        #[arg(long)]
        host: HostId,
        /// The authority's key file
        #[arg(long)]
        key: PathBuf,
        /// Country, ISO 3166-1 alpha-2, e.g. DE
        #[arg(long)]
        country: String,
        /// Subdivision, ISO 3166-2, e.g. DE-HE
        #[arg(long)]
        subdivision: Option<String>,
        /// Site, in your own words, e.g. fra1
        #[arg(long)]
        site: String,
        /// Days for which the authority vouches
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: u16,
    },
    /// Take back the current tag of a host: its place counts no more, at once
    Revoke {
        /// The host
        #[arg(long, required_unless_present = "tag")]
        host: Option<HostId>,
        /// Only if the current tag has this serial
        #[arg(long, requires = "host")]
        serial: Option<u64>,
        /// SHA-256 of the signed tag, as its entry names it
        #[arg(long, value_name = "DIGEST", conflicts_with = "host")]
        tag: Option<Sha256Digest>,
        /// Why
        #[command(flatten)]
        why: Why,
    },
    /// List every tag and every place that a host ever had
    History {
        /// The host
        host: HostId,
    },
}

/// `touchstone location authority …`
#[derive(Subcommand, Debug)]
pub enum Authority {
    /// Make a key, mode 0600, and have the attestor believe it; keep the file away from the attestor
    Create {
        /// File to write the key to
        #[arg(long)]
        key: PathBuf,
    },
    /// List every authority that ever was believed
    List,
    /// Believe an authority no more: none of its tags counts, at once
    Revoke {
        /// SHA-256 of its public key, as the list shows it
        id: Sha256Digest,
        /// Why
        #[command(flatten)]
        why: Why,
    },
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Location) -> anyhow::Result<()> {
    match command {
        Location::Authority(Authority::Create { key }) => {
            let answer = create_authority(client, &key).await?;
            line(json, &answer, || {
                format!(
                    "authority {} is believed; its key is in {}, keep it offline",
                    text(&answer, "id"),
                    key.display()
                )
            })
        }
        Location::Authority(Authority::List) => list_authorities(client, json).await,
        Location::Authority(Authority::Revoke { id, why }) => {
            let body = json!({ "id": id, "reason": why.reason });
            let answer = client
                .post_slowly("/v1/location/authorities/revoke", &body)
                .await?;
            line(json, &answer, || {
                format!(
                    "authority {id} is believed no more; {} hosts have no place until they get a tag of another",
                    text(&answer, "hosts")
                )
            })
        }
        Location::Tag {
            host,
            key,
            country,
            subdivision,
            site,
            days,
        } => {
            let place = Place::new(&country, subdivision.as_deref(), &site)?;
            let words = place.to_string();
            let answer = issue_tag(client, &host, &key, place, days).await?;
            line(json, &answer, || {
                format!(
                    "tag {} says that {host} stands in {words}; the host proves it in its next round",
                    text(&answer, "serial")
                )
            })
        }
        Location::Revoke {
            host,
            serial,
            tag,
            why,
        } => revoke(client, json, (host, serial, tag), &why).await,
        Location::History { host } => history(client, json, &host).await,
    }
}

async fn revoke(
    client: &Client,
    json: bool,
    (host, serial, tag): (Option<HostId>, Option<u64>, Option<Sha256Digest>),
    why: &Why,
) -> anyhow::Result<()> {
    let body = match tag {
        Some(tag) => json!({ "tag": tag, "reason": why.reason }),
        None => json!({ "host": host, "serial": serial, "reason": why.reason }),
    };
    let answer = client.post("/v1/location/tags/revoke", &body).await?;
    line(json, &answer, || {
        format!(
            "tag {} of {} counts no more; issue another one once you know where the machine stands",
            text(&answer, "serial"),
            text(&answer, "host")
        )
    })
}

async fn list_authorities(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/location/authorities").await?;
    let rows = rows(&answer, "authorities", |one| {
        vec![
            text(one, "id"),
            moment(one, "added_at"),
            moment(one, "revoked_at"),
        ]
    });
    table(
        json,
        &answer,
        &["authority", "believed since", "revoked"],
        rows,
    )
}

async fn history(client: &Client, json: bool, host: &HostId) -> anyhow::Result<()> {
    let answer = client
        .get(&format!("/v1/location/hosts/{host}/history"))
        .await?;
    let tags = rows(&answer, "tags", |tag| {
        let end = match text(tag, "ended_by").as_str() {
            "-" => format!("current, until {}", moment(tag, "valid_until")),
            why => format!("{why} {}", moment(tag, "ended_at")),
        };
        vec![
            text(tag, "serial"),
            place(tag),
            digits(&text(tag, "authority")),
            moment(tag, "issued_at"),
            moment(tag, "proven_at"),
            end,
        ]
    });
    let header = [
        "serial",
        "place",
        "authority",
        "issued",
        "first proven",
        "end",
    ];
    line(json, &answer, || {
        let moves = items(&answer, "moves").map(told_move);
        std::iter::once(grid(&header, tags))
            .chain(moves)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// A move as a sentence.
pub(super) fn told_move(one: &Value) -> String {
    let at = |field: &str| {
        let place = one.get(field).cloned();
        let place = place.and_then(|place| serde_json::from_value::<Place>(place).ok());
        place.map_or_else(|| "-".to_owned(), |place| place.to_string())
    };
    format!(
        "It MOVED from {} to {}: proven at {}",
        at("from"),
        at("to"),
        moment(one, "at")
    )
}

/// Makes an authority's key and registers its public half.
async fn create_authority(client: &Client, path: &Path) -> anyhow::Result<Value> {
    ensure!(
        !path.exists(),
        "`{}` is there already; an authority's key is never written over",
        path.display()
    );
    let secret = Zeroizing::new(random::bytes::<32>()?);
    keys::write_private(path, hex::encode(&secret[..]).as_bytes())?;
    let public_key = LocationAuthority::from_secret(&secret).public_key();
    let body = json!({ "public_key": hex::encode(public_key.to_bytes()) });
    client.post("/v1/location/authorities", &body).await
}

/// What the attestor says about the next tag of a host.
#[derive(Deserialize)]
struct Basis {
    ek_set: Sha256Digest,
    next_serial: u64,
}

/// Signs the next tag of `host` and hands it to the attestor.
async fn issue_tag(
    client: &Client,
    host: &HostId,
    key: &Path,
    place: Place,
    days: u16,
) -> anyhow::Result<Value> {
    let basis = client.get(&format!("/v1/location/hosts/{host}")).await?;
    let basis: Basis = serde_json::from_value(basis)?;
    let authority = read_authority(key)?;
    let now = clock::now();
    let tag = LocationTag {
        authority: authority.public_key().id(),
        ek_set: basis.ek_set,
        serial: basis.next_serial,
        // An hour back, for hosts and servers whose clocks differ.
        not_before: now - 3600,
        not_after: now + i64::from(days) * 86_400,
        place,
    };
    let signed = authority.sign(tag)?;
    let body = json!({ "host": host, "tag": URL_SAFE_NO_PAD.encode(signed) });
    client.post("/v1/location/tags", &body).await
}

fn read_authority(path: &Path) -> anyhow::Result<LocationAuthority> {
    let text = Zeroizing::new(keys::read_private(path)?);
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut secret[..])
        .with_context(|| format!("`{}` does not hold an authority's key", path.display()))?;
    Ok(LocationAuthority::from_secret(&secret))
}
