//! The attestor, over TLS 1.3: one method for each request that an agent makes.
//!
//! Invariant: only the pinned CA is believed, redirects and proxies are not followed, and no answer
//! is read beyond [`ANSWER_MAX`].

mod disbelief;
mod error;
mod problem;
mod tls;

use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::{
    Activation, CA_HEADER, Challenge, DataKeyMade, Enrolled, EnrolmentChallenge, EnrolmentRequest,
    NODE_TOKEN_HEADER, Purge, PurgeNoted, Release, RoundAnswer,
};
use zeroize::Zeroizing;

use crate::node_token::NodeToken;
use crate::tls::TlsKey;

use disbelief::Disbelief;
pub use error::Error;
pub use problem::Problem;

/// Largest answer, bytes: a result of 256 KiB and its findings fit several times.
pub const ANSWER_MAX: usize = 1 << 20;

/// Until the connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Until the whole answer is there.
const ANSWER: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Error>;

/// Whether an attestor can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What keeps it from it.
    pub refusal: Option<Problem>,
    /// Its clock, seconds since 1970.
    pub date: Option<i64>,
}

/// The attestor's answer to evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The verdict, and the next challenge.
    pub answer: RoundAnswer,
    /// SHA-256 of the CA certificates (PEM) that a host is to believe, if the attestor says so.
    pub ca: Option<Sha256Digest>,
}

/// A connection to one attestor, as one TLS key. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    server: String,
    /// SHA-256 of the CA certificates that it believes.
    believed: String,
    /// SHA-256 of their PEM.
    ca: Sha256Digest,
}

