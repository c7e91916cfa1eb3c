//! `POST` and `GET /v1/endorsement-roots`, `GET /v1/endorsement-roots/unmatched`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{
    Anchor, KnownCertificate, KnownList, ManufacturerId, RootClass,
};

use super::{Acting, Body};
use crate::clock;
use crate::enrollment::{self, Endorsements, Import, ImportError};
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::StoreError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RootImport {
    class: Option<RootClass>,
    #[serde(default)]
    manufacturers: Vec<ManufacturerId>,
    pem: String,
}

/// A root as it is written in JSON.
#[derive(Serialize)]
struct RootView {
    class: RootClass,
    manufacturers: Vec<ManufacturerId>,
    hosts: i64,
    #[serde(flatten)]
    certificate: CertificateView,
}

#[derive(Serialize)]
struct CertificateView {
    subject: String,
    issuer: String,
    digest: Sha256Digest,
    key_digest: Sha256Digest,
    not_before: i64,
    not_after: Option<i64>,
}

#[derive(Serialize)]
struct ListView {
    issuer: String,
    issuer_key_digest: Sha256Digest,
    digest: Sha256Digest,
    number: Option<String>,
    this_update: i64,
    next_update: i64,
    /// Not of this time: whoever it would speak of is refused.
    stale: bool,
    revoked: usize,
}

/// Imports endorsement certificates and revocation lists.
pub(super) async fn import(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<RootImport>,
) -> Result<Json<Value>, Problem> {
    let import = Import {
        class: body.class,
        manufacturers: body.manufacturers,
        pem: body.pem,
    };
    let done = enrollment::import_endorsements(&app.attestor, &actor, import).await;
    let done = done.map_err(|error| refusal(&error))?;
    let now = clock::now();
    let lists: Vec<ListView> = done
        .lists
        .iter()
        .map(|added| list_view(&added.list, now))
        .collect();
    Ok(Json(json!({
        "roots": done.imported.roots,
        "intermediates": done.imported.intermediates,
        "lists": lists,
    })))
}

/// Every root, intermediate and revocation list.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let hosts = tx.hosts_by_root().await?;
    let simulator_root_since = tx.simulator_root_since().await?;
    let endorsements = Endorsements::read(&mut tx).await?;
    drop(tx);
    let roots = tokio::task::spawn_blocking(move || endorsements.parse())
        .await
        .map_err(|_| StoreError::Malformed("endorsement bundle"))??;
    let enrolled = |anchor: &Anchor| {
        let mut counts = hosts.iter();
        let count = counts.find(|(key, _)| *key == anchor.key_digest());
        count.map_or(0, |(_, count)| *count)
    };
    let anchors = roots.anchors().map(|anchor| RootView {
        class: anchor.class(),
        manufacturers: anchor.manufacturers().to_vec(),
        hosts: enrolled(anchor),
        certificate: anchor.known().into(),
    });
    let intermediates = roots.intermediates().map(CertificateView::from);
    let now = clock::now();
    let lists = roots.lists().map(|list| list_view(list, now));
    Ok(Json(json!({
        "roots": anchors.collect::<Vec<_>>(),
        "intermediates": intermediates.collect::<Vec<_>>(),
        "lists": lists.collect::<Vec<_>>(),
        "simulator_root_since": simulator_root_since,
    })))
}

/// Machines that asked to enrol and whose maker's CA is not known.
pub(super) async fn unmatched(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let rows = tx.unmatched().await?.into_iter().map(|row| {
        json!({
            "host": row.host,
            "ek_digest": row.ek_digest,
            "code": row.code,
            "authority": row.authority,
            "first_at": row.first_at,
            "last_at": row.last_at,
            "attempts": row.attempts,
        })
    });
    Ok(Json(json!({ "unmatched": rows.collect::<Vec<_>>() })))
}

impl From<KnownCertificate> for CertificateView {
    fn from(known: KnownCertificate) -> Self {
        Self {
            subject: known.subject,
            issuer: known.issuer,
            digest: known.digest,
            key_digest: known.key_digest,
            not_before: known.not_before,
            not_after: known.not_after,
        }
    }
}

fn list_view(list: &KnownList, now: i64) -> ListView {
    ListView {
        issuer: list.issuer(),
        issuer_key_digest: list.issuer_key_digest(),
        digest: list.digest(),
        number: list.number(),
        this_update: list.this_update(),
        next_update: list.next_update(),
        stale: !list.is_of(now),
        revoked: list.revoked(),
    }
}

fn refusal(error: &ImportError) -> Problem {
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error)
}
