//! What a digest stands for, as a registry says: an image, or an index of images.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::time::Instant;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::oci_manifest;
use touchstone_evidence::publisher::SignatureError;
use touchstone_kubernetes::image::ImageName;

use super::super::pull_secrets::PullSecrets;
use super::super::registry::{AskError, Registries, Source};
use super::Known;

/// For how long one review waits for registries, and what it shows them.
#[derive(Clone)]
pub(in super::super) struct Wait {
    pub(in super::super) deadline: Instant,
    /// Whose turns it takes.
    pub(in super::super) namespace: Arc<str>,
    pub(in super::super) secrets: Arc<PullSecrets>,
}

/// What registries said.
pub(super) struct Asked {
    pub(super) registries: Registries,
    pub(super) contents: Cache<OciDigest, Content>,
}

/// What a digest stands for.
#[derive(Clone)]
pub(in super::super) enum Content {
    Image(Arc<Known>),
    Index(Arc<[OciDigest]>),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the attestor ends")]
    Ending,
}

impl Asked {
    pub(super) async fn content(
        &self,
        wait: &Wait,
        name: &ImageName,
        digest: &OciDigest,
    ) -> Result<Content, ContentError> {
        let secrets = &*wait.secrets;
        let _turn = self
            .registries
            .turn(&wait.namespace)
            .await
            .ok_or(ContentError::Ending)?;
        // Others may have asked for it meanwhile.
        if let Some(content) = self.contents.get(digest) {
            return Ok(content);
        }
        let from = Source {
            image: name.reference(),
            secrets,
        };
        let content = match self.registries.content(from, digest).await? {
            oci_manifest::Content::Image(image) => Content::Image(Arc::new(Known::of(&image))),
            oci_manifest::Content::Index(index) => Content::Index(index.manifests.into()),
        };
        self.contents.insert(*digest, content.clone());
        Ok(content)
    }
}
