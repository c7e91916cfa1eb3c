//! The key provider as gRPC on a Unix socket of mode 0600.

use std::convert::Infallible;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use touchstone_evidence::keyprovider::MessageError;
use touchstone_evidence::keyprovider::grpc::{self, BODY_MAX, Status, UNWRAP, WRAP};

use super::super::client::is_refused;

/// Why a call is not answered, for whoever waits at the terminal.
type Refusal = (Status, String);
type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Serves until SIGTERM or SIGINT, and takes the socket away at the end.
pub(super) async fn serve(credential: &Path, socket: &Path) -> anyhow::Result<()> {
    let listener = listen(socket)?;
    let credential: Arc<Path> = credential.into();
    let mut terminate = signal(SignalKind::terminate())?;
    eprintln!(
        "touchstone: the key provider listens on {}",
        socket.display()
    );
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        let (stream, _) = accepted.context("cannot accept on the socket")?;
        let credential = Arc::clone(&credential);
        tokio::spawn(async move {
            let calls = service_fn(|request| call(Arc::clone(&credential), request));
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A caller that goes away is no trouble of ours.
            let _ended = server.serve_connection(TokioIo::new(stream), calls).await;
        });
    }
    let _taken_away = fs::remove_file(socket);
    Ok(())
}

/// The socket: made beside its place with mode 0600, and put there when nobody else can use it any more. One that is
/// left over is replaced.
fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    let shown = socket.display();
    match fs::symlink_metadata(socket) {
        Ok(found) => ensure!(
            found.file_type().is_socket(),
            "`{shown}` is there and is no socket; choose another path with --socket"
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot look at `{shown}`")),
    }
    let mut unfinished = socket.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let _absent = fs::remove_file(&unfinished);
    let listener = UnixListener::bind(&unfinished)
        .with_context(|| format!("cannot listen on `{shown}`; is its folder there?"))?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
    fs::rename(&unfinished, socket)?;
    Ok(listener)
}

async fn call(
    credential: Arc<Path>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let answered = match answer(&credential, request).await {
        Ok(json) => answered(&json),
        Err((status, text)) => refused(status, &text),
    };
    Ok(answered)
}

async fn answer(credential: &Path, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
    let known = [WRAP, UNWRAP].contains(&request.uri().path());
    if request.method() != Method::POST || !known {
        let said = format!(
            "there is no call `{}` here",
            request.uri().path().escape_debug()
        );
        return Err((Status::Unimplemented, said));
    }
    let invalid = |text: String| (Status::InvalidArgument, text);
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let body = body.map_err(|_| invalid("the message is too large, or broke off".to_owned()))?;
    let body = body.to_bytes();
    let message = grpc::parse(&body).map_err(|error| invalid(error.to_string()))?;
    let answer = super::answer(credential, message).await;
    answer.map_err(|error| {
        let status = match (is_refused(&error), error.is::<MessageError>()) {
            (true, _) => Status::PermissionDenied,
            (_, true) => Status::InvalidArgument,
            _ => Status::Unavailable,
        };
        (status, format!("touchstone: {error:#}"))
    })
}

fn answered(json: &[u8]) -> Response<Answer> {
    let body = Full::new(Bytes::from(grpc::frame(json).to_vec()));
    let body = body.with_trailers(async { Some(Ok(status(Status::Ok, ""))) });
    let mut response = Response::new(body.boxed_unsync());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

/// "Trailers-Only": the status stands in the headers, and there is no body.
fn refused(code: Status, text: &str) -> Response<Answer> {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.headers_mut() = status(code, text);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

fn status(code: Status, text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from(u16::from(code.code())));
    // Percent-encoded, it is always a header's value.
    if let Ok(text) = HeaderValue::from_str(&grpc::message(text)) {
        headers.insert("grpc-message", text);
    }
    headers
}
