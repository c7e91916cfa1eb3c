//! Calls of containerd's API: gRPC over HTTP/2 on its unix socket, each bounded in time and in bytes.
//!
//! A dozen calls do not need a framework; HTTP/2 is the crate that reqwest rests on.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Until the connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// Until an answer is whole: removing what an image kept can mean gigabytes.
const ANSWER: Duration = Duration::from_secs(120);
/// Largest answer, bytes: what containerd itself sends at most in one message.
const ANSWER_MAX: usize = 16 << 20;
/// Most bytes that containerd may send before it is told that some were read.
const WINDOW: u32 = 1 << 20;
/// Before a message: whether it is compressed, and its length (gRPC over HTTP/2).
const HEAD: usize = 5;
/// `NOT_FOUND`: as good as removed.
const NOT_FOUND: u32 = 5;
/// `FAILED_PRECONDITION`, which here means that something is over already.
const FAILED_PRECONDITION: u32 = 9;

/// Why containerd did not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nothing answers at the socket.
    #[error(
        "cannot reach containerd at `{socket}`; see that it runs, and that the agent may use its socket"
    )]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The connection broke.
    #[error("containerd broke off `{call}`; see its log")]
    Lost {
        /// Path of the call.
        call: &'static str,
        /// Why.
        source: h2::Error,
    },

    /// No whole answer in time.
    #[error("containerd did not answer `{0}` in time; see its log")]
    Slow(&'static str),

    /// It says no.
    #[error("containerd refuses `{call}` (code {code}): {message}")]
    Refused {
        /// Path of the call.
        call: &'static str,
        /// gRPC status.
        code: u32,
        /// Its words.
        message: String,
    },

    /// More than 16 MiB.
    #[error("containerd answers `{0}` with more than {ANSWER_MAX} bytes")]
    TooLarge(&'static str),

    /// No messages of the API.
    #[error(
        "what answers `{0}` is no containerd that this agent knows; see that the socket is containerd's"
    )]
    Answer(&'static str),
}

impl Error {
    /// Whether the thing is not there, or has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if [NOT_FOUND, FAILED_PRECONDITION].contains(code))
    }
}

/// A connection, which ends with this value.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(super) async fn open(socket: &Path) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable {
            socket: socket.to_owned(),
            source,
        };
        let late = || unreachable(io::ErrorKind::TimedOut.into());
        let stream = timeout(CONNECT, UnixStream::connect(socket)).await;
        let stream = stream.map_err(|_| late())?.map_err(unreachable)?;
        let mut handshake = h2::client::Builder::new();
        handshake
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let opened = timeout(CONNECT, handshake.handshake(stream)).await;
        let opened = opened.map_err(|_| late())?;
        let (requests, connection) =
            opened.map_err(|source| unreachable(io::Error::other(source)))?;
        // How it ends is told to the calls that are under way.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Self { requests, driver })
    }

    /// One call: the messages of the answer, of which there is one unless the call streams.
    pub(super) async fn ask<A: Message + Default>(
        &self,
        call: &'static str,
        namespace: &str,
        request: &impl Message,
    ) -> Result<Vec<A>, Error> {
        let answer = timeout(ANSWER, self.exchange(call, namespace, request)).await;
        let body = answer.map_err(|_| Error::Slow(call))??;
        messages(&body).ok_or(Error::Answer(call))
    }

    async fn exchange(
        &self,
        call: &'static str,
        namespace: &str,
        message: &impl Message,
    ) -> Result<Vec<u8>, Error> {
        let lost = |source| Error::Lost { call, source };
        let request = Request::post(format!("http://containerd{call}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("containerd-namespace", namespace)
            .body(())
            .map_err(|_| Error::Answer(call))?;
        let mut requests = self.requests.clone().ready().await.map_err(lost)?;
        let (response, mut sending) = requests.send_request(request, false).map_err(lost)?;
        sending.send_data(frame(message), true).map_err(lost)?;
        let response = response.await.map_err(lost)?;
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(part) = incoming.data().await {
            let part = part.map_err(lost)?;
            if body.len().saturating_add(part.len()) > ANSWER_MAX {
                return Err(Error::TooLarge(call));
            }
            body.extend_from_slice(&part);
            let _more = incoming.flow_control().release_capacity(part.len());
        }
        // A refusal may be headers alone.
        let trailers = incoming.trailers().await.map_err(lost)?;
        status(call, trailers.as_ref().unwrap_or(&head.headers)).map(|()| body)
    }
}

fn status(call: &'static str, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => Ok(()),
        Some(code) => Err(Error::Refused {
            call,
            code,
            message: text("grpc-message").unwrap_or_default().to_owned(),
        }),
        None => Err(Error::Answer(call)),
    }
}

fn frame(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    // Requests are names and digests.
    frame.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    frame.extend_from_slice(&message);
    frame.into()
}

/// `None`: compressed, cut off, or not of this type.
fn messages<A: Message + Default>(mut body: &[u8]) -> Option<Vec<A>> {
    let mut messages = Vec::new();
    while let Some((&[compressed, a, b, c, d], rest)) = body.split_first_chunk::<HEAD>() {
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let (message, rest) = rest.split_at_checked(length).filter(|_| compressed == 0)?;
        messages.push(A::decode(message).ok()?);
        body = rest;
    }
    body.is_empty().then_some(messages)
}

#[cfg(test)]
mod tests {
    use super::super::messages::Named;
    use super::*;

    #[test]
    fn messages_are_read_one_behind_the_other_and_only_whole() {
        let one = |name: &str| {
            frame(&Named {
                name: name.to_owned(),
            })
        };
        let both = [one("a"), one("b")].concat();
        let names = messages::<Named>(&both).unwrap_or_default();
        assert_eq!(
            names.iter().map(|named| &*named.name).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(messages::<Named>(&[]), Some(Vec::new()));
        for cut in 1..both.len() / 2 {
            assert_eq!(messages::<Named>(&both[..both.len() - cut]), None, "{cut}");
        }
        let compressed = [&[1][..], &one("a")[1..]].concat();
        assert_eq!(messages::<Named>(&compressed), None);
    }

    #[test]
    fn only_a_status_of_zero_is_good() {
        let said = |code: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(code) = code.and_then(|code| code.parse().ok()) {
                headers.insert("grpc-status", code);
            }
            status("/x", &headers)
        };
        assert!(said(Some("0")).is_ok());
        assert!(matches!(said(Some("5")), Err(error) if error.is_over()));
        assert!(matches!(said(Some("13")), Err(error) if !error.is_over()));
        assert!(matches!(said(None), Err(Error::Answer(_))));
    }
}