impl Client {
    /// Sets up the connection; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Ca`] or [`Error::Tls`] if it cannot work.
    pub fn new(server: &str, ca: &str, key: &TlsKey) -> Result<Self> {
        let base = server
            .parse::<Url>()
            .ok()
            .filter(|url| url.scheme() == "https" && url.has_host() && url.query().is_none())
            .ok_or_else(|| Error::Server(server.to_owned()))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::configuration(ca, key)?)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent(concat!("touchstone-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::Setup)?;
        Ok(Self {
            http,
            base,
            server: server.to_owned(),
            believed: disbelief::fingerprints(ca),
            ca: Sha256Digest::of(ca.as_bytes()),
        })
    }

    /// SHA-256 of the CA certificates that it believes, as PEM.
    #[must_use]
    pub fn ca_digest(&self) -> Sha256Digest {
        self.ca
    }

    /// SHA-256 of the DER of each of them.
    #[must_use]
    pub fn believed(&self) -> &str {
        &self.believed
    }

    /// Begins an enrolment with the join token's `secret`.
    ///
    /// # Errors
    /// [`Error::Refused`] if the attestor does not want this TPM.
    pub async fn enrol(
        &self,
        secret: &str,
        request: &EnrolmentRequest,
    ) -> Result<EnrolmentChallenge> {
        let body = json(request)?;
        self.post("v1/enrolments", &body, Some(secret)).await
    }

    /// Completes an enrolment. It can be answered once: if the answer is lost, begin again.
    ///
    /// # Errors
    /// [`Error::Refused`] if the secret is wrong or came too late.
    pub async fn activate(&self, secret: &str, activation: &Activation) -> Result<Enrolled> {
        let body = Zeroizing::new(json(activation)?);
        self.post("v1/enrolments/activate", &body, Some(secret))
            .await
    }

    /// Asks for a challenge.
    ///
    /// # Errors
    /// [`Error::Refused`] if the TLS key is not of an enrolled host.
    pub async fn challenge(&self) -> Result<Challenge> {
        self.post("v1/challenges", &[], None).await
    }

    /// Says what was purged.
    ///
    /// # Errors
    /// [`Error::Refused`] if the TLS key is not of an enrolled host, or it said too much.
    pub async fn purged(&self, purge: &Purge) -> Result<PurgeNoted> {
        self.post("v1/purges", &json(purge)?, None).await
    }

    /// Sends evidence, already in JSON: once again, byte for byte, if the answer was lost, because the
    /// attestor keeps its answer to the same bytes.
    ///
    /// # Errors
    /// [`Error::Refused`] if it proves nothing. A bad verdict is an answer, not an error.
    pub async fn evidence(&self, evidence: &[u8]) -> Result<RoundAnswer> {
        Ok(self.round(evidence, None).await?.answer)
    }

    /// [`Client::evidence`], beside the token whose digest the evidence names; with what else the attestor says.
    ///
    /// # Errors
    /// As [`Client::evidence`].
    pub async fn round(&self, evidence: &[u8], token: Option<&NodeToken>) -> Result<Round> {
        match self.one_round(evidence, token).await {
            Err(error) if error.may_have_arrived() => {
                tracing::debug!("the answer was lost; sending the same evidence again");
                self.one_round(evidence, token).await
            }
            answer => answer,
        }
    }

    async fn one_round(&self, evidence: &[u8], token: Option<&NodeToken>) -> Result<Round> {
        let request = self.request("v1/evidence", evidence);
        let mut request = request.header(CA_HEADER, self.ca.to_string());
        if let Some(token) = token {
            request = request.header(NODE_TOKEN_HEADER, token.header());
        }
        let (headers, answer) = self.ask(request).await?;
        let ca = headers.get(CA_HEADER).and_then(|ca| ca.to_str().ok());
        Ok(Round {
            answer: self.parsed(&answer)?,
            ca: ca.and_then(|ca| ca.parse().ok()),
        })
    }

    /// Asks for the key of a layer; `request`: a [`ReleaseRequest`](touchstone_evidence::wire::ReleaseRequest), already in
    /// JSON. It is asked once: the answer to a round that was answered before holds no key.
    ///
    /// # Errors
    /// [`Error::Refused`] if this host may not have it; its detail says why, and what to do.
    pub async fn release(&self, request: &[u8]) -> Result<Release> {
        let (_, answer) = self.ask(self.request("v1/releases", request)).await?;
        self.parsed(&answer)
    }

    /// Asks for a new data key; `request`: a [`DataKeyWish`](touchstone_evidence::wire::DataKeyWish), already in JSON. It
    /// is asked once.
    ///
    /// # Errors
    /// As [`Client::release`].
    pub async fn make_data_key(&self, request: &[u8]) -> Result<DataKeyMade> {
        let (_, answer) = self.ask(self.request("v1/data-keys", request)).await?;
        self.parsed(&answer)
    }

    /// Asks for the data key of a secret; `request`: a [`DataKeyRequest`](touchstone_evidence::wire::DataKeyRequest),
    /// already in JSON. It is asked once.
    ///
    /// # Errors
    /// As [`Client::release`].
    pub async fn open_data_key(&self, request: &[u8]) -> Result<Release> {
        let (_, answer) = self.ask(self.request("v1/data-keys/open", request)).await?;
        self.parsed(&answer)
    }

    /// The CA certificates that the attestor says are to be believed, PEM that nobody has looked at.
    ///
    /// # Errors
    /// [`Error::Refused`] if the TLS key is not of an enrolled host.
    pub async fn ca(&self) -> Result<Vec<u8>> {
        let (_, answer) = self.ask(self.http.get(self.url("v1/ca"))).await?;
        Ok(answer)
    }

    /// Asks whether the attestor can do its work. It learns nothing by it but this host's TLS key.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::OtherCa`] or [`Error::Certificate`] if it is not reached.
    pub async fn readiness(&self) -> Result<Readiness> {
        let request = self.http.get(self.url("readyz"));
        let response = request.send().await.map_err(|source| self.lost(source))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = self.read(response).await?;
        let refusal = (status != StatusCode::OK)
            .then(|| Problem::read(status, problem::retry_after(&headers), &answer));
        let date = headers
            .get(header::DATE)
            .and_then(|date| date.to_str().ok());
        Ok(Readiness {
            refusal,
            date: date.and_then(seconds),
        })
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &[u8],
        bearer: Option<&str>,
    ) -> Result<T> {
        let mut request = self.request(path, body);
        if let Some(secret) = bearer {
            request = request.bearer_auth(secret);
        }
        let (_, answer) = self.ask(request).await?;
        self.parsed(&answer)
    }

    fn request(&self, path: &str, body: &[u8]) -> RequestBuilder {
        let request = self.http.post(self.url(path));
        match body.is_empty() {
            true => request,
            false => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_vec()),
        }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<(HeaderMap, Vec<u8>)> {
        let response = request.send().await.map_err(|source| self.lost(source))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = self.read(response).await?;
        if status != StatusCode::OK && status != StatusCode::CREATED {
            return Err(Problem::read(status, problem::retry_after(&headers), &answer).into());
        }
        Ok((headers, answer))
    }

    fn parsed<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T> {
        serde_json::from_slice(answer).map_err(|source| Error::Answer {
            server: self.server.clone(),
            source,
        })
    }

    /// Below the base, which may have a path of its own.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{path}",
            self.base.path().trim_end_matches('/')
        ));
        url
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>> {
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|source| self.lost(source))? {
            if answer.len().saturating_add(part.len()) > ANSWER_MAX {
                return Err(Error::TooLarge(self.server.clone()));
            }
            answer.extend_from_slice(&part);
        }
        Ok(answer)
    }

    fn lost(&self, source: reqwest::Error) -> Error {
        let (server, source) = (self.server.clone(), source.without_url());
        match disbelief::cause(&source) {
            Some(Disbelief::OtherCa) => Error::OtherCa {
                server,
                expected: self.believed.clone(),
                source,
            },
            Some(Disbelief::Certificate(wrong)) => Error::Certificate {
                server,
                wrong,
                source,
            },
            None => Error::Lost { server, source },
        }
    }
}

/// An HTTP date (RFC 9110 §5.6.7), which is one of mail too.
fn seconds(date: &str) -> Option<i64> {
    let date = OffsetDateTime::parse(date, &Rfc2822).ok()?;
    Some(date.unix_timestamp())
}

fn json(message: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(message).map_err(Error::Request)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    fn client(server: &str) -> Result<Client> {
        let key = TlsKey::generate().unwrap();
        Client::new(server, key.certificate(), &key)
    }

    #[test]
    fn paths_go_below_the_server() {
        for (server, url) in [
            ("https://a:8443", "https://a:8443/v1/evidence"),
            ("https://a:8443/", "https://a:8443/v1/evidence"),
            ("https://a/touchstone/", "https://a/touchstone/v1/evidence"),
        ] {
            assert_eq!(client(server).unwrap().url("v1/evidence").as_str(), url);
        }
    }

    #[test]
    fn an_http_date_is_seconds() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn only_https_and_only_a_readable_ca() {
        for server in ["http://a:8443", "a:8443", "", "https://", "https://a/?b"] {
            assert!(matches!(client(server), Err(Error::Server(_))), "{server}");
        }
        let key = TlsKey::generate().unwrap();
        assert!(matches!(Client::new("https://a", "", &key), Err(Error::Ca)));
    }
}
