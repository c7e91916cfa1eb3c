//! `touchstone-agent keyprovider`: the key provider as a program that ocicrypt runs for each layer. It asks the
//! daemon, which alone has the TPM's keys.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::time::timeout;
use touchstone_evidence::keyprovider::MESSAGE_MAX;
use touchstone_evidence::keyprovider::grpc::{self, BODY_MAX, FrameError, UNWRAP};
use zeroize::Zeroizing;

use super::grpc::EXIT_CODE;

/// What broke a connection.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than any message has.
    #[error("the message on standard input has more than {MESSAGE_MAX} bytes")]
    TooLarge,

    /// No daemon.
    #[error(
        "no key provider answers at `{path}`; see that `touchstone-agent run` runs and that this is root; if it serves at \
         another socket, name that with `--socket` or TOUCHSTONE_KEYPROVIDER"
    )]
    Away {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The daemon takes too long.
    #[error(
        "no answer yet from `{path}` after {seconds} s; see the log of `touchstone-agent run`, then try again, or wait longer \
         with `--patience`"
    )]
    Late {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },

    /// The daemon ended, or is none.
    #[error(
        "the key provider at `{path}` broke off; see the log of `touchstone-agent run`, then try again"
    )]
    BrokeOff {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: Cause,
    },

    /// Its answer.
    #[error(
        "the key provider at `{path}` answers as none of this version; restart `touchstone-agent run`"
    )]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        source: FrameError,
    },

    /// The daemon refuses.
    #[error("{text}")]
    Refused {
        /// Its words.
        text: String,
        /// How the program is to end.
        exit_code: u8,
    },
}

/// Sends a message of ocicrypt's, and gives the daemon's answer, for which it waits so long: JSON, with the layer's key.
///
/// # Errors
/// [`Error::Refused`] with the daemon's words; else why it was not asked.
pub async fn ask(
    socket: &Path,
    message: &[u8],
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    if message.len() > MESSAGE_MAX {
        return Err(Error::TooLarge);
    }
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| Error::Away {
            path: socket.to_owned(),
            source,
        })?;
    let exchanged = timeout(patience, exchange(stream, message)).await;
    let exchanged = exchanged.map_err(|_| Error::Late {
        path: socket.to_owned(),
        seconds: patience.as_secs(),
    })?;
    let (headers, body) = exchanged.map_err(|source| Error::BrokeOff {
        path: socket.to_owned(),
        source,
    })?;
    read(socket, &headers, &body)
}

/// What the answer says about itself, before its body or after it, and its body.
async fn exchange(stream: UnixStream, message: &[u8]) -> Result<(HeaderMap, Bytes), Cause> {
    let stream = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    let mut connection = std::pin::pin!(connection);
    let request = Request::post(format!("http://localhost{UNWRAP}"))
        .header(CONTENT_TYPE, grpc::CONTENT_TYPE)
        .header(TE, "trailers")
        .body(Full::new(Bytes::from_owner(grpc::frame(message))))?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await?;
        let mut headers = head.headers;
        headers.extend(body.trailers().cloned().unwrap_or_default());
        Ok((headers, body.to_bytes()))
    };
    tokio::select! {
        answer = answer => answer,
        ended = &mut connection => {
            ended?;
            Err("the connection ended".into())
        }
    }
}

fn read(socket: &Path, headers: &HeaderMap, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let number = |name| headers.get(name)?.to_str().ok()?.parse::<u8>().ok();
    if number("grpc-status") == Some(grpc::Status::Ok.code()) {
        let json = grpc::parse(body).map_err(|source| Error::Answer {
            path: socket.to_owned(),
            source,
        })?;
        return Ok(Zeroizing::new(json.to_vec()));
    }
    let text = headers.get("grpc-message").map(HeaderValue::as_bytes);
    Err(Error::Refused {
        text: text.map_or_else(|| "it gives no reason".to_owned(), grpc::text),
        exit_code: number(EXIT_CODE).filter(|code| *code > 0).unwrap_or(1),
    })
}
