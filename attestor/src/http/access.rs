//! Who may call a route. Each rule leaves the caller behind as a request extension; a handler that
//! needs one cannot run without it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::App;
use super::problem::Problem;
use crate::audit::Actor;
use crate::budgets::Coming;
use crate::clock;
use crate::credentials;
use crate::enrollment::Joining;
use crate::refusals::Stranger;
use crate::role::{Role, Way};
use crate::store::{End, StoreError, Tx};
use crate::tls::Peer;

/// The rule of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is asked.
    Anyone,
    /// A credential of one of these roles: a token as bearer, or a TLS client key.
    Staff(&'static [Role]),
    /// A join token's secret as bearer, and a TLS client key to be enrolled.
    JoinToken,
    /// The TLS client key of an enrolled host.
    Host,
    /// A TLS client key that is configured for the webhook.
    WebhookCertificate,
    /// The secret in the webhook's path.
    WebhookSecret,
}

/// How a route is guarded.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    pub(super) access: Access,
    /// Largest body, bytes.
    pub(super) body_max: usize,
}

/// Kibibytes of bodies that may be on their way or looked at, at once.
pub(crate) const BODIES_MAX: usize = 256 << 10;

/// A host that called over its enrolled TLS key. By the time that its body is there it may be one no more.
#[derive(Clone)]
pub(crate) struct CallingHost {
    pub(crate) host: HostId,
    pub(crate) tls_key: Sha256Digest,
}

/// The join token and the TLS key of a caller that showed both.
#[derive(Clone)]
pub(crate) struct JoiningCaller(pub(crate) Joining);

/// For how long a body may come. Whoever called may be nobody by the time that its last byte is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of a refused request that are read and thrown away.
const DRAINED_MAX: usize = 256 << 10;

/// Checks `access` before the handler, and before the body is read. The handler finds the whole body.
pub(super) async fn check(
    Rule { access, body_max }: Rule,
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    match whole(access, body_max, &app, request).await {
        // In a task of its own: a caller that goes away must not stop it between commit and publish.
        Ok((request, room)) => {
            let handled = async move {
                let response = next.run(request).await;
                drop(room);
                response
            };
            match tokio::spawn(handled).await {
                Ok(response) => response,
                Err(error) => Problem::internal(&error).into_response(),
            }
        }
        Err(problem) => {
            app.attestor.note_refusal(problem.code()).await;
            problem.into_response()
        }
    }
}

/// The request with all of its body, if `access` lets it in, and the room that it takes until it is answered: what is read
/// out of a body is larger than the body. It is read after that, and within [`PATIENCE`].
async fn whole(
    access: Access,
    body_max: usize,
    app: &App,
    request: Request,
) -> Result<(Request, Option<OwnedSemaphorePermit>), Problem> {
    let (mut parts, body) = request.into_parts();
    let admitted = admit(access, app, &mut parts).await;
    if let Err(problem) = admitted.and_then(|()| plain_body(&parts)) {
        // A small body is read first: a caller that is still sending might never see the answer.
        let _unread = timeout(PATIENCE, drain(body)).await;
        return Err(problem);
    }
    let (_coming, mut room) = room(app, &parts, body_max).await?;
    let limited = Request::from_parts(parts.clone(), body);
    let read = timeout(PATIENCE, Bytes::from_request(limited, app)).await;
    let body = read.map_err(|_| too_slow())??;
    if let Access::Staff(roles) = access {
        // A credential that was revoked while the body came is none.
        staff(roles, app, &mut parts).await?;
    }
    let taken = room.split(body.len().div_ceil(1 << 10));
    Ok((Request::from_parts(parts, body.into()), taken))
}

