//! What is known of images, by the digest of their manifest: whether they are encrypted and registered, and who signed
//! them. The register of images is looked at first, then the image's own manifest, in its registry.
//!
//! Invariant: nothing is read from a pod but the name of an image.

mod known;
mod learned;
mod signatures;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use touchstone_evidence::finding::Finding;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::oci_manifest;
use touchstone_evidence::publisher::SignatureError;
use touchstone_kubernetes::image::ImageName;
use touchstone_policies::admit::{ImageFacts, PodFacts, to_learn};
use touchstone_policies::manifest::PolicySet;

use super::pull_secrets::PullSecrets;
use super::registry::{AskError, Registries, Source};
use crate::registries::{Credentials, CredentialsError, is_here};
use crate::store::{Store, StoreError};

pub(super) use known::Known;
use learned::Learned;
use signatures::Signatures;

/// How long registries are waited for in one review; API servers wait three seconds for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most manifests that are kept as read, and most registrations.
const KEPT: usize = 4096;
/// Most images that are looked at in one review; a pod with more of them is refused.
pub(super) const IMAGES_MAX: usize = 64;

/// What was learned: a manifest never says anything else, and a registration is never taken back.
pub(crate) struct Images {
    asked: Arc<Asked>,
    /// Registered manifests.
    registered: Cache<OciDigest, Arc<Known>>,
    signatures: Signatures,
}

/// For how long one review waits for registries, and what it shows them.
#[derive(Clone)]
struct Wait {
    deadline: Instant,
    /// Whose turns it takes.
    namespace: Arc<str>,
    secrets: Arc<PullSecrets>,
}

/// What registries said.
struct Asked {
    registries: Registries,
    contents: Cache<OciDigest, Content>,
}

/// What a digest stands for.
#[derive(Clone)]
enum Content {
    Image(Arc<Known>),
    Index(Arc<[OciDigest]>),
}

/// Why images cannot be looked at as was said on the command line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImagesError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("cannot ask registries")]
    Client(#[from] reqwest::Error),
    #[error(
        "`{0}` is not on this machine, and without TLS anybody on the way reads the credential that it is shown; leave \
         out --plain-http-registry"
    )]
    NotHere(String),
}

#[derive(Debug, thiserror::Error)]
enum ContentError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the attestor ends")]
    Ending,
}

impl Images {
    /// Nothing known yet. `credentials`: the file of what registries are shown; `without_tls`: registries on this machine
    /// that are asked without TLS.
    pub(crate) fn new(
        credentials: Option<&Path>,
        without_tls: Vec<String>,
    ) -> Result<Self, ImagesError> {
        if let Some(elsewhere) = without_tls.iter().find(|registry| !is_here(registry)) {
            return Err(ImagesError::NotHere(elsewhere.clone()));
        }
        let credentials = credentials.map(Credentials::read).transpose()?;
        // The grammar of names is compiled at its first use, which no review should wait for.
        let _compiled = ImageName::parse("a");
        Ok(Self {
            asked: Arc::new(Asked {
                registries: Registries::new(credentials.unwrap_or_default(), without_tls)?,
                contents: Cache::new(KEPT),
            }),
            registered: Cache::new(KEPT),
            signatures: Signatures::new(),
        })
    }

    /// Every registry that may be asked.
    pub(super) fn registries(&self) -> &Registries {
        &self.asked.registries
    }

    /// What was learned of the image with this manifest; `None`: nobody asked for it yet, or it is an index.
    pub(super) fn known(&self, digest: &OciDigest) -> Option<Arc<Known>> {
        let asked = || match self.asked.contents.get(digest)? {
            Content::Image(known) => Some(known),
            Content::Index(_) => None,
        };
        self.registered.get(digest).or_else(asked)
    }

    /// Fills in what `policies` want to know of the images of `pods`, which may be one and the same pod as it was seen.
    /// What cannot be learned in time stays unknown; of more images than are looked at nothing is learned, and a finding
    /// says so.
    pub(super) async fn learn(
        &self,
        store: &Store,
        policies: &PolicySet,
        pods: &mut [PodFacts],
        secrets: &Arc<PullSecrets>,
    ) -> Result<Option<Finding>, StoreError> {
        let names = wanted(policies, pods);
        let signed = signatures::wanted(policies, pods);
        let count = names.len().max(signed.len());
        if count > IMAGES_MAX {
            let finding = Finding::new("images-too-many").expected(IMAGES_MAX);
            return Ok(Some(finding.observed(count)));
        }
        let namespace = pods.first().map(|pod| pod.namespace.as_str());
        let wait = Wait {
            deadline: Instant::now() + PATIENCE,
            namespace: namespace.unwrap_or_default().into(),
            secrets: Arc::clone(secrets),
        };
        self.read_manifests(store, &names, pods, &wait).await?;
        let signatures = &self.signatures;
        signatures.learn(&self.asked, signed, pods, &wait).await;
        Ok(None)
    }

