//! The yardstick of a webhook: a server that takes reviews over TLS, parses them, and decides nothing.
//!
//! What an attestor's review costs beside one of these is its own work; the rest is TLS, HTTP and JSON.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustix::time::{ClockId, clock_gettime};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::version::TLS13;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::metrics;

/// Largest review, as attestors take them.
const REVIEW_MAX: usize = 4 << 20;
/// Where reviews go.
const REVIEWS: &str = "/reviews";

/// A review, as far as a webhook needs it whatever it decides.
#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Asked<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    uid: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The object of a binding's review.
#[derive(Deserialize)]
struct Binding {
    #[expect(dead_code, reason = "it is parsed, and that is all")]
    metadata: Metadata,
    #[expect(dead_code, reason = "it is parsed, and that is all")]
    target: Target,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and that is all")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and that is all")]
struct Target {
    name: String,
}

/// Serves until the process is stopped; writes to `credential` how it is reached, as an attestor's operator is told.
pub(crate) async fn serve(listen: SocketAddr, credential: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on `{listen}`"))?;
    let server = format!("https://{}", listener.local_addr()?);
    let (tls, ca) = identity(listener.local_addr()?)?;
    let webhook = format!("{server}{REVIEWS}");
    let reached = json!({ "server": server, "ca": ca, "token": "", "webhook": webhook });
    fs::write(credential, reached.to_string())
        .with_context(|| format!("cannot write `{}`", credential.display()))?;
    println!("listening on {server}");
    loop {
        let (connection, _) = listener.accept().await?;
        let tls = tls.clone();
        tokio::spawn(async move {
            // Whoever asked sees that it ended.
            let _ended = answer_all(connection, tls).await;
        });
    }
}

/// A key of its own, and a certificate that is its own CA.
fn identity(address: SocketAddr) -> anyhow::Result<(TlsAcceptor, String)> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([address.ip().to_string()])?.self_signed(&key)?;
    let chain = vec![certificate.der().clone()];
    let provider = Arc::new(aws_lc_rs::default_provider());
    let configuration = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key.into())?;
    Ok((
        TlsAcceptor::from(Arc::new(configuration)),
        certificate.pem(),
    ))
}

async fn answer_all(connection: TcpStream, tls: TlsAcceptor) -> anyhow::Result<()> {
    connection.set_nodelay(true)?;
    let stream = tls.accept(connection).await?;
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let answer = match (request.method(), request.uri().path()) {
        (&Method::POST, REVIEWS) => review(request.into_body()).await,
        (&Method::GET, "/metrics") => spent(),
        _ => None,
    };
    let mut response = Response::new(Full::default());
    match answer {
        Some(body) => *response.body_mut() = Full::new(body),
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// Parses one, and allows whatever it is.
async fn review(body: Incoming) -> Option<Bytes> {
    let body = Limited::new(body, REVIEW_MAX).collect().await.ok()?;
    let body = body.to_bytes();
    let review: Review = serde_json::from_slice(&body).ok()?;
    let _parsed: Binding = serde_json::from_str(review.request.object.get()).ok()?;
    let response = json!({ "uid": review.request.uid, "allowed": true });
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    });
    serde_json::to_vec(&answer).ok().map(Bytes::from)
}

/// What this process spent, as an attestor says it.
fn spent() -> Option<Bytes> {
    let cpu = std::time::Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()?;
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let resident = pages * rustix::param::page_size() as u64;
    let mut text = String::new();
    writeln!(text, "{} {}", metrics::CPU, cpu.as_secs_f64()).ok()?;
    writeln!(text, "{} {resident}", metrics::RESIDENT).ok()?;
    Some(text.into())
}
