//! Which node a host is, shown by its agent's service account token: the cluster vouches for the token, and the host's
//! TPM signed for it in a durable round.
//!
//! One task does it, after the rounds and never in their way; what finds no place in its queue comes with the next round.
//! Invariant: a token is in no log, no error and no entry, and is kept by nothing here.

mod link;
mod reviews;

use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderValue;
use tokio::sync::mpsc;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::NODE_TOKEN_MAX;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::tokens::{ReviewedToken, TokenError};
use touchstone_policies::prose;
use zeroize::Zeroizing;

use crate::appraisal::SignedToken;
use crate::attestor::Attestor;
use crate::clock;
use crate::kubernetes::ClusterIdentity;
use link::{LinkError, link};
use reviews::{Recalled, Reviews};

/// Most tokens that wait to be looked at.
const WAITING_MAX: usize = 256;

/// Hands tokens to the task that reviews them.
#[derive(Clone)]
pub(crate) struct NodeLinks(mpsc::Sender<Offer>);

/// A token as it came, beside a round that is durable.
struct Offer {
    signed: SignedToken,
    token: Zeroizing<String>,
}

/// Why a host is not linked to the node of its token. The round stands by itself.
#[derive(Debug, thiserror::Error)]
enum NotLinked {
    #[error("the token beside the evidence is not the one that the host's TPM signed for")]
    OtherToken,
    #[error("the token proves no node")]
    Token(#[from] TokenError),
    #[error("{0}")]
    Doubt(String),
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl NotLinked {
    /// Stable code.
    fn code(&self) -> &'static str {
        match self {
            Self::OtherToken => "node-token-other",
            Self::Token(error) if error.is_of_the_token() => "node-token-refused",
            Self::Link(LinkError::Claimed { .. }) => "node-claimed",
            Self::Doubt(_) | Self::Token(_) | Self::Link(LinkError::Store(_)) => "internal",
        }
    }

    /// Whether the next round may bring another outcome.
    fn is_passing(&self) -> bool {
        self.code() == "internal"
    }
}

impl NodeLinks {
    /// Starts the task. It ends with the last handle.
    pub(crate) fn start(
        attestor: &Arc<Attestor>,
        cluster: &Arc<Cluster>,
        identity: &Arc<ClusterIdentity>,
    ) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let linker = Linker {
            attestor: Arc::clone(attestor),
            cluster: Arc::clone(cluster),
            identity: Arc::clone(identity),
            reviews: Reviews::default(),
        };
        tokio::spawn(linker.run(waiting));
        Self(sender)
    }

    /// Takes the token that came beside a round, if one did.
    pub(crate) fn offer(&self, signed: SignedToken, header: Option<&HeaderValue>) {
        let Some(header) = header else {
            return;
        };
        let offer = Offer {
            token: text(header),
            signed,
        };
        if self.0.try_send(offer).is_err() {
            tracing::debug!("a node token waits for the next round");
        }
    }
}

/// What is too long or no text is nobody's token; it is counted as such.
fn text(header: &HeaderValue) -> Zeroizing<String> {
    let text = header.to_str().ok();
    let text = text.filter(|text| text.len() <= NODE_TOKEN_MAX);
    Zeroizing::new(text.unwrap_or_default().to_owned())
}

struct Linker {
    attestor: Arc<Attestor>,
    cluster: Arc<Cluster>,
    identity: Arc<ClusterIdentity>,
    reviews: Reviews,
}

impl Linker {
    async fn run(mut self, mut waiting: mpsc::Receiver<Offer>) {
        while let Some(offer) = waiting.recv().await {
            if let Err(error) = self.look_at(&offer).await {
                self.tell(&offer.signed, &error).await;
            }
        }
    }

    async fn look_at(&mut self, Offer { signed, token }: &Offer) -> Result<(), NotLinked> {
        if !is_signed(signed.digest(), token) {
            return Err(NotLinked::OtherToken);
        }
        if let Some(doubt) = self.identity.doubt() {
            return Err(NotLinked::Doubt(prose::sentence(&doubt)));
        }
        let cluster = &self.cluster;
        let holds = |token: &ReviewedToken| {
            let node = token.node();
            cluster.node_uid(&node.name).as_ref() == Some(&node.uid)
        };
        let now = Instant::now();
        let recalled = self
            .reviews
            .recall(signed.host(), signed.digest(), holds, now);
        let reviewed = match recalled {
            Recalled::Settled => return Ok(()),
            Recalled::Good(reviewed) => reviewed,
            Recalled::Nothing => self.review(signed, token, now).await?,
        };
        let linked = link(&self.attestor, signed, &reviewed, clock::now()).await;
        let linked = linked.map_err(NotLinked::from);
        self.remember_refusal(signed, &linked, now);
        linked
    }

    async fn review(
        &mut self,
        signed: &SignedToken,
        token: &str,
        now: Instant,
    ) -> Result<ReviewedToken, NotLinked> {
        let reviewed = self.cluster.review_token(token).await;
        let reviewed = reviewed.map_err(NotLinked::from);
        self.remember_refusal(signed, &reviewed, now);
        let reviewed = reviewed?;
        let (host, digest) = (signed.host(), signed.digest());
        self.reviews.keep(host, digest, Some(reviewed.clone()), now);
        Ok(reviewed)
    }

    /// What will not be otherwise soon is not asked again with each round.
    fn remember_refusal<T>(
        &mut self,
        signed: &SignedToken,
        outcome: &Result<T, NotLinked>,
        now: Instant,
    ) {
        if outcome.as_ref().is_err_and(|error| !error.is_passing()) {
            self.reviews.keep(signed.host(), signed.digest(), None, now);
        }
    }

    async fn tell(&self, signed: &SignedToken, not_linked: &NotLinked) {
        let code = not_linked.code();
        {
            let error: &dyn std::error::Error = not_linked;
            tracing::warn!(error, host.id = %signed.host(), code, "a host is not linked to a node");
        }
        if !not_linked.is_passing() {
            self.attestor.note_refusal(code).await;
        }
    }
}

fn is_signed(digest: &Sha256Digest, token: &str) -> bool {
    Sha256Digest::of(token.as_bytes()) == *digest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn only_the_token_that_was_signed_for_is_looked_at() {
        let whole = "t".repeat(NODE_TOKEN_MAX);
        let digest = Sha256Digest::of(whole.as_bytes());
        assert!(is_signed(
            &digest,
            &text(&HeaderValue::from_str(&whole).unwrap())
        ));
        let longer = format!("{whole}t");
        let digest = Sha256Digest::of(longer.as_bytes());
        assert!(!is_signed(
            &digest,
            &text(&HeaderValue::from_str(&longer).unwrap())
        ));
        let other = HeaderValue::from_static("other");
        assert!(!is_signed(&digest, &text(&other)));
        let no_text = HeaderValue::from_bytes(b"t\xe9").unwrap();
        assert!(!is_signed(&Sha256Digest::of(b"t\xe9"), &text(&no_text)));
    }

    #[test]
    fn what_may_pass_is_tried_again_and_not_counted() {
        let slow = touchstone_kubernetes::cluster::ClusterError::Slow;
        assert!(NotLinked::from(TokenError::from(slow)).is_passing());
        let gone = NotLinked::from(TokenError::PodGone);
        assert_eq!(
            (gone.code(), gone.is_passing()),
            ("node-token-refused", false)
        );
        assert!(!NotLinked::OtherToken.is_passing());
    }
}