    /// Fills in whether images are encrypted and registered.
    async fn read_manifests(
        &self,
        store: &Store,
        names: &BTreeMap<OciDigest, ImageName>,
        pods: &mut [PodFacts],
        wait: &Wait,
    ) -> Result<(), StoreError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut learned = Learned::default();
        self.read_register(store, names, &mut learned).await?;
        self.ask(names, wait, &mut learned).await;
        let parts = learned.parts(names);
        self.read_register(store, &parts, &mut learned).await?;
        self.ask(&parts, wait, &mut learned).await;
        for image in pods.iter_mut().flat_map(|pod| &mut pod.images) {
            if let Some(digest) = &image.digest.filter(|digest| names.contains_key(digest)) {
                (image.encrypted, image.registered) = learned.state(digest);
            }
        }
        Ok(())
    }

    /// Which of `names` are registered.
    async fn read_register(
        &self,
        store: &Store,
        names: &BTreeMap<OciDigest, ImageName>,
        learned: &mut Learned,
    ) -> Result<(), StoreError> {
        let mut unknown = Vec::new();
        for digest in names.keys() {
            match self.registered.get(digest) {
                Some(known) => drop(learned.registered.insert(*digest, known.encrypted)),
                None => unknown.push(*digest),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let mut tx = store.read().await?;
        for digest in unknown {
            if let Some(image) = tx.image(&digest).await? {
                learned.registered.insert(digest, image.encrypted);
                let known = Known::registered(image)?;
                self.registered.insert(digest, Arc::new(known));
            }
        }
        Ok(())
    }

    /// Reads the manifests of those of `names` that are not registered.
    async fn ask(
        &self,
        names: &BTreeMap<OciDigest, ImageName>,
        wait: &Wait,
        learned: &mut Learned,
    ) {
        // They end with this review: nobody heaps up calls by asking again and again.
        let mut calls = JoinSet::new();
        for (digest, name) in names {
            if learned.registered.contains_key(digest) {
                continue;
            }
            if let Some(content) = self.asked.contents.get(digest) {
                learned.contents.insert(*digest, content);
                continue;
            }
            let (asked, name, digest) = (Arc::clone(&self.asked), name.clone(), *digest);
            let wait = wait.clone();
            calls.spawn(async move {
                let content = asked.content(&wait, &name, &digest);
                let content = timeout_at(wait.deadline, content).await;
                (name, digest, content)
            });
        }
        while let Some(call) = calls.join_next().await {
            match call {
                Ok((_, digest, Ok(Ok(content)))) => {
                    learned.contents.insert(digest, content);
                }
                Ok((name, digest, Ok(Err(error)))) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(image = %name.full(), %digest, error, "nothing was learned of an image");
                }
                Ok((name, digest, Err(_))) => {
                    tracing::warn!(image = %name.full(), %digest, "a registry did not answer in time");
                }
                Err(error) => tracing::error!(%error, "nothing was learned of an image"),
            }
        }
    }
}

impl Asked {
    async fn content(
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

/// By their digests, the images that policies want to know more of.
fn wanted(policies: &PolicySet, pods: &[PodFacts]) -> BTreeMap<OciDigest, ImageName> {
    let images = pods.iter().flat_map(|pod| to_learn(policies, pod));
    let named = images.filter_map(
        |ImageFacts {
             digest, reference, ..
         }| { Some(((*digest)?, ImageName::parse(reference)?)) },
    );
    named.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use touchstone_evidence::digest::Sha256Digest;
    use touchstone_policies::admit::ImageUse;

    use super::*;

    fn image(number: usize) -> ImageFacts {
        let digest = OciDigest(Sha256Digest::of(&number.to_be_bytes()));
        ImageFacts {
            container: format!("c{number}"),
            used: ImageUse::Ordinary,
            reference: format!("127.0.0.1:1/a@{digest}"),
            name: Some("127.0.0.1:1/a".to_owned()),
            digest: Some(digest),
            encrypted: None,
            registered: None,
            signers: None,
        }
    }

    #[tokio::test]
    async fn of_more_images_than_are_looked_at_it_is_said_that_nothing_is_learned() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let url = format!("sqlite:{}", file.display());
        let store = Store::open(&url).await.unwrap();
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let images = Images::new(None, vec!["127.0.0.1:1".to_owned()]).unwrap();
        let secrets = Arc::new(PullSecrets::none());
        let key = "MCowBQYDK2VwAyEAR7zPrUV8jOKiIcgpmCoksMGSgTjgBcYEf7ilQO7qtWc=";
        for demand in ["encrypted: true", &format!("signedBy: ['{key}']")] {
            let policies = PolicySet::parse(&format!(
                "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w}}\n\
                 spec: {{pod: {{namespaces: [a]}}, images: {{{demand}}}, host: {{tier: affirming}}}}\n"
            ));
            let policies = policies.unwrap();
            for (count, told) in [(64, false), (65, true)] {
                let mut pod = PodFacts {
                    namespace: "a".to_owned(),
                    images: (0..count).map(image).collect(),
                    ..PodFacts::default()
                };
                let pods = std::slice::from_mut(&mut pod);
                let said = images.learn(&store, &policies, pods, &secrets).await;
                let said = said.unwrap();
                assert_eq!(said.is_some(), told, "{demand}: {count}");
                let code = said.map(|finding| finding.code);
                assert!(code.is_none_or(|code| code == "images-too-many"));
            }
        }
    }

    #[test]
    fn a_registry_elsewhere_is_not_asked_without_tls() {
        let refused = Images::new(None, vec!["registry.example:5000".to_owned()]);
        assert!(matches!(refused, Err(ImagesError::NotHere(_))));
    }
}
