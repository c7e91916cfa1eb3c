//! Manifests and small blobs out of registries, while an API server waits: bounded in size, in time and in number at once,
//! and believed under their digest alone. Whoever names an image chooses who is asked, and oci-client reads an answer whole
//! whatever its size: so only its names are used here, and its calls are not.

use std::time::Duration;

use oci_client::Reference;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::oci_manifest::{Content, MANIFEST_MAX, ManifestError};

use super::pull_secrets::PullSecrets;
use super::turns::{Turn, Turns};
use crate::registries::{Credentials, CredentialsError, MEDIA_TYPES, is_here};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most redirections that are followed; registries send manifests themselves.
const REDIRECTIONS: usize = 2;
/// Longest answer of a token service, bytes.
const TOKEN_MAX: usize = 64 << 10;

/// Every registry that may be asked.
pub(super) struct Registries {
    https: Client,
    plain: Client,
    /// Registries on this machine that speak no TLS.
    without_tls: Vec<String>,
    credentials: Credentials,
    turns: Turns,
}

/// Where an image is, and what its registry is shown if it asks and the attestor has no credential of its own.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) image: &'a Reference,
    pub(super) secrets: &'a PullSecrets,
}

/// Why there is no manifest that can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Call(#[from] reqwest::Error),
    #[error("the registry answers {0}")]
    Status(StatusCode),
    #[error("the registry sent more than {0} bytes")]
    TooLarge(usize),
    #[error("the registry sent another manifest than the one that was asked for")]
    OtherManifest,
    #[error(
        "the registry demands what is no token and no password, or a token from where anybody on the way reads the \
         credential"
    )]
    Challenge,
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("the registry's token service sent no token")]
    NoToken,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the attestor ends")]
    Ending,
}

/// What a token service sends; older ones say `token`, those of OAuth 2.0 `access_token`.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registries {
    /// Those that the system's roots vouch for, and `without_tls`.
    pub(super) fn new(
        credentials: Credentials,
        without_tls: Vec<String>,
    ) -> Result<Self, reqwest::Error> {
        let builder = || Client::builder().timeout(PATIENCE);
        Ok(Self {
            https: builder()
                .https_only(true)
                .redirect(Policy::limited(REDIRECTIONS))
                .build()?,
            plain: builder().redirect(Policy::none()).build()?,
            without_tls,
            credentials,
            turns: Turns::default(),
        })
    }

    /// The manifest with this digest, read, from where `image` says.
    pub(super) async fn content(
        &self,
        from: Source<'_>,
        digest: &OciDigest,
    ) -> Result<Content, AskError> {
        let name = digest.to_string();
        let manifest = self.manifest_under(from, &name, MANIFEST_MAX).await?;
        let digest = *digest;
        apart(move || match digest_of(&manifest) == digest {
            true => Ok(Content::parse(&manifest)?),
            false => Err(AskError::OtherManifest),
        })
        .await?
    }

    /// The digest of what the tag of `image` stands for now: of its manifest as it comes, whatever the registry calls it.
    pub(super) async fn digest(&self, from: Source<'_>) -> Result<OciDigest, AskError> {
        let tag = from.image.tag().unwrap_or("latest");
        let manifest = self.manifest_under(from, tag, MANIFEST_MAX).await?;
        apart(move || digest_of(&manifest)).await
    }

    /// What stands under a tag or a digest of the repository of `image`, of `max` bytes at most; not compared with it.
    pub(super) async fn manifest_under(
        &self,
        from: Source<'_>,
        name: &str,
        max: usize,
    ) -> Result<Vec<u8>, AskError> {
        self.read(from, &format!("manifests/{name}"), max).await
    }

    /// The blob with this digest, of `max` bytes at most; not compared with it.
    pub(super) async fn blob(
        &self,
        from: Source<'_>,
        digest: &OciDigest,
        max: usize,
    ) -> Result<Vec<u8>, AskError> {
        self.read(from, &format!("blobs/{digest}"), max).await
    }

    async fn read(&self, from: Source<'_>, what: &str, max: usize) -> Result<Vec<u8>, AskError> {
        let image = from.image;
        let host = image.resolve_registry();
        let scheme = match self.is_plain(image) {
            true => "http",
            false => "https",
        };
        // None holds what has a meaning in a URL: all were read by the grammar of references.
        let repository = image.repository();
        let url = format!("{scheme}://{host}/v2/{repository}/{what}");
        let mut answer = self.get(image, &url, None).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let shown = self.authorization(from, &answer).await?;
            answer = self.get(image, &url, Some(shown)).await?;
        }
        body(answer, max).await
    }

    /// One of a few turns at the network, for a pod of this namespace.
    pub(super) async fn turn(&self, namespace: &str) -> Option<Turn<'_>> {
        self.turns.take(namespace).await
    }

    fn is_plain(&self, image: &Reference) -> bool {
        let host = image.resolve_registry();
        self.without_tls.iter().any(|plain| plain == host)
    }

    fn client(&self, image: &Reference) -> &Client {
        match self.is_plain(image) {
            true => &self.plain,
            false => &self.https,
        }
    }

    /// What asks the token service at `realm`, which the registry of `image` chose: it is shown the credential, so it is
    /// asked without TLS only where nobody is on the way.
    fn token_client(&self, image: &Reference, realm: &Url) -> Result<&Client, AskError> {
        match realm.scheme() {
            "https" => Ok(&self.https),
            "http" if self.is_plain(image) && realm.host_str().is_some_and(is_here) => {
                Ok(&self.plain)
            }
            _ => Err(AskError::Challenge),
        }
    }

    async fn get(
        &self,
        image: &Reference,
        url: &str,
        shown: Option<HeaderValue>,
    ) -> Result<Response, AskError> {
        let mut call = self.client(image).get(url);
        call = call.header(ACCEPT, MEDIA_TYPES.join(", "));
        if let Some(shown) = shown {
            call = call.header(AUTHORIZATION, shown);
        }
        Ok(call.send().await?)
    }

    /// What the registry wants to see (distribution's "token authentication", RFC 7617).
    async fn authorization(
        &self,
        from: Source<'_>,
        refusal: &Response,
    ) -> Result<HeaderValue, AskError> {
        let image = from.image;
        let challenge = refusal.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|value| value.to_str().ok());
        let challenge = challenge.ok_or(AskError::Challenge)?;
        let login = match self.credentials.of(image)? {
            Some(login) => Some(login),
            None => from.secrets.login(image).await?,
        };
        let scheme = challenge.split(' ').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("basic") {
            let login = login.ok_or(AskError::Status(StatusCode::UNAUTHORIZED))?;
            return secret(&login.basic());
        }
        let realm = parameter(challenge, "realm").and_then(|realm| Url::parse(realm).ok());
        let mut url = realm.ok_or(AskError::Challenge)?;
        let scope = format!("repository:{}:pull", image.repository());
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = parameter(challenge, "service") {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut call = self.token_client(image, &url)?.get(url);
        if let Some(login) = &login {
            call = call.header(AUTHORIZATION, secret(&login.basic())?);
        }
        let token = body(call.send().await?, TOKEN_MAX).await?;
        let token: Token = serde_json::from_slice(&token).map_err(|_| AskError::NoToken)?;
        let token = token.token.or(token.access_token);
        secret(&format!("Bearer {}", token.ok_or(AskError::NoToken)?))
    }
}

