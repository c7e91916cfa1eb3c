//! The connections of all hosts: at most so many at once, each of one host, since its key is the host's name.
//!
//! A host takes its connection out for a request and puts it back. Where all are taken a host waits; where all are
//! open, the one used longest ago is closed for the next.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::Method;
use hyper::body::Bytes;
use rustls::ClientConfig;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::wire::{Answer, Connection, Endpoint};

/// The connections.
pub(crate) struct Pool {
    endpoint: Arc<Endpoint>,
    most: usize,
    free: Semaphore,
    idle: Mutex<Idle<Connection>>,
    opened: AtomicU64,
}

/// Connections that nobody uses now, by host, and which was put back when.
struct Idle<C> {
    by_host: HashMap<usize, (u64, C)>,
    by_age: BTreeMap<u64, usize>,
    puts: u64,
    taken: usize,
}

impl<C> Default for Idle<C> {
    fn default() -> Self {
        Self {
            by_host: HashMap::new(),
            by_age: BTreeMap::new(),
            puts: 0,
            taken: 0,
        }
    }
}

impl<C> Idle<C> {
    /// Takes the place of one connection, the host's own if there is one; closes others that are then too many.
    fn take(&mut self, host: usize, most: usize) -> Option<C> {
        self.taken += 1;
        let own = self.by_host.remove(&host).map(|(age, connection)| {
            self.by_age.remove(&age);
            connection
        });
        while self.by_host.len() + self.taken > most {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                break;
            };
            self.by_host.remove(&oldest);
        }
        own
    }

    fn put(&mut self, host: usize, connection: Option<C>) {
        self.taken -= 1;
        let Some(connection) = connection else {
            return;
        };
        self.puts += 1;
        self.by_age.insert(self.puts, host);
        self.by_host.insert(host, (self.puts, connection));
    }
}

impl Pool {
    /// Of at most `most` connections to `endpoint`.
    pub(crate) fn new(endpoint: Arc<Endpoint>, most: usize) -> Self {
        Self {
            endpoint,
            most,
            free: Semaphore::new(most),
            idle: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// How many connections were opened so far: each is a handshake.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// The place of one connection, for the host with this number.
    pub(crate) async fn lease(&self, host: usize) -> anyhow::Result<Lease<'_>> {
        let permit = self.free.acquire().await?;
        let connection = self.idle().take(host, self.most);
        Ok(Lease {
            pool: self,
            host,
            connection,
            _permit: permit,
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the pool, given back when it is dropped.
pub(crate) struct Lease<'a> {
    pool: &'a Pool,
    host: usize,
    connection: Option<Connection>,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// Sends a request: once again, byte for byte, if a connection that was open before turns out to be lost.
    pub(crate) async fn post(
        &mut self,
        tls: &Arc<ClientConfig>,
        path: &str,
        bearer: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        if let Some(open) = self.connection.take_if(|open| open.is_open()) {
            let sent = open.send(Method::POST, path, bearer, body.clone()).await;
            if let Ok(answer) = sent {
                self.connection = Some(open);
                return Ok(answer);
            }
        }
        // The old one is closed before there is a new one.
        self.connection = None;
        self.pool.opened.fetch_add(1, Ordering::Relaxed);
        let new = Connection::open(&self.pool.endpoint, tls).await?;
        let answer = new.send(Method::POST, path, bearer, body).await?;
        self.connection = Some(new);
        Ok(answer)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take();
        self.pool.idle().put(self.host, connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_used_longest_ago_is_closed_first() {
        let mut idle = Idle::default();
        for host in [1, 2, 3] {
            assert_eq!(idle.take(host, 3), None);
            idle.put(host, Some(host));
        }
        assert_eq!(idle.take(1, 3), Some(1));
        idle.put(1, Some(1));
        // 2 is now the oldest, and the fourth connection takes its place.
        assert_eq!(idle.take(4, 3), None);
        idle.put(4, Some(4));
        assert_eq!(idle.take(2, 3), None);
        assert_eq!(idle.by_host.len(), 2);
        idle.put(2, None);
        assert_eq!(idle.take(1, 3), Some(1));
        assert_eq!(idle.take(4, 3), Some(4));
    }
}
