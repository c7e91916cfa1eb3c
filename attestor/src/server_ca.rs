//! The attestor's CA: which one issues its TLS certificate, which ones others are told to believe, and its exchange.
//!
//! The next CA is told for a while before it issues anything, so that whoever pins the current one can pin both.
//! The log says each step first: one that is cut off after that did not take place, or is ended by the next start.

mod files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Lock, PoisonError, RwLock};

use axum::http::HeaderValue;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::operator_file::{self, OperatorFileError};
use crate::store::StoreError;
use crate::tls::{self, Authority, TlsError};

/// Seconds after which the TLS certificate is renewed: two thirds of its life.
const RENEWED_AFTER: i64 = tls::CERTIFICATE_DAYS * 24 * 3600 / 3 * 2;
/// Most hosts that a refusal names.
const NAMED_MAX: usize = 10;

/// Why the CA was not exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerCaError {
    #[error(
        "there is no next CA; make one with `touchstone keys rotate ca`, and wait until hosts have it"
    )]
    NotAnnounced,
    #[error(
        "{missing} of {of} enrolled hosts have not said that they believe the next CA, and would be cut off: \
         {named}; wait for their next round, or say --force and bring each back with `touchstone-agent trust`"
    )]
    OverlapShort {
        missing: usize,
        of: usize,
        /// The first of them.
        named: String,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    OperatorFile(#[from] OperatorFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ServerCaError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotAnnounced => "ca-not-announced",
            Self::OverlapShort { .. } => "ca-overlap-short",
            Self::Tls(_) | Self::OperatorFile(_) | Self::Store(_) => "internal",
        }
    }
}

/// The CAs that others are told to believe.
pub(crate) struct Bundle {
    /// The current one, then the next one.
    pub(crate) pem: String,
    /// SHA-256 of `pem`, in digits.
    pub(crate) header: HeaderValue,
    /// SHA-256 of the next one's certificate, PEM.
    pub(crate) next: Option<Sha256Digest>,
}

impl Bundle {
    fn of(current: &Authority, next: Option<&Authority>) -> Self {
        let pem = [current.pem(), next.map_or("", Authority::pem)].concat();
        let digest = Sha256Digest::of(pem.as_bytes());
        let header = HeaderValue::from_str(&digest.to_string());
        Self {
            header: header.unwrap_or(HeaderValue::from_static("")),
            next: next.map(fingerprint),
            pem,
        }
    }
}

fn fingerprint(authority: &Authority) -> Sha256Digest {
    Sha256Digest::of(authority.pem().as_bytes())
}

/// The CA in force, and what is served under it.
pub(crate) struct ServerCa {
    folder: PathBuf,
    /// DNS names and IP addresses of the TLS certificate.
    names: Vec<String>,
    tls: RustlsConfig,
    bundle: RwLock<Arc<Bundle>>,
    issued_at: Lock<i64>,
    /// Hosts that said during this announcement, and to this process, that they believe the next CA too.
    heard: Lock<BTreeSet<HostId>>,
    /// One exchange at a time.
    exchange: Mutex<()>,
}

impl ServerCa {
    /// Reads the CA, or makes the first one for a new database; ends an exchange that was cut off.
    pub(crate) fn load(
        folder: &Path,
        new_database: bool,
        names: Vec<String>,
    ) -> Result<Self, TlsError> {
        files::recover(folder)?;
        let current = files::first(folder, new_database)?;
        let next = files::next(folder)?;
        let config = tls::server_config(&current, &names)?;
        Ok(Self {
            folder: folder.to_owned(),
            names,
            tls: RustlsConfig::from_config(config),
            bundle: RwLock::new(Arc::new(Bundle::of(&current, next.as_ref()))),
            issued_at: Lock::new(clock::now()),
            heard: Lock::default(),
            exchange: Mutex::new(()),
        })
    }

    /// What the listener serves; it follows whatever takes its place.
    pub(crate) fn tls(&self) -> RustlsConfig {
        self.tls.clone()
    }

