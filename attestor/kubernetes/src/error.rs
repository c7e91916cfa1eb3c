//! Why a cluster did not answer, each cause with what to do about it.

use std::error::Error;
use std::path::PathBuf;

use crate::kubeconfig::OpenToOthers;

/// Why the cluster did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// How it is reached is not known.
    #[error(
        "the kubeconfig `{path}` cannot be used ({why}); docs/operators/clusters.md says how to make one"
    )]
    Kubeconfig {
        /// Which file.
        path: PathBuf,
        /// Why not. It tells its own sources.
        why: kube::config::KubeconfigError,
    },
    /// Others may read or write the kubeconfig.
    #[error(transparent)]
    KubeconfigOpen(#[from] OpenToOthers),
    /// What the kubeconfig says of certificates, keys or helper programs is no such thing.
    #[error(
        "what the kubeconfig says of certificates and credentials cannot be used ({0}); docs/operators/clusters.md says how \
         to make one"
    )]
    Credential(kube::Error),
    /// This process is in no pod.
    #[error("no `kubeconfig` is set, and this process is not in a pod with a service account")]
    OutOfCluster(#[from] kube::config::InClusterError),
    /// The account may not do it: HTTP 403.
    #[error(
        "the API server does not let the attestor do it ({0}); give its account the rights of deploy/kubernetes/attestor.yaml"
    )]
    Forbidden(String),
    /// It takes nobody's word that we are who we say: HTTP 401.
    #[error("the API server does not take the credential")]
    Unauthorized,
    /// The kind is not defined there.
    #[error("the cluster knows no `{0}`; apply deploy/kubernetes/crds.yaml")]
    Undefined(String),
    /// It refused or failed.
    #[error("the API server refused or failed")]
    Api(#[source] kube::Error),
    /// It took too long.
    #[error("the API server did not answer in time")]
    Slow,
    /// It answered with an object of another shape.
    #[error("`{name}` is not written as this version of the attestor knows it: {why}")]
    Unreadable {
        /// The object.
        name: String,
        /// What is not.
        why: String,
    },
}

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 401 => Self::Unauthorized,
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden(status.message),
            error => Self::Api(error),
        }
    }
}

impl ClusterError {
    /// The same, where a kind that is not found is one that is not defined.
    pub(crate) fn or_undefined(self, kind: &str) -> Self {
        match self {
            Self::Api(kube::Error::Api(status)) if status.code == 404 => {
                Self::Undefined(kind.to_owned())
            }
            error => error,
        }
    }

    /// Whether the API server is as good as away. The cluster tells that in the log, once.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.trouble().is_some()
    }

    /// What is wrong with the way to the API server; `None`: it answered, if only to refuse.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Unauthorized => Some(Trouble::Credential),
            Self::Slow => Some(Trouble::Silence),
            Self::Api(kube::Error::Auth(_)) => Some(Trouble::Credential),
            Self::Api(kube::Error::Service(error)) => {
                let cause = root(&**error);
                match cause.contains("certificate") {
                    true => Some(Trouble::Certificate),
                    false => Some(Trouble::Silence),
                }
            }
            Self::Api(
                kube::Error::HyperError(_) | kube::Error::ReadEvents(_) | kube::Error::HttpError(_),
            ) => Some(Trouble::Silence),
            _ => None,
        }
    }
}

/// What is wrong with the way to an API server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// Nobody answers.
    Silence,
    /// Whoever answers has no certificate that we believe.
    Certificate,
    /// It does not believe us.
    Credential,
}

impl Trouble {
    /// What an operator is to do.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Silence => {
                "see that it runs, and that it can be reached from here under that URL"
            }
            Self::Certificate => {
                "see that `certificate-authority` of the kubeconfig is the cluster's CA, and that the URL has a name of its certificate"
            }
            Self::Credential => {
                "the credential expired, perhaps, or is of another cluster: make another, as docs/operators/clusters.md says"
            }
        }
    }
}

/// The last cause of an error, in words.
pub(crate) fn root(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answered(code: u16) -> ClusterError {
        let status = Status {
            code,
            message: "nodes is forbidden".to_owned(),
            ..Status::default()
        };
        kube::Error::Api(Box::new(status)).into()
    }

    #[test]
    fn each_refusal_has_an_advice_of_its_own() {
        let forbidden = answered(403).or_undefined("HostTrust").to_string();
        assert!(forbidden.contains("nodes is forbidden"), "{forbidden}");
        assert!(forbidden.contains("attestor.yaml") && !forbidden.contains("crds"));
        let undefined = answered(404).or_undefined("HostTrust").to_string();
        assert!(
            undefined.contains("`HostTrust`; apply deploy/kubernetes/crds.yaml"),
            "{undefined}"
        );
        let expired = answered(401).trouble().map(Trouble::advice);
        assert!(expired.is_some_and(|advice| advice.contains("expired")));
    }

    #[test]
    fn an_api_server_that_refuses_is_there_and_one_that_does_not_know_us_is_as_good_as_away() {
        for code in [403, 404, 409, 500] {
            assert_eq!(answered(code).trouble(), None, "{code}");
        }
        assert_eq!(answered(401).trouble(), Some(Trouble::Credential));
        assert_eq!(ClusterError::Slow.trouble(), Some(Trouble::Silence));
        let service = |why: &str| ClusterError::from(kube::Error::Service(why.into()));
        let refused = service("connection refused").trouble();
        assert_eq!(refused, Some(Trouble::Silence));
        let strange = service("invalid peer certificate: UnknownIssuer").trouble();
        assert_eq!(strange, Some(Trouble::Certificate));
    }
}
