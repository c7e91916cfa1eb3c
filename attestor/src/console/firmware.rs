//! `touchstone host accept-firmware`: says that a new version of a TPM's firmware was intended.

use std::str::FromStr;

use anyhow::Context as _;
use serde_json::json;

use touchstone_evidence::host_id::HostId;

use super::answers::items;
use super::client::Client;
use super::output::{line, text};

/// The finding that names the version.
const CHANGED: &str = "firmware-version-changed";

/// A version as findings show it: `0x` and hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Version(u64);

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or("write it as the finding shows it: `0x` and hexadecimal digits")
    }
}

/// Accepts `version`, or the one that the host's last verdict complains of.
pub(super) async fn accept(
    client: &Client,
    json: bool,
    host: &HostId,
    version: Option<Version>,
) -> anyhow::Result<()> {
    let version = match version {
        Some(Version(version)) => format!("{version:#x}"),
        None => observed(client, host).await?,
    };
    let path = format!("/v1/hosts/{host}/firmware");
    let answer = client.post(&path, &json!({ "version": version })).await?;
    line(json, &answer, || {
        format!(
            "firmware {} of the TPM of {host} is accepted instead of {}; its next round is judged by it",
            text(&answer, "version"),
            text(&answer, "before")
        )
    })?;
    Ok(())
}

async fn observed(client: &Client, host: &HostId) -> anyhow::Result<String> {
    let answer = client.get(&format!("/v1/hosts/{host}")).await?;
    items(&answer, "findings")
        .find(|finding| text(finding, "code") == CHANGED)
        .map(|finding| text(finding, "observed"))
        .with_context(|| {
            format!("the last verdict of `{host}` names no other firmware; say which with `--version 0x…`")
        })
}
