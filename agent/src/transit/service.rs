//! The two calls of Vault's transit engine that are served, as HTTP/1.1 on the unix socket.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::time::timeout;
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::secret::{SECRET_MAX, Secret, SecretError};
use zeroize::Zeroizing;

use super::Refused;
use super::data_key::{HeldDataKey, NewDataKey};
use super::message::{self, Parameters};
use crate::keyprovider::socket::{Socket, lets_in};
use crate::keyprovider::{Desk, EXIT_CODE, Refusal};
use crate::trouble::Trouble;

/// Largest body, bytes: a ciphertext of the largest secret, and its associated data.
pub(super) const BODY_MAX: usize = 128 << 10;
/// Connections at once: one for each call that may wait for its key, and some that end.
const CONNECTIONS: usize = 48;
/// For the head of a request, also the next one on a connection, and for its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a request's head.
const HEAD_MAX: usize = 16 << 10;
const ENCRYPT: &str = "/v1/transit/encrypt/";
const DECRYPT: &str = "/v1/transit/decrypt/";

/// What is asked for.
enum Act {
    Encrypt(KeyName),
    Decrypt(KeyName),
}

/// Serves until it is dropped, and with it every connection.
pub(crate) async fn serve(socket: Socket, desk: Arc<Desk>) {
    let connection = |stream, user| connection(stream, user, desk.clone());
    socket.serve(CONNECTIONS, connection).await;
}

async fn connection(stream: UnixStream, user: u32, desk: Arc<Desk>) {
    let calls = service_fn(move |request| call(desk.clone(), user, request));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_MAX);
    // A caller that goes away is no trouble of ours.
    let _ended = server.serve_connection(TokioIo::new(stream), calls).await;
}

async fn call(
    desk: Arc<Desk>,
    user: u32,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match answer(&desk, user, request).await {
        // Wiped when it has been sent; what hyper and the kernel copy is theirs.
        Ok(json) => response(Bytes::from_owner(json)),
        Err(refused) => refusal(&refused),
    })
}

async fn answer(
    desk: &Desk,
    user: u32,
    request: Request<Incoming>,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    if !lets_in(user) {
        return Err(Refusal::Stranger(user).into());
    }
    let act = act(request.uri().path())?;
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return Err(Refused::Method);
    }
    let body = timeout(PATIENCE, whole(request.into_body())).await;
    let mut parameters = Parameters::parse(&body.map_err(|_| Refused::Broke)??)?;
    match act {
        Act::Encrypt(key) => encrypt(desk, key, &mut parameters).await,
        Act::Decrypt(key) => decrypt(desk, key, &mut parameters).await,
    }
}

fn act(path: &str) -> Result<Act, Refused> {
    match (path.strip_prefix(ENCRYPT), path.strip_prefix(DECRYPT)) {
        (Some(key), _) => Ok(Act::Encrypt(key.parse()?)),
        (_, Some(key)) => Ok(Act::Decrypt(key.parse()?)),
        _ => {
            let shown: String = path.chars().take(80).collect();
            Err(Refused::Route(shown.escape_debug().to_string()))
        }
    }
}

/// The body, which may hold a secret.
async fn whole(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Refused> {
    // Room for all that may come: what grows leaves copies behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(BODY_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refused::Broke)?;
        let part = frame.data_ref().map_or(&[][..], |part| part);
        if whole.len().saturating_add(part.len()) > BODY_MAX {
            return Err(Refused::TooLarge);
        }
        whole.extend_from_slice(part);
    }
    Ok(whole)
}

async fn encrypt(
    desk: &Desk,
    key: KeyName,
    parameters: &mut Parameters,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let plaintext = parameters.plaintext()?;
    // Before anybody is asked for a key.
    if plaintext.len() > SECRET_MAX {
        return Err(SecretError::TooLarge(plaintext.len()).into());
    }
    let made = desk.ask(ready(NewDataKey(key.clone()))).await;
    let (wrapped, data_key) = made.inspect_err(|refusal| {
        let error: &dyn std::error::Error = refusal;
        tracing::warn!(key.id = %key, error, "a secret is not encrypted");
    })?;
    let version = wrapped.untrusted_binding().key_version;
    if !matches!(parameters.key_version, 0) && parameters.key_version != version {
        return Err(Refused::KeyVersion {
            current: version,
            asked: parameters.key_version,
        });
    }
    let associated = &parameters.associated;
    let secret = Secret::seal(wrapped, &data_key, &plaintext, associated, random()?)?;
    tracing::info!(key.id = %key, "a secret was encrypted");
    message::encrypted(random()?, &secret.to_string(), version, &parameters.ignored)
}

async fn decrypt(
    desk: &Desk,
    key: KeyName,
    parameters: &mut Parameters,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let secret = Secret::parse(&parameters.ciphertext()?)?;
    let found = &secret.wrapped().untrusted_binding().key;
    if *found != key {
        let (found, asked) = (found.clone(), key);
        return Err(Refused::OtherKey { found, asked });
    }
    let opened = desk.ask(ready(HeldDataKey {
        wrapped: secret.wrapped().clone(),
        json: secret.wrapped_json().to_vec(),
    }));
    let data_key = opened.await.inspect_err(|refusal| {
        let error: &dyn std::error::Error = refusal;
        tracing::warn!(key.id = %key, error, "a secret stays closed");
    })?;
    let plaintext = secret.open(&data_key, &parameters.associated)?;
    tracing::info!(key.id = %key, "a secret was decrypted");
    message::decrypted(random()?, &plaintext, &parameters.ignored)
}

fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Refused::Unwritable)?;
    Ok(bytes)
}

fn response(json: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(json));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refusal(refused: &Refused) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "errors": [refused.text()] });
    let mut response = response(Bytes::from(body.to_string()));
    *response.status_mut() = refused.status();
    let exit_code = Trouble::from(refused).exit_code();
    let exit_code = HeaderValue::from(u16::from(exit_code));
    response.headers_mut().insert(EXIT_CODE, exit_code);
    response
}
