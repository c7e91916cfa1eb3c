//! The key provider's two calls as gRPC (HTTP/2 without TLS) on the unix socket.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use touchstone_evidence::keyprovider::grpc::{self, BODY_MAX, Status, UNWRAP, WRAP};
use zeroize::Zeroizing;

use super::Refusal;
use super::desk::Desk;
use super::socket::{Socket, lets_in};
use crate::trouble::Trouble;

/// Connections at once: one for each call that may wait, and some that end.
const CONNECTIONS: usize = 48;
/// Calls at once on one of them.
const CALLS: u32 = 8;
/// How `touchstone-agent keyprovider` is to end.
pub(crate) const EXIT_CODE: &str = "touchstone-exit-code";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until it is dropped, and with it every connection.
pub(super) async fn serve(socket: Socket, desk: Arc<Desk>) {
    let connection = |stream, user| connection(stream, user, desk.clone());
    socket.serve(CONNECTIONS, connection).await;
}

async fn connection(stream: UnixStream, user: u32, desk: Arc<Desk>) {
    let calls = service_fn(move |request| call(desk.clone(), user, request));
    let mut server = http2::Builder::new(TokioExecutor::new());
    let server = server.max_concurrent_streams(CALLS);
    // A caller that goes away is no trouble of ours.
    let _ended = server.serve_connection(TokioIo::new(stream), calls).await;
}

async fn call(
    desk: Arc<Desk>,
    user: u32,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    Ok(match answer(&desk, user, request).await {
        Ok(json) => answered(&json),
        Err(refusal) => refused(&refusal),
    })
}

async fn answer(
    desk: &Desk,
    user: u32,
    request: Request<Incoming>,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    if !lets_in(user) {
        return Err(Refusal::Stranger(user));
    }
    match request.uri().path() {
        UNWRAP if request.method() == Method::POST => {}
        WRAP => return Err(Refusal::Wrap),
        other => {
            let shown: String = other.chars().take(80).collect();
            return Err(Refusal::Call(shown.escape_debug().to_string()));
        }
    }
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let body = body.map_err(|_| Refusal::Body)?.to_bytes();
    desk.answer(grpc::parse(&body)?).await
}

fn answered(json: &[u8]) -> Response<Body> {
    // Wiped when it has been sent; what hyper and the kernel copy is theirs.
    let body = Full::new(Bytes::from_owner(grpc::frame(json)));
    let body = body.with_trailers(async { Some(Ok(status(Status::Ok, "", 0))) });
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, content_type());
    response
}

/// "Trailers-Only": the status stands in the headers, and there is no body.
fn refused(refusal: &Refusal) -> Response<Body> {
    let exit_code = Trouble::from(refusal).exit_code();
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.headers_mut() = status(refusal.status(), &refusal.text(), exit_code);
    response.headers_mut().insert(CONTENT_TYPE, content_type());
    response
}

fn content_type() -> HeaderValue {
    HeaderValue::from_static(grpc::CONTENT_TYPE)
}

fn status(code: Status, text: &str, exit_code: u8) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from(u16::from(code.code())));
    headers.insert(EXIT_CODE, HeaderValue::from(u16::from(exit_code)));
    // Percent-encoded, it is always a header's value.
    if let Ok(text) = HeaderValue::from_str(&grpc::message(text)) {
        headers.insert("grpc-message", text);
    }
    headers
}