fn digest_of(manifest: &[u8]) -> OciDigest {
    OciDigest(Sha256Digest::of(manifest))
}

/// Work on up to 4 MiB, apart from the threads that answer everybody else.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AskError> {
    spawn_blocking(work).await.map_err(|_| AskError::Ending)
}

/// It is not shown where headers are logged.
fn secret(value: &str) -> Result<HeaderValue, AskError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| AskError::Challenge)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The quoted value of a challenge's parameter (RFC 9110 §11.2), without escapes.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (_, parameters) = challenge.split_once(' ')?;
    let begin = format!("{name}=\"");
    let at = parameters
        .match_indices(&begin)
        .find(|(at, _)| {
            matches!(
                parameters.as_bytes()[..*at].last(),
                None | Some(b' ' | b',')
            )
        })?
        .0;
    let value = parameters.get(at + begin.len()..)?;
    value.split('"').next()
}

/// A whole body of at most `max` bytes, of a call that went well.
async fn body(mut answer: Response, max: usize) -> Result<Vec<u8>, AskError> {
    if !answer.status().is_success() {
        return Err(AskError::Status(answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > max {
            return Err(AskError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn a_token_service_elsewhere_is_not_asked_without_tls() {
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let plain = "127.0.0.1:5000";
        let registries = Registries::new(Credentials::default(), vec![plain.to_owned()]).unwrap();
        let asks = |registry: &str, realm: &str| {
            let image: Reference = format!("{registry}/a").parse().unwrap();
            let client = registries.token_client(&image, &realm.parse().unwrap());
            client
                .ok()
                .map(|client| std::ptr::eq(client, &registries.plain))
        };
        for here in [
            "http://127.0.0.1:5001/token",
            "http://localhost/token",
            "http://[::1]:5001/token",
        ] {
            assert_eq!(asks(plain, here), Some(true), "{here}");
            assert_eq!(asks("registry.example", here), None, "{here}");
        }
        for elsewhere in [
            "http://auth.example/token",
            "http://127.0.0.1.example/token",
            "http://127.0.0.1@auth.example/token",
            "ftp://127.0.0.1/token",
        ] {
            assert_eq!(asks(plain, elsewhere), None, "{elsewhere}");
        }
        for registry in [plain, "registry.example"] {
            assert_eq!(asks(registry, "https://auth.example/token"), Some(false));
        }
    }

    #[test]
    fn the_parameters_of_a_challenge_are_told_apart() {
        let challenge =
            "Bearer realm=\"https://auth.example/token\",service=\"r.example\", xrealm=\"no\"";
        assert_eq!(
            parameter(challenge, "realm"),
            Some("https://auth.example/token")
        );
        assert_eq!(parameter(challenge, "service"), Some("r.example"));
        assert_eq!(parameter(challenge, "scope"), None);
        assert_eq!(parameter("Bearer xrealm=\"no\"", "realm"), None);
        assert_eq!(parameter("Bearer", "realm"), None);
    }
}
