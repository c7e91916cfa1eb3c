//! HTTP/1.1 over TLS 1.3 to the attestor, as the agent speaks it: one pinned CA, nothing followed, everything bounded.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Until the whole answer is there.
const ANSWER: Duration = Duration::from_secs(30);
/// Largest answer, bytes.
const ANSWER_MAX: usize = 4 << 20;
/// Tickets that a host keeps: the attestor gives two with a handshake.
const TICKETS: usize = 2;

/// Where the attestor is.
#[derive(Debug)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    name: ServerName<'static>,
    /// Scheme, authority and path, without a slash at the end.
    base: String,
}

impl Endpoint {
    /// From its base URL.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: Option<Uri> = url.parse().ok();
        let uri = uri.filter(|uri| uri.scheme_str() == Some("https") && uri.query().is_none());
        let wrong =
            || format!("`{url}` is not an attestor's address; give --server https://NAME:PORT");
        let uri = uri.with_context(wrong)?;
        let host = uri.host().with_context(wrong)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            port: uri.port_u16().unwrap_or(443),
            name: ServerName::try_from(host.clone()).with_context(wrong)?,
            base: url.trim_end_matches('/').to_owned(),
            host,
        })
    }

    /// Name and port.
    fn authority(&self) -> &str {
        self.base.trim_start_matches("https://")
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }
}

/// TLS settings that all connections share.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Tls {
    /// Believes this CA (PEM) alone.
    pub(crate) fn pinned(ca: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        Ok(Self {
            verifier: verifier.build()?,
            provider,
        })
    }

    /// For a caller without a key of its own.
    pub(crate) fn anonymous(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(Arc::clone(&self.verifier));
        Ok(finished(builder.with_no_client_auth()))
    }

    /// For a host with this key.
    pub(crate) fn of_host(
        &self,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> anyhow::Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(Arc::clone(&self.verifier));
        Ok(finished(
            builder.with_client_auth_cert(vec![certificate], key)?,
        ))
    }
}

fn finished(mut configuration: ClientConfig) -> Arc<ClientConfig> {
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    configuration.resumption = Resumption::in_memory_sessions(TICKETS);
    Arc::new(configuration)
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// When to come again, if it says so.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// A problem as the attestor sends it (RFC 9457).
#[derive(Deserialize)]
pub(crate) struct Problem {
    r#type: String,
    pub(crate) detail: String,
}

impl Problem {
    /// Its code.
    pub(crate) fn code(&self) -> &str {
        self.r#type.trim_start_matches("touchstone:")
    }
}

impl Answer {
    /// Whether it is what was asked for.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What it refuses. Who answers otherwise is no attestor.
    pub(crate) fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Problem {
            r#type: format!("status-{}", self.status),
            detail: "the answer is not an attestor's; see what stands at this address".to_owned(),
        })
    }
}

/// One connection; clones share it, one request after the other.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: Arc<Mutex<SendRequest<Full<Bytes>>>>,
    endpoint: Arc<Endpoint>,
}

impl Connection {
    /// Connects and shakes hands.
    pub(crate) async fn open(
        endpoint: &Arc<Endpoint>,
        tls: &Arc<ClientConfig>,
    ) -> anyhow::Result<Self> {
        let opened = timeout(CONNECT, Self::shake_hands(endpoint, tls)).await;
        let opened = opened.unwrap_or_else(|_| Err(anyhow!("no answer within {CONNECT:?}")));
        opened.with_context(|| {
            format!(
                "cannot connect to `{}`; see that the attestor runs there, with the folder that the operator's \
                 credential came from",
                endpoint.base
            )
        })
    }

    async fn shake_hands(
        endpoint: &Arc<Endpoint>,
        tls: &Arc<ClientConfig>,
    ) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(endpoint.name.clone(), tcp).await?;
        let io = TokioIo::new(stream);
        let (sender, driver) = http1::handshake(io).await?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told by the sender.
            let _ended = driver.await;
        });
        Ok(Self {
            sender: Arc::new(Mutex::new(sender)),
            endpoint: Arc::clone(endpoint),
        })
    }

    /// Whether requests can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        // One that is in use is open.
        self.sender
            .try_lock()
            .map_or(true, |sender| !sender.is_closed())
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.endpoint.authority());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(secret) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {secret}"));
        }
        let request = request.body(Full::new(body))?;
        let answer = timeout(ANSWER, self.exchange(request)).await;
        answer.unwrap_or_else(|_| Err(anyhow!("no answer within {ANSWER:?}")))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let mut sender = self.sender.lock().await;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let seconds = response.headers().get(RETRY_AFTER);
        let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| anyhow!(error))?.to_bytes();
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn an_attestor_has_an_https_address() {
        let good = Endpoint::parse("https://[::1]:8443/").unwrap();
        assert_eq!((good.host.as_str(), good.port), ("::1", 8443));
        assert_eq!(good.url(), "https://[::1]:8443");
        assert_eq!(Endpoint::parse("https://a").unwrap().port, 443);
        for bad in ["http://a:1", "a:8443", "", "https://", "https://a/?b"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_has_its_code_and_what_is_no_attestor_its_status() {
        let answer = |body: &'static str| Answer {
            status: 403,
            retry_after: None,
            body: Bytes::from_static(body.as_bytes()),
        };
        let problem = answer(r#"{"type":"touchstone:not-newer","detail":"x","status":403}"#);
        assert_eq!(problem.problem().code(), "not-newer");
        assert_eq!(answer("<html>").problem().code(), "status-403");
    }
}
