//! The attestor's webhook, called over connections that stay: each review takes whichever is free.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use hyper::Method;
use hyper::body::Bytes;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::Semaphore;
use touchstone_tpm_sim::review::{Answer, Decision};

use crate::operator::Credential;
use crate::wire::{Connection, Endpoint, Tls};

/// The webhook.
pub(crate) struct Webhook {
    endpoint: Arc<Endpoint>,
    tls: Arc<ClientConfig>,
    /// With its secret.
    path: String,
    places: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Webhook {
    /// The one that a credential names, with at most so many reviews under way.
    pub(crate) fn of(
        credential: &Credential,
        endpoint: &Arc<Endpoint>,
        tls: &Tls,
        at_once: usize,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            endpoint: Arc::clone(endpoint),
            tls: tls.anonymous()?,
            path: credential.webhook_path()?,
            places: Semaphore::new(at_once),
            idle: Mutex::default(),
        })
    }

    /// Asks about one review, whose uid is `uid`.
    pub(crate) async fn ask(&self, uid: &str, review: &Value) -> anyhow::Result<Decision> {
        let body = Bytes::from(serde_json::to_vec(review)?);
        let _place = self.places.acquire().await?;
        let connection = match self.take() {
            Some(open) => open,
            None => Connection::open(&self.endpoint, &self.tls).await?,
        };
        let answer = connection
            .send(Method::POST, &self.path, None, body)
            .await?;
        self.idle().push(connection);
        if !answer.is_success() {
            bail!("the webhook answers {}", answer.status);
        }
        let answer: Answer = serde_json::from_slice(&answer.body)?;
        answer
            .to(uid)
            .context("the webhook answered another review")
    }

    /// An open connection. The one used last, so that what is not needed ends for want of use.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(connection) = idle.pop() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
