//! The HTTP interface: routes, who may call them, and how errors look (docs/api.md).
//!
//! Invariant: each route is in [`routes`] with its access rule, and the router is built from nothing
//! else; whatever is not listed is denied.

pub mod access;
mod openapi;
pub(crate) mod problem;
mod routes;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Router, middleware};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use crate::attestor::Attestor;
use crate::duty::Duty;
use crate::kubernetes::{NodeLinks, Webhook};
use access::{Access, Rule};
use problem::Problem;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) attestor: Arc<Attestor>,
    pub(crate) webhook: Arc<Webhook>,
    /// Where tokens of agents go to be reviewed.
    pub(crate) node_links: Option<NodeLinks>,
    /// Kibibytes that are free for bodies on their way.
    pub(crate) bodies: Arc<Semaphore>,
    /// TLS keys that were of enrolled hosts when they were looked up.
    pub(crate) callers: Arc<Cache<Sha256Digest, HostId>>,
}

/// Most TLS keys that are remembered.
const CALLERS_MAX: usize = 128 << 10;

impl App {
    /// Nothing under way yet.
    pub(crate) fn new(attestor: Arc<Attestor>, webhook: Webhook) -> Self {
        let node_links = webhook
            .cluster
            .as_ref()
            .map(|cluster| NodeLinks::start(&attestor, cluster, &webhook.identity));
        Self {
            attestor,
            node_links,
            webhook: Arc::new(webhook),
            bodies: Arc::new(Semaphore::new(access::BODIES_MAX)),
            callers: Arc::new(Cache::new(CALLERS_MAX)),
        }
    }
}

/// One route: how it is called and by whom.
pub struct Route {
    /// GET, POST or PUT.
    pub method: Method,
    /// As axum writes it: `/v1/hosts/{host}`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Largest body, bytes.
    body_max: usize,
    handler: MethodRouter<App>,
}

impl Route {
    fn new<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let filter = filter(&method);
        Self {
            method,
            path,
            access,
            body_max: 64 << 10,
            handler: on(filter, handler),
        }
    }

    fn with_body_of(mut self, bytes: usize) -> Self {
        self.body_max = bytes;
        self
    }
}

fn filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        _ => MethodFilter::GET,
    }
}

/// Every route there is.
#[must_use]
pub fn routes() -> Vec<Route> {
    routes::all()
}

/// The router over those of [`routes`] that are answered for this duty; the others tell who may ask them who does.
pub(crate) fn router(app: App, duty: Duty) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let is_answered = answers(duty, route.access, route.path);
        let rule = Rule {
            access: route.access,
            body_max: route.body_max,
        };
        let guard = middleware::from_fn_with_state(app.clone(), move |app, request, next| {
            access::check(rule, app, request, next)
        });
        let handler = match is_answered {
            true => route.handler,
            false => on(filter(&route.method), elsewhere),
        };
        let handler = handler
            .layer::<_, Infallible>(guard)
            // Outside of the guard, which reads the body.
            .layer(DefaultBodyLimit::max(route.body_max));
        router = router.route(route.path, handler);
    }
    router
        .fallback(unlisted)
        .method_not_allowed_fallback(unlisted)
        .with_state(app)
}

/// Whether a process with this duty answers a route at all, whoever calls.
fn answers(duty: Duty, access: Access, path: &str) -> bool {
    match access {
        Access::Anyone
        | Access::Host
        | Access::JoinToken
        | Access::WebhookCertificate
        | Access::WebhookSecret => true,
        Access::Staff(_) => duty == Duty::Attestor || path == "/metrics",
    }
}

/// What is an operator's, asked of a process that serves a cluster alone.
async fn elsewhere(State(app): State<App>) -> Problem {
    let detail = "this process serves the cluster `{}` alone; ask the attestor, `touchstone serve`";
    let detail = detail.replace("{}", app.attestor.cluster.as_str());
    let problem = Problem::denied("route-elsewhere", &detail);
    app.attestor.note_refusal(problem.code()).await;
    problem
}

/// A path that is not listed looks like one that is forbidden.
async fn unlisted() -> Problem {
    Problem::denied("route-unknown", "no such route, or not for you")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    #[test]
    fn who_serves_a_cluster_answers_no_operator() {
        let staff = Access::Staff(&Role::ALL);
        for access in [Access::Anyone, Access::Host, Access::WebhookSecret, staff] {
            assert!(answers(Duty::Attestor, access, "/v1/nodes"));
            let answers = answers(Duty::Cluster, access, "/v1/nodes");
            assert_eq!(answers, access != staff, "{access:?}");
        }
        assert!(answers(Duty::Cluster, staff, "/metrics"));
    }
}
