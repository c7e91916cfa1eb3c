//! A `TokenReview` that was answered, read: each thing must be said, once, and be what it should.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::TokenReview;

use super::{NodeRef, PodRef, TokenError};
use crate::config::Config;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

/// What the API server says of a token that it takes.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) pod: PodRef,
    /// From 1.30 on.
    pub(super) node: Option<NodeRef>,
}

type Extra = BTreeMap<String, Vec<String>>;

impl Said {
    pub(super) fn of(review: &TokenReview, config: &Config) -> Result<Self, TokenError> {
        let unsaid = || TokenError::NotAuthenticated("no status".to_owned());
        let status = review.status.as_ref().ok_or_else(unsaid)?;
        if status.authenticated != Some(true) {
            let why = status.error.clone().unwrap_or_default();
            return Err(TokenError::NotAuthenticated(why));
        }
        // A server that knows no audiences names none.
        let audiences = status.audiences.as_deref().unwrap_or_default();
        if !audiences.contains(&config.audience) {
            return Err(TokenError::Audience(config.audience.clone()));
        }
        let user = status.user.as_ref();
        let account = user.and_then(|user| user.username.as_deref());
        let account = account.unwrap_or_default();
        let namespace = config
            .agents_namespace()
            .filter(|_| account == config.agent())
            .ok_or_else(|| TokenError::Account(account.to_owned()))?;
        let nothing = Extra::new();
        let extra = user
            .and_then(|user| user.extra.as_ref())
            .unwrap_or(&nothing);
        Ok(Self {
            pod: PodRef {
                namespace: namespace.to_owned(),
                name: one(extra, POD_NAME)?,
                uid: one(extra, POD_UID)?,
            },
            node: node(extra)?,
        })
    }
}

/// Both names of the node, or neither.
fn node(extra: &Extra) -> Result<Option<NodeRef>, TokenError> {
    if !extra.contains_key(NODE_NAME) && !extra.contains_key(NODE_UID) {
        return Ok(None);
    }
    Ok(Some(NodeRef {
        name: one(extra, NODE_NAME)?,
        uid: one(extra, NODE_UID)?,
    }))
}

fn one(extra: &Extra, key: &'static str) -> Result<String, TokenError> {
    match extra.get(key).map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Ok(value.clone()),
        _ => Err(TokenError::Unsaid(key)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    /// As a 1.36 server answers.
    fn answer() -> Value {
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "metadata": {}, "spec": {},
            "status": {
                "authenticated": true,
                "audiences": ["touchstone"],
                "user": {
                    "username": "system:serviceaccount:touchstone:touchstone-agent",
                    "uid": "s1",
                    "groups": ["system:serviceaccounts"],
                    "extra": {
                        NODE_NAME: ["worker-1"], NODE_UID: ["n1"],
                        POD_NAME: ["agent-x"], POD_UID: ["p1"],
                    },
                },
            },
        })
    }

    fn said(answer: Value) -> Result<Said, TokenError> {
        Said::of(&serde_json::from_value(answer).unwrap(), &Config::default())
    }

    fn changed(at: &str, value: Value) -> Result<Said, TokenError> {
        let mut answer = answer();
        *answer.pointer_mut(at).unwrap() = value;
        said(answer)
    }

    fn extra(key: &str) -> String {
        format!("/status/user/extra/{}", key.replace('/', "~1"))
    }

    #[test]
    fn pod_and_node_are_what_the_server_says() {
        let said = said(answer()).unwrap();
        let pod = PodRef {
            namespace: "touchstone".to_owned(),
            name: "agent-x".to_owned(),
            uid: "p1".to_owned(),
        };
        let node = NodeRef {
            name: "worker-1".to_owned(),
            uid: "n1".to_owned(),
        };
        assert_eq!((said.pod, said.node), (pod, Some(node)));
    }

    #[test]
    fn a_server_before_1_30_names_no_node() {
        let mut answer = answer();
        let extra = answer["status"]["user"]["extra"].as_object_mut().unwrap();
        extra.retain(|key, _| !key.contains("/node-"));
        assert_eq!(said(answer).unwrap().node, None);
    }

    #[test]
    fn a_token_that_is_not_taken_is_refused() {
        for value in [json!(false), Value::Null] {
            let refused = changed("/status/authenticated", value).unwrap_err();
            assert!(matches!(refused, TokenError::NotAuthenticated(_)));
        }
        let refused = changed("/status", Value::Null).unwrap_err();
        assert!(matches!(refused, TokenError::NotAuthenticated(_)));
    }

    #[test]
    fn a_token_for_others_or_for_anybody_is_refused() {
        for value in [
            json!(["https://kubernetes.default.svc"]),
            json!([]),
            Value::Null,
        ] {
            let refused = changed("/status/audiences", value).unwrap_err();
            assert!(matches!(refused, TokenError::Audience(_)));
        }
    }

    #[test]
    fn a_token_of_another_account_is_refused() {
        for value in [
            json!("system:serviceaccount:touchstone:default"),
            json!("system:serviceaccount:shop:touchstone-agent"),
            json!("system:node:worker-1"),
            Value::Null,
        ] {
            let refused = changed("/status/user/username", value).unwrap_err();
            assert!(matches!(refused, TokenError::Account(_)));
        }
        let refused = changed("/status/user", Value::Null).unwrap_err();
        assert!(matches!(refused, TokenError::Account(_)));
    }

    #[test]
    fn what_is_not_said_exactly_once_is_refused() {
        for key in [POD_NAME, POD_UID, NODE_NAME, NODE_UID] {
            for value in [json!([]), json!([""]), json!(["a", "b"])] {
                let refused = changed(&extra(key), value).unwrap_err();
                assert!(matches!(refused, TokenError::Unsaid(said) if said == key));
            }
            let mut answer = answer();
            let extra = answer["status"]["user"]["extra"].as_object_mut().unwrap();
            extra.remove(key);
            let refused = said(answer).unwrap_err();
            assert!(matches!(refused, TokenError::Unsaid(said) if said == key));
        }
        let refused = changed("/status/user/extra", Value::Null).unwrap_err();
        assert!(matches!(refused, TokenError::Unsaid(POD_NAME)));
    }
}
