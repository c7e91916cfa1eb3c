//! What an operator does before hosts can enrol: root, inventory, places, policy, join token.

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::location::{
    LocationAuthority, LocationTag, Place, TAG_MAX, ek_set_digest,
};
use touchstone_evidence::wire::JoinToken;

use super::host::{Host, random};
use super::load::seconds_since_1970;
use super::operator::{Operator, Refused};

/// Machines in one message: some 110 bytes each, and the attestor takes 24 MiB.
const IMPORT_MAX: usize = 100_000;
/// Seconds for which the join token lasts; it is revoked once all hosts are enrolled.
const TOKEN_SECONDS: u32 = 24 * 3600;
/// Seconds for which tags hold.
const TAG_SECONDS: i64 = 7 * 24 * 3600;

/// A join token, and what it is called.
pub(crate) struct Joining {
    pub(crate) token: JoinToken,
    id: String,
}

/// Lets the attestor believe the maker of the hosts' TPMs.
pub(crate) async fn import_root(operator: &Operator, pem: &str) -> anyhow::Result<()> {
    let body = json!({ "class": "simulator", "manufacturers": [], "pem": pem });
    let imported = operator.post("/v1/endorsement-roots", &body).await;
    imported.context(
        "cannot import the root of simulated TPMs; load an attestor that is for testing, without --production",
    )?;
    Ok(())
}

/// Adds the hosts to the inventory.
pub(crate) async fn import_machines(operator: &Operator, hosts: &[Host]) -> anyhow::Result<()> {
    for part in hosts.chunks(IMPORT_MAX) {
        let machine = |host: &Host| json!({ "host": host.id, "ek_digests": [host.ek_digest()] });
        let machines: Vec<Value> = part.iter().map(machine).collect();
        let body = json!({ "machines": machines });
        let imported = operator.post("/v1/inventory-imports", &body).await;
        imported.context("cannot add the hosts to the inventory")?;
    }
    Ok(())
}

/// Gives each host a tag of an authority of our own.
pub(crate) async fn issue_tags(
    operator: &Operator,
    hosts: &[Host],
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let authority = LocationAuthority::from_secret(&random()?);
    let key = hex::encode(authority.public_key().to_bytes());
    let body = json!({ "public_key": key });
    operator.post("/v1/location/authorities", &body).await?;
    let now = seconds_since_1970();
    for host in hosts {
        let tag = LocationTag {
            // Set when it is signed.
            authority: Sha256Digest::ZERO,
            ek_set: ek_set_digest(&[host.ek_digest()]),
            serial: 1,
            not_before: now,
            not_after: now.saturating_add(TAG_SECONDS),
            place: Place::new("DE", Some("DE-HE"), "load")?,
        };
        let signed: Bytes<TAG_MAX> = authority.sign(tag)?.into();
        let body = json!({ "host": host.id, "tag": signed });
        let issued = operator.post("/v1/location/tags", &body).await;
        issued.with_context(|| format!("cannot give `{}` its tag", host.id))?;
        bar.inc(1);
    }
    Ok(())
}

/// Sees that a policy is in force: `true` if `policy` was applied here, for want of one and since that is `wanted`.
pub(crate) async fn ensure_policy(
    operator: &Operator,
    policy: &str,
    wanted: bool,
) -> anyhow::Result<bool> {
    let absent = match operator.get("/v1/policies").await {
        Ok(_) => return Ok(false),
        Err(error) => error,
    };
    if !is_refused(&absent, "policy-absent") {
        return Err(absent);
    }
    if !wanted {
        bail!(
            "no policy is in force, so that no host would be affirming; give --policy, which applies one that fits, \
             or apply yours with `touchstone policy apply FILE`"
        );
    }
    let body = json!({ "manifests": policy });
    operator.put("/v1/policies", &body).await?;
    Ok(true)
}

fn is_refused(error: &anyhow::Error, code: &str) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.code == code)
}

/// Makes a join token for all hosts.
pub(crate) async fn join_token(operator: &Operator) -> anyhow::Result<Joining> {
    let body = json!({ "lifetime_seconds": TOKEN_SECONDS, "host": null, "uses": null });
    let made = operator.post("/v1/join-tokens", &body).await?;
    let text = |field: &str| made.get(field).and_then(Value::as_str).unwrap_or_default();
    Ok(Joining {
        token: text("token").parse()?,
        id: text("id").to_owned(),
    })
}

/// Ends it.
pub(crate) async fn revoke(operator: &Operator, joining: &Joining) -> anyhow::Result<()> {
    let body = json!({ "id": joining.id });
    operator.post("/v1/join-tokens/revoke", &body).await?;
    Ok(())
}