/// Throws the body away as it comes, up to [`DRAINED_MAX`].
async fn drain(mut body: Body) {
    let mut read = 0usize;
    while read < DRAINED_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// Room for a body, of this host's and of everybody's. What is promised by `Content-Length` is what is held for
/// it; without it, the most that the route takes.
async fn room<'a>(
    app: &'a App,
    parts: &Parts,
    body_max: usize,
) -> Result<(Option<Coming<'a>>, OwnedSemaphorePermit), Problem> {
    let coming = match parts.extensions.get::<CallingHost>() {
        Some(CallingHost { host, .. }) => {
            Some(app.attestor.budgets.coming(host).ok_or_else(|| {
                Problem::refused(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too-many-at-once",
                    "this host sends several bodies already; wait until they are answered",
                )
                .until(1)
            })?)
        }
        None => None,
    };
    let length = parts.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes = length.unwrap_or(body_max).min(body_max);
    let kibibytes = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    let room = timeout(
        PATIENCE,
        Arc::clone(&app.bodies).acquire_many_owned(kibibytes),
    )
    .await;
    match room {
        Ok(Ok(room)) => Ok((coming, room)),
        _ => Err(Problem::busy()),
    }
}

fn too_slow() -> Problem {
    Problem::refused(
        StatusCode::REQUEST_TIMEOUT,
        "body-too-slow",
        format_args!(
            "the body was not there within {} seconds; send it again over a better connection",
            PATIENCE.as_secs()
        ),
    )
}

/// Bodies count as they are sent. One that would have to be unpacked first is refused unread: its size would
/// bound nothing.
fn plain_body(parts: &Parts) -> Result<(), Problem> {
    let encodings = parts.headers.get_all(CONTENT_ENCODING);
    match encodings.iter().find(|encoding| *encoding != "identity") {
        None => Ok(()),
        Some(encoding) => Err(Problem::refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-encoding-unsupported",
            format_args!(
                "the content encoding `{}` is not read; send the body as it is",
                String::from_utf8_lossy(encoding.as_bytes()).escape_debug()
            ),
        )),
    }
}

async fn admit(access: Access, app: &App, parts: &mut Parts) -> Result<(), Problem> {
    match access {
        Access::Anyone => Ok(()),
        Access::Staff(roles) => staff(roles, app, parts).await,
        Access::JoinToken => join_token(app, parts).await,
        Access::Host => host(app, parts).await,
        Access::WebhookCertificate => webhook_certificate(app, parts),
        Access::WebhookSecret => webhook_secret(app, parts).await,
    }
}

/// The key is the digest of a secret of 32 random bytes, or of a public key: looking it up in an index tells nobody
/// which one is near.
async fn staff(roles: &[Role], app: &App, parts: &mut Parts) -> Result<(), Problem> {
    let (key, way) = match parts.headers.contains_key(AUTHORIZATION) {
        true => (Sha256Digest::of(bearer(parts)?.as_bytes()), Way::Token),
        false => (peer_key(parts).map_err(|_| nothing_shown())?, Way::TlsKey),
    };
    let mut tx = app.attestor.store.read().await?;
    let Some(holder) = credentials::holder(&mut tx, &key, way).await? else {
        return Err(Problem::unauthenticated(
            "the credential is not known, was revoked, or has expired; an operator makes one with `touchstone \
             credential create`",
        ));
    };
    if !roles.contains(&holder.role) {
        let allowed: Vec<&str> = roles.iter().map(|role| role.word()).collect();
        return Err(Problem::refused(
            StatusCode::FORBIDDEN,
            "role-insufficient",
            format_args!(
                "`{}` is a credential of the role {}, and this is for {}",
                holder.name.as_str(),
                holder.role.word(),
                allowed.join(", ")
            ),
        ));
    }
    parts.extensions.insert(Actor::Staff(holder));
    Ok(())
}

fn nothing_shown() -> Problem {
    Problem::unauthenticated(
        "send `Authorization: Bearer TOKEN`, or show the TLS client certificate of a credential",
    )
}

