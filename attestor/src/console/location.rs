//! The location authority's side: its key, and the tags that it signs. The key never leaves this
//! process; the attestor gets the public half and finished tags.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::{LocationAuthority, LocationTag, Place};
use zeroize::Zeroizing;

use super::client::Client;
use crate::{keys, random};

/// Makes an authority's key and registers its public half.
pub(super) async fn create_authority(client: &Client, path: &Path) -> anyhow::Result<Value> {
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
pub(super) async fn issue_tag(
    client: &Client,
    host: &HostId,
    key: &Path,
    place: Place,
    days: u16,
) -> anyhow::Result<Value> {
    let basis = client.get(&format!("/v1/location/hosts/{host}")).await?;
    let basis: Basis = serde_json::from_value(basis)?;
    let authority = read_authority(key)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let now = i64::try_from(now)?;
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
