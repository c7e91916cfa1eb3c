//! Service account tokens of agents: whether the API server vouches for one, and for which node.
//!
//! A token that is bound to a pod is good as long as the pod is there, and a node is known by its uid: one that is made
//! anew under its name is another node. Who holds the token says nothing here: it may have been copied.

mod said;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use zeroize::Zeroize as _;

use crate::cluster::{Cluster, ClusterError};
use crate::config::Config;
use crate::node::Node;
use crate::pods::Pod;
use said::Said;

/// A pod, by all its names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Which pod of that name.
    pub uid: String,
}

/// A node, by both its names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeRef {
    /// Its name.
    pub name: String,
    /// Which node of that name.
    pub uid: String,
}

/// What the API server vouched for: the token was made for us, for an agent's pod that is there, on a node that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReviewedToken {
    node: NodeRef,
}

/// Why a token proves no node.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The API server was not asked, or did not say: nothing is known of the token.
    #[error("whether the cluster vouches for the token is not known")]
    Cluster(#[from] ClusterError),
    /// It knows no such token, or the pod is gone.
    #[error("the API server does not take the token ({0}); is its pod there still?")]
    NotAuthenticated(String),
    /// It is for somebody else.
    #[error("the token is not for the audience `{0}`; project it for that one")]
    Audience(String),
    /// It is of another service account.
    #[error("the token is of `{0}`; `agent` names the account of agents")]
    Account(String),
    /// What every token of a pod has is missing, or is there more than once.
    #[error(
        "the API server says nothing certain of the token's `{0}`; project it into the agent's pod"
    )]
    Unsaid(&'static str),
    /// The pod is another one by now, or on no node.
    #[error("the token's pod is not on a node any more")]
    PodGone,
    /// The node is another one by now.
    #[error("the token is of a node that is not there any more; make the agent's pod anew")]
    NodeGone,
}

impl TokenError {
    /// Whether it is the token that is wrong, so that it stays wrong.
    #[must_use]
    pub fn is_of_the_token(&self) -> bool {
        !matches!(self, Self::Cluster(_))
    }
}

impl ReviewedToken {
    /// The node that the agent's pod is on.
    #[must_use]
    pub fn node(&self) -> &NodeRef {
        &self.node
    }
}

impl Cluster {
    /// Asks the API server about a token.
    ///
    /// # Errors
    /// [`TokenError`]: whatever is missing refuses.
    pub async fn review_token(&self, token: &str) -> Result<ReviewedToken, TokenError> {
        let said = Said::of(&self.ask_about(token).await?, &self.config)?;
        let node = match &said.node {
            Some(node) => self.node_named(node).await?,
            None => self.node_of_pod(&said.pod).await?,
        };
        Ok(ReviewedToken { node })
    }

    async fn ask_about(&self, token: &str) -> Result<TokenReview, TokenError> {
        let mut review = review(token, &self.config);
        let api = Api::<TokenReview>::all(self.client.clone());
        let answer = self.look(api.create(&PostParams::default(), &review)).await;
        review.spec.token.zeroize();
        let mut answer = answer?;
        answer.spec.token.zeroize();
        Ok(answer)
    }

    /// The token names the node that it was made on: that one must be there.
    async fn node_named(&self, named: &NodeRef) -> Result<NodeRef, TokenError> {
        let node = self.node_now(&named.name).await?;
        let found = node.as_ref().and_then(node_ref);
        found
            .filter(|found| found == named)
            .ok_or(TokenError::NodeGone)
    }

    /// Before 1.30 a token names its pod alone.
    async fn node_of_pod(&self, pod: &PodRef) -> Result<NodeRef, TokenError> {
        let found = self.pod_now(&pod.namespace, &pod.name).await?;
        let found = found.filter(|found| found.metadata.uid.as_deref() == Some(&*pod.uid));
        let found = found.ok_or(TokenError::PodGone)?;
        let name = found
            .spec
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let node = self.node_now(name.ok_or(TokenError::PodGone)?).await?;
        pod_is_on(&found, &node.ok_or(TokenError::NodeGone)?)
    }
}

fn review(token: &str, config: &Config) -> TokenReview {
    TokenReview {
        spec: TokenReviewSpec {
            audiences: Some(vec![config.audience.clone()]),
            token: Some(token.to_owned()),
        },
        ..TokenReview::default()
    }
}

/// The node, if the pod can have been made for it: a pod that is older than its node was on the one before it.
fn pod_is_on(pod: &Pod, node: &Node) -> Result<NodeRef, TokenError> {
    let (made, since) = (
        &pod.metadata.creation_timestamp,
        &node.metadata.creation_timestamp,
    );
    match (made, since) {
        (Some(made), Some(since)) if made >= since => node_ref(node).ok_or(TokenError::NodeGone),
        _ => Err(TokenError::NodeGone),
    }
}

fn node_ref(node: &Node) -> Option<NodeRef> {
    Some(NodeRef {
        name: node.metadata.name.clone()?,
        uid: node.metadata.uid.clone()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    fn pod(made: &str) -> Pod {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "agent-x", "uid": "p1", "creationTimestamp": made },
            "spec": { "nodeName": "worker-1" },
        });
        serde_json::from_value(pod).unwrap()
    }

    fn node(made: Option<&str>) -> Node {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "worker-1", "uid": "n1", "creationTimestamp": made },
            "spec": {},
        });
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_pod_from_before_its_node_was_made_is_of_another_node() {
        let [before, then, after] =
            [11, 12, 13].map(|second| format!("2026-01-01T00:00:{second}Z"));
        let made_then = node(Some(&then));
        for made in [&then, &after] {
            let found = pod_is_on(&pod(made), &made_then).unwrap();
            assert_eq!((&*found.name, &*found.uid), ("worker-1", "n1"));
        }
        for (made, node) in [(&before, &made_then), (&after, &node(None))] {
            let refused = pod_is_on(&pod(made), node).unwrap_err();
            assert!(matches!(refused, TokenError::NodeGone), "{refused}");
        }
    }

    #[test]
    fn what_the_api_server_did_not_say_may_be_said_later() {
        assert!(TokenError::PodGone.is_of_the_token());
        assert!(!TokenError::from(ClusterError::Slow).is_of_the_token());
    }
}