    /// DNS names and IP addresses of the TLS certificate.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whom to believe.
    pub(crate) fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.bundle.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, bundle: Bundle) {
        *self.bundle.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bundle);
        self.heard().clear();
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, BTreeSet<HostId>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the bundle that `host` says it believes, while there is a next CA.
    pub(crate) fn note(&self, host: &HostId, bundle: Option<&HeaderValue>) {
        let told = self.bundle();
        if told.next.is_none() {
            return;
        }
        // What it said last counts: it may have been restored, or enrolled anew, since it said that it does.
        match bundle == Some(&told.header) {
            true => self.heard().insert(host.clone()),
            false => self.heard().remove(host),
        };
    }

    /// Serves a new TLS certificate once the one that is served has lived two thirds of its life.
    pub(crate) async fn renew_if_due(&self, now: i64) -> Result<(), TlsError> {
        let _alone = self.exchange.lock().await;
        let issued_at = *self
            .issued_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !is_due(issued_at, now) {
            return Ok(());
        }
        let config =
            block_in_place(|| tls::server_config(&files::current(&self.folder)?, &self.names))?;
        self.serve(config, now);
        tracing::info!("the TLS certificate was renewed");
        Ok(())
    }

    fn serve(&self, config: Arc<rustls::ServerConfig>, now: i64) {
        self.tls.reload_from_config(config);
        *self
            .issued_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Also where the clock was set back, after which nobody knows.
fn is_due(issued_at: i64, now: i64) -> bool {
    now.saturating_sub(issued_at).unsigned_abs() >= RENEWED_AFTER.unsigned_abs()
}

/// Makes the next CA and tells everybody to believe it as well. Where there is one, it is told again.
pub(crate) async fn announce(
    attestor: &Attestor,
    actor: &Actor,
) -> Result<Arc<Bundle>, ServerCaError> {
    let ca = &attestor.keys.ca;
    let _alone = ca.exchange.lock().await;
    if ca.bundle().next.is_none() {
        let current = block_in_place(|| files::current(&ca.folder))?;
        let next = Authority::make()?;
        let event = Event::CaAnnounced {
            ca: fingerprint(&next),
        };
        audit::append_alone(&attestor.store, &event, actor, clock::now()).await?;
        block_in_place(|| files::write_next(&ca.folder, &next))?;
        ca.tell(Bundle::of(&current, Some(&next)));
    }
    block_in_place(|| operator_file::update(&attestor.keys))?;
    Ok(ca.bundle())
}

/// Puts the next CA in the place of the current one, and serves a certificate of it. `force`: although hosts would
/// be cut off.
pub(crate) async fn activate(
    attestor: &Attestor,
    actor: &Actor,
    force: bool,
) -> Result<Arc<Bundle>, ServerCaError> {
    let ca = &attestor.keys.ca;
    let _alone = ca.exchange.lock().await;
    let next = block_in_place(|| files::next(&ca.folder))?;
    let next = next.ok_or(ServerCaError::NotAnnounced)?;
    if !force {
        refuse_to_cut_off(attestor).await?;
    }
    let config = tls::server_config(&next, &ca.names)?;
    let event = Event::CaActivated {
        ca: fingerprint(&next),
    };
    audit::append_alone(&attestor.store, &event, actor, clock::now()).await?;
    block_in_place(|| files::put_next_in_force(&ca.folder))?;
    ca.serve(config, clock::now());
    ca.tell(Bundle::of(&next, None));
    block_in_place(|| operator_file::update(&attestor.keys))?;
    Ok(ca.bundle())
}

async fn refuse_to_cut_off(attestor: &Attestor) -> Result<(), ServerCaError> {
    let hosts = attestor.store.read().await?.hosts().await?;
    let heard = attestor.keys.ca.heard().clone();
    let missing = hosts.iter().map(|record| &record.host);
    let missing: Vec<&str> = missing
        .filter(|host| !heard.contains(*host))
        .map(HostId::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing.get(..NAMED_MAX).map(|few| few.join(", ") + ", …");
    Err(ServerCaError::OverlapShort {
        missing: missing.len(),
        of: hosts.len(),
        named: named.unwrap_or_else(|| missing.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_a_month_before_it_ends() {
        let day = 24 * 3600;
        assert!(!is_due(0, 0) && !is_due(0, 59 * day));
        assert!(is_due(0, 60 * day) && is_due(60 * day, 0));
    }
}
