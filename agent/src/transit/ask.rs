//! `touchstone-agent transit`: asks the daemon, which alone has the TPM's keys, on its socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::secret::{SECRET_MAX, TEXT_MAX};
use zeroize::Zeroizing;

use super::message::Base64;
use super::service::BODY_MAX;
use crate::keyprovider::EXIT_CODE;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// What broke a connection.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than is taken.
    #[error(
        "there are more than {0} bytes; encrypt what is larger with a key of your own, and that key here"
    )]
    TooLarge(usize),

    /// Nothing.
    #[error(
        "there is no secret on standard input; see that what should have written it did not fail, or say `--allow-empty`"
    )]
    Empty,

    /// Not what `encrypt` gave.
    #[error("what is to be decrypted is no text; give it as `encrypt` gave it, `vault:vN:…`")]
    NotText,

    /// No daemon.
    #[error(
        "nothing answers at `{path}`; see that `touchstone-agent run` runs and that this is root; if it serves secrets at \
         another socket, name that with `--socket` or TOUCHSTONE_TRANSIT"
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
        "what answers at `{path}` broke off; see the log of `touchstone-agent run`, then try again"
    )]
    BrokeOff {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: Cause,
    },

    /// Its answer.
    #[error("what answers at `{0}` is no agent of this version; restart `touchstone-agent run`")]
    Answer(PathBuf),

    /// The daemon refuses.
    #[error("{text}")]
    Refused {
        /// Its words.
        text: String,
        /// How the program is to end.
        exit_code: u8,
        /// Whether trying again may help.
        passes: bool,
    },
}

impl Error {
    /// Whether the same may be answered in a while, though nobody does anything.
    fn passes(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Late { .. } | Self::BrokeOff { .. } => true,
            Self::Refused { passes, .. } => *passes,
            Self::TooLarge(_) | Self::Empty | Self::NotText | Self::Answer(_) => false,
        }
    }
}

/// A daemon's socket, and for how long it is tried again where that may help.
#[derive(Clone, Copy, Debug)]
pub struct Daemon<'a> {
    /// The socket.
    pub socket: &'a Path,
    /// Since the first try.
    pub wait: Duration,
    /// For how long one answer is waited for.
    pub patience: Duration,
}

/// The parameters of a call.
#[derive(Serialize)]
struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<&'a str>,
    associated_data: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    ciphertext: Option<String>,
    plaintext: Option<Base64>,
}

impl Daemon<'_> {
    /// Encrypts a secret: `vault:vN:…`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the daemon's words; else why it was not asked.
    pub async fn encrypt(
        &self,
        key: &KeyName,
        secret: &[u8],
        associated: &str,
    ) -> Result<String, Error> {
        if secret.len() > SECRET_MAX {
            return Err(Error::TooLarge(SECRET_MAX));
        }
        let plaintext = Zeroizing::new(STANDARD.encode(secret));
        let question = Question {
            plaintext: Some(&plaintext),
            ciphertext: None,
            associated_data: STANDARD.encode(associated),
        };
        let data = self.ask("encrypt", key, &question).await?;
        data.ciphertext.ok_or_else(|| self.no_answer())
    }

    /// Decrypts what [`Daemon::encrypt`] gave.
    ///
    /// # Errors
    /// As there.
    pub async fn decrypt(
        &self,
        key: &KeyName,
        ciphertext: &[u8],
        associated: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let text = std::str::from_utf8(ciphertext).map_err(|_| Error::NotText)?;
        let text = text.trim_ascii();
        if text.len() > TEXT_MAX {
            return Err(Error::TooLarge(TEXT_MAX));
        }
        let question = Question {
            plaintext: None,
            ciphertext: Some(text),
            associated_data: STANDARD.encode(associated),
        };
        let data = self.ask("decrypt", key, &question).await?;
        let plaintext = data.plaintext.map(|Base64(plaintext)| plaintext);
        plaintext.ok_or_else(|| self.no_answer())
    }

    async fn ask(&self, act: &str, key: &KeyName, question: &Question<'_>) -> Result<Data, Error> {
        let path = format!("/v1/transit/{act}/{key}");
        // Room for all of it: what grows leaves copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(BODY_MAX));
        serde_json::to_writer(&mut *body, question).map_err(|_| self.no_answer())?;
        let deadline = Instant::now() + self.wait;
        loop {
            match self.ask_once(&path, body.clone()).await {
                Err(error) if error.passes() && Instant::now() + PAUSE <= deadline => {
                    tracing::info!("trying again: {error}");
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    fn no_answer(&self) -> Error {
        Error::Answer(self.socket.to_owned())
    }

    async fn ask_once(&self, path: &str, body: Zeroizing<Vec<u8>>) -> Result<Data, Error> {
        let stream = UnixStream::connect(self.socket).await;
        let stream = stream.map_err(|source| Error::Away {
            path: self.socket.to_owned(),
            source,
        })?;
        let exchanged = timeout(self.patience, exchange(stream, path, body)).await;
        let exchanged = exchanged.map_err(|_| Error::Late {
            path: self.socket.to_owned(),
            seconds: self.patience.as_secs(),
        })?;
        let (status, headers, answer) = exchanged.map_err(|source| Error::BrokeOff {
            path: self.socket.to_owned(),
            source,
        })?;
        self.read(status, &headers, &answer)
    }

    fn read(&self, status: StatusCode, headers: &HeaderMap, answer: &[u8]) -> Result<Data, Error> {
        let read: Result<Answer, _> = serde_json::from_slice(answer);
        let answer = read.map_err(|_| self.no_answer())?;
        if let (StatusCode::OK, Some(data)) = (status, answer.data) {
            return Ok(data);
        }
        let exit_code = headers.get(EXIT_CODE);
        let exit_code = exit_code.and_then(|code| code.to_str().ok()?.parse().ok());
        Err(Error::Refused {
            text: match answer.errors.is_empty() {
                true => "it gives no reason".to_owned(),
                false => answer.errors.join("; "),
            },
            exit_code: exit_code.filter(|code| *code > 0).unwrap_or(1),
            passes: matches!(
                status,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            ),
        })
    }
}

async fn exchange(
    stream: UnixStream,
    path: &str,
    body: Zeroizing<Vec<u8>>,
) -> Result<(StatusCode, HeaderMap, Bytes), Cause> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = std::pin::pin!(connection);
    let request = Request::post(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from_owner(body)))?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await?;
        Ok((head.status, head.headers, body.to_bytes()))
    };
    tokio::select! {
        answer = answer => answer,
        ended = &mut connection => {
            ended?;
            Err("the connection ended".into())
        }
    }
}
