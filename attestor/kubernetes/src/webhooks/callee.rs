//! Whom a webhook calls: whoever leads it elsewhere answers in our place.

use std::collections::HashSet;

use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Where the validating webhook is answered, alone or with a secret behind it.
const PATH: &str = "/kubernetes/v1/validate";

/// Whether a segment of a path is a secret that we let in.
type LetsIn<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// Who we are to an API server that calls.
pub struct Callee<'a> {
    /// Names in our certificate.
    names: Vec<String>,
    /// The CAs that may issue it.
    cas: HashSet<Vec<u8>>,
    lets_in: LetsIn<'a>,
}

impl<'a> Callee<'a> {
    /// `names`: DNS names and IP addresses of our certificate; `cas`: certificates of the CAs that may issue it, PEM;
    /// `lets_in`: whether the last segment of a path is a secret of ours.
    #[must_use]
    pub fn new(names: &[String], cas: &str, lets_in: LetsIn<'a>) -> Self {
        Self {
            names: names.to_vec(),
            cas: certificates(cas.as_bytes()).unwrap_or_default(),
            lets_in,
        }
    }

    /// Why somebody else might answer such a call, or nobody; `None`: it is for one of our names, at the path that judges, and
    /// only our CAs are believed.
    pub(super) fn fault(&self, config: &WebhookClientConfig) -> Option<&'static str> {
        let called = match (&config.url, &config.service) {
            (Some(url), None) => parts(url),
            (None, Some(service)) => Some(of_service(service)),
            _ => None,
        };
        let Some((name, path)) = called else {
            return Some("its `clientConfig` names no URL or service that can be read");
        };
        if !self.names.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
            return Some("it calls another name than those of our certificate (`--name`)");
        }
        match path.strip_prefix(PATH) {
            Some("") => {}
            Some(rest) if !is_segment(rest) => return Some(OTHER_PATH),
            Some(rest) if !(self.lets_in)(rest.trim_start_matches('/')) => {
                return Some(
                    "the secret in its path is not the one of `operator.json` or `cluster.json`",
                );
            }
            Some(_) => {}
            None => return Some(OTHER_PATH),
        }
        let bundle = config.ca_bundle.as_ref().map(|bundle| &*bundle.0);
        // Without one, whomever the system's roots vouch for is believed.
        let believed = bundle.and_then(certificates).unwrap_or_default();
        let ours = !believed.is_empty() && believed.is_subset(&self.cas);
        (!ours).then_some("its `caBundle` is not our CA alone")
    }
}

const OTHER_PATH: &str = "it calls another path than `/kubernetes/v1/validate`";

/// `/SECRET`.
fn is_segment(rest: &str) -> bool {
    let segment = rest.strip_prefix('/');
    segment.is_some_and(|segment| !segment.is_empty() && !segment.contains(['/', '.', '%']))
}

/// Name and path of `https://NAME[:PORT]/PATH`; API servers take neither user nor query. `None`: it is written otherwise.
fn parts(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("https://")?;
    let (authority, path) = rest.split_once('/')?;
    if authority.contains('@') || path.contains(['?', '#']) {
        return None;
    }
    let name = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    Some((name.to_owned(), format!("/{path}")))
}

/// API servers want a certificate for `NAME.NAMESPACE.svc`.
fn of_service(service: &ServiceReference) -> (String, String) {
    let name = format!("{}.{}.svc", service.name, service.namespace);
    (name, service.path.clone().unwrap_or_default())
}

/// Each certificate of a bundle; `None`: something in it is none.
fn certificates(pem: &[u8]) -> Option<HashSet<Vec<u8>>> {
    let all = CertificateDer::pem_slice_iter(pem);
    all.map(|one| Some(one.ok()?.as_ref().to_vec())).collect()
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    const OURS: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const NEXT: &str = "-----BEGIN CERTIFICATE-----\nAAAB\n-----END CERTIFICATE-----\n";
    const ANOTHER: &str = "-----BEGIN CERTIFICATE-----\nAAAC\n-----END CERTIFICATE-----\n";

    pub(in super::super) fn ours() -> Callee<'static> {
        let names = ["touchstone.touchstone.svc", "127.0.0.1", "::1"];
        let cas = [OURS, NEXT].concat();
        Callee::new(&names.map(str::to_owned), &cas, &|secret| secret == "00ff")
    }

    fn called(mut config: Value, bundle: &str) -> Value {
        use k8s_openapi::ByteString;
        config["caBundle"] = serde_json::to_value(ByteString(bundle.as_bytes().to_vec())).unwrap();
        config
    }

    pub(in super::super) fn url(url: &str) -> Value {
        called(json!({ "url": url }), OURS)
    }

    fn service(name: &str, path: &str) -> Value {
        let service =
            json!({ "name": name, "namespace": "touchstone", "port": 8443, "path": path });
        called(json!({ "service": service }), OURS)
    }

    fn is_ours(config: Value) -> bool {
        fault(config).is_none()
    }

    fn fault(config: Value) -> Option<&'static str> {
        ours().fault(&serde_json::from_value(config).unwrap())
    }

    #[test]
    fn a_call_is_ours_by_name_path_and_ca() {
        for good in [
            service("touchstone", PATH),
            service("touchstone", "/kubernetes/v1/validate/00ff"),
            url("https://127.0.0.1:8443/kubernetes/v1/validate/00ff"),
            url("https://[::1]:8443/kubernetes/v1/validate"),
            called(service("touchstone", PATH), NEXT),
            called(service("touchstone", PATH), &[OURS, NEXT].concat()),
        ] {
            assert!(is_ours(good.clone()), "{good}");
        }
    }

    #[test]
    fn whoever_else_could_answer_is_seen() {
        for elsewhere in [
            service("another", PATH),
            // The mutating one allows everything.
            service("touchstone", "/kubernetes/v1/mutate"),
            service("touchstone", "/kubernetes/v1/validate/../mutate"),
            service("touchstone", "/kubernetes/v1/validated"),
            url("https://127.0.0.2:8443/kubernetes/v1/validate"),
            url("https://127.0.0.1.example/kubernetes/v1/validate"),
            url("https://127.0.0.1:8443"),
            called(service("touchstone", PATH), ANOTHER),
            called(service("touchstone", PATH), &[OURS, ANOTHER].concat()),
            called(service("touchstone", PATH), ""),
            called(
                service("touchstone", PATH),
                "-----BEGIN CERTIFICATE-----\n!\n",
            ),
            json!({ "service": { "name": "touchstone", "namespace": "touchstone", "path": PATH } }),
        ] {
            assert!(!is_ours(elsewhere.clone()), "{elsewhere}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_call_is_said() {
        for (config, part) in [
            (json!({}), "no URL or service"),
            (service("another", PATH), "another name"),
            (
                service("touchstone", "/kubernetes/v1/mutate"),
                "another path",
            ),
            (
                service("touchstone", "/kubernetes/v1/validate/ff00"),
                "the secret in its path",
            ),
            (called(service("touchstone", PATH), ANOTHER), "`caBundle`"),
        ] {
            let said = fault(config.clone()).unwrap_or_default();
            assert!(said.contains(part), "{config}: {said}");
        }
    }
}
