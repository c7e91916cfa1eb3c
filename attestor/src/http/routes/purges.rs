//! `POST /v1/purges`: a host says which decrypted images it took off its disk.

use axum::extract::State;
use axum::{Extension, Json};
use touchstone_evidence::wire::{Purge, PurgeNoted};

use super::Body;
use super::rounds::within_budget;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::http::App;
use crate::http::access::{self, CallingHost};
use crate::http::problem::Problem;

/// What it counts, in bytes of evidence: an entry for good, in a transaction of its own. A verdict turns
/// seldom.
const COST: usize = 1 << 20;

/// Writes it down. It changes no verdict: it is the word of a host that may be believed no more. Of revoked leases of
/// which the host says that nothing is left, it is not told again.
pub(super) async fn note(
    State(app): State<App>,
    Extension(CallingHost { host, tls_key }): Extension<CallingHost>,
    Body(purge): Body<Purge>,
) -> Result<Json<PurgeNoted>, Problem> {
    within_budget(&app, &host, COST)?;
    let now = clock::now();
    let mut tx = app.attestor.store.write().await?;
    let host = access::holder(&mut tx, &tls_key).await?;
    if !purge.leases.is_empty() {
        tx.mark_leases_purged(&host, &purge.leases.0, now).await?;
    }
    let event = Event::ImagesPurged {
        host,
        runtime: purge.runtime,
        digests: purge.digests.0,
        complete: purge.complete,
        leases: purge.leases.0,
    };
    let entry = Entry::new(&event, &Actor::Host, now)?;
    let noted = PurgeNoted {
        entry: entry.leaf(),
    };
    entry.append(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(noted))
}
