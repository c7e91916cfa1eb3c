//! `touchstone endorsement …`: what was imported, and whose maker is missing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use touchstone_evidence::endorsement::{Bundle, ManufacturerId};

use super::answers::{items, lines as joined, rows};
use super::client::Client;
use super::output::{digits, line, moment, table, text};

pub(super) async fn import(
    client: &Client,
    json: bool,
    class: Option<&str>,
    manufacturers: &[ManufacturerId],
    files: &[PathBuf],
) -> anyhow::Result<()> {
    let mut pem = String::new();
    for file in files {
        pem.push_str(&read(file)?);
        pem.push('\n');
    }
    let body = json!({ "class": class, "manufacturers": manufacturers, "pem": pem });
    let answer = client.post("/v1/endorsement-roots", &body).await?;
    line(json, &answer, || said(&answer, class))?;
    Ok(())
}

/// What an import brought; each revocation list on a line of its own.
fn said(answer: &Value, class: Option<&str>) -> String {
    let mut lines = Vec::new();
    if let Some(class) = class {
        lines.push(format!(
            "imported {} roots and {} intermediates as {class}",
            text(answer, "roots"),
            text(answer, "intermediates")
        ));
    }
    for list in items(answer, "lists") {
        let issuer = text(list, "issuer");
        lines.push(format!(
            "imported the revocation list of {issuer}: {} revoked, holds until {}",
            text(list, "revoked"),
            moment(list, "next_update")
        ));
        if is_stale(list) {
            lines.push(format!(
                "this list is not of this time: every TPM under {issuer} is refused until a newer one is imported"
            ));
        }
    }
    if lines.is_empty() {
        lines.push("everything in it was known already".to_owned());
    }
    lines.join("\n")
}

pub(super) async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/endorsement-roots").await?;
    if json {
        return line(json, &answer, String::new);
    }
    let roots = rows(&answer, "roots", |root| {
        let manufacturers = joined(root, "manufacturers");
        vec![
            text(root, "subject"),
            text(root, "class"),
            match manufacturers.is_empty() {
                true => "any".to_owned(),
                false => manufacturers,
            },
            moment(root, "not_after"),
            text(root, "hosts"),
            digits(&text(root, "digest")),
        ]
    });
    let header = [
        "root",
        "class",
        "vouches for",
        "valid until",
        "hosts",
        "digest",
    ];
    table(false, &answer, &header, roots)?;
    let intermediates = rows(&answer, "intermediates", |known| {
        let fields = ["subject", "issuer", "digest"].map(|field| text(known, field));
        let [subject, issuer, digest] = fields;
        vec![subject, issuer, moment(known, "not_after"), digits(&digest)]
    });
    if !intermediates.is_empty() {
        let header = ["intermediate", "issuer", "valid until", "digest"];
        table(false, &answer, &header, intermediates)?;
    }
    let lists = rows(&answer, "lists", |list| {
        let next_update = moment(list, "next_update");
        vec![
            text(list, "issuer"),
            text(list, "number"),
            text(list, "revoked"),
            match is_stale(list) {
                true => format!("{next_update} (stale: import its next one)"),
                false => next_update,
            },
        ]
    });
    if !lists.is_empty() {
        let header = ["revocation list of", "number", "revoked", "next update"];
        table(false, &answer, &header, lists)?;
    }
    if answer
        .get("simulator_root_since")
        .is_some_and(Value::is_i64)
    {
        line(false, &answer, || {
            format!(
                "marked: held a simulator root since {}; `serve --production` refuses this database",
                moment(&answer, "simulator_root_since")
            )
        })?;
    }
    Ok(())
}

pub(super) async fn unmatched(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/endorsement-roots/unmatched").await?;
    let rows = rows(&answer, "unmatched", |row| {
        vec![
            text(row, "host"),
            text(row, "authority"),
            text(row, "code"),
            text(row, "attempts"),
            moment(row, "first_at"),
            moment(row, "last_at"),
            digits(&text(row, "ek_digest")),
        ]
    });
    let header = [
        "host",
        "missing CA (unproven)",
        "code",
        "attempts",
        "first",
        "last",
        "EK digest",
    ];
    table(json, &answer, &header, rows)?;
    Ok(())
}

fn is_stale(list: &Value) -> bool {
    list.get("stale").and_then(Value::as_bool) == Some(true)
}

/// A file as PEM: DER certificates and revocation lists are wrapped.
fn read(file: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    Bundle::pem_of_file(&bytes).with_context(|| {
        format!(
            "`{}` is neither PEM nor a certificate or revocation list in DER",
            file.display()
        )
    })
}