async fn join_token(app: &App, parts: &mut Parts) -> Result<(), Problem> {
    let hash = Sha256Digest::of(bearer(parts)?.as_bytes());
    let tls_key = peer_key(parts)?;
    let mut tx = app.attestor.store.read().await?;
    let token = tx.join_token_in_force(&hash, clock::now()).await?;
    let token = token.ok_or_else(|| {
        Problem::unauthenticated(
            "the join token is not known, revoked, or has expired; make one with `touchstone join-token create`",
        )
    })?;
    let joining = Joining { token, tls_key };
    parts.extensions.insert(JoiningCaller(joining));
    Ok(())
}

/// Lets in who was a host when it was last looked up, at some time since the start. Whether it still is is
/// asked in the transaction of its round, as it must be in any case.
async fn host(app: &App, parts: &mut Parts) -> Result<(), Problem> {
    let tls_key = peer_key(parts)?;
    let host = match app.callers.get(&tls_key) {
        Some(host) => host,
        None => enrolled(app, &tls_key).await?,
    };
    parts.extensions.insert(CallingHost { host, tls_key });
    Ok(())
}

async fn enrolled(app: &App, tls_key: &Sha256Digest) -> Result<HostId, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let host = holder(&mut tx, tls_key).await?;
    app.callers.insert(*tls_key, host.clone());
    Ok(host)
}

/// The host that this TLS key is enrolled for, as `tx` sees it.
pub(super) async fn holder(tx: &mut Tx, tls_key: &Sha256Digest) -> Result<HostId, Problem> {
    if let Some(record) = tx.host_by_tls_key(tls_key).await? {
        return Ok(record.host);
    }
    Err(match tx.end_of(tls_key).await? {
        Some(end) => ended(end),
        None => {
            Problem::unauthenticated("the TLS key is not that of an enrolled host; enrol first")
        }
    })
}

/// A key that was enrolled once is nobody's now; its holder is told what became of it.
pub(super) fn ended(end: End) -> Problem {
    let detail = match end {
        End::Retired => "this host is out of service; an operator decides what becomes of it",
        End::Removed => {
            "this machine was taken out of the inventory; once it is in again, enrol with `--again`"
        }
        End::Replaced => {
            "another TPM has this host's name; enrol it, and take this one out of service"
        }
        End::Reenrolled => {
            "this host was enrolled anew with other keys; if that was not you, tell an operator"
        }
    };
    Problem::refused(StatusCode::UNAUTHORIZED, end.code(), detail)
}

fn webhook_certificate(app: &App, parts: &mut Parts) -> Result<(), Problem> {
    let key = peer_key(parts)?;
    if !app.attestor.keys.webhook_callers.contains(&key) {
        stranger(app, Stranger::Key);
        return Err(Problem::unauthenticated(
            "the TLS key may not call the webhook; configure it, or use the secret path",
        ));
    }
    parts.extensions.insert(Actor::WebhookCertificate);
    Ok(())
}

async fn webhook_secret(app: &App, parts: &mut Parts) -> Result<(), Problem> {
    let denied = || Problem::unauthenticated("the webhook's path is not the secret one");
    let Path(secret) = Path::<String>::from_request_parts(parts, app)
        .await
        .map_err(|_| denied())?;
    if !app.attestor.keys.webhook.lets_in(&secret) {
        stranger(app, Stranger::Secret);
        return Err(denied());
    }
    parts.extensions.insert(Actor::WebhookSecret);
    Ok(())
}

fn stranger(app: &App, stranger: Stranger) {
    app.attestor.metrics.review_denied();
    app.attestor.strangers.note(stranger);
}

/// The one that there is: of two, what stands between might have looked at the other one.
fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let mut shown = parts.headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (shown.next(), shown.next()) else {
        return Err(Problem::unauthenticated("send one `Authorization` header"));
    };
    only.and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| Problem::unauthenticated("send `Authorization: Bearer TOKEN`"))
}

fn peer_key(parts: &Parts) -> Result<Sha256Digest, Problem> {
    match parts.extensions.get::<Peer>() {
        Some(Peer { key: Some(key), .. }) => Ok(*key),
        _ => Err(Problem::unauthenticated("show a TLS client certificate")),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}
