//! Which keys of policies signed an image, by what its registry keeps beside it. A signature that held holds for ever;
//! one that is not there yet may be there later.

use std::collections::BTreeMap;
use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::publisher::{
    Candidate, PAYLOAD_MAX, PublisherKey, SIGNATURES_MAX, SignatureError, tag_of,
};
use touchstone_kubernetes::image::ImageName;
use touchstone_policies::admit::{PodFacts, to_verify};
use touchstone_policies::manifest::PolicySet;

use super::super::registry::Source;
use super::{Asked, ContentError, Wait};

/// Most signatures that are kept as held.
const KEPT: usize = 4096;

/// Signatures that held: image and key.
pub(super) struct Signatures(Cache<(OciDigest, Sha256Digest), ()>);

/// An image, and the keys that may have signed it.
pub(super) struct Wanted {
    name: ImageName,
    keys: Vec<PublisherKey>,
}

impl Signatures {
    pub(super) fn new() -> Self {
        Self(Cache::new(KEPT))
    }

    /// Fills in who signed the images of `pods`, where it is `wanted`. What cannot be learned in time stays unknown.
    pub(super) async fn learn(
        &self,
        asked: &Arc<Asked>,
        wanted: BTreeMap<OciDigest, Wanted>,
        pods: &mut [PodFacts],
        wait: &Wait,
    ) {
        let mut signers = BTreeMap::new();
        let mut calls = JoinSet::new();
        for (digest, wanted) in wanted {
            let held = self.held(&digest, &wanted.keys);
            // Any key is enough for a policy; of two policies each may name another one.
            if held.len() == wanted.keys.len() {
                signers.insert(digest, held);
                continue;
            }
            let (asked, wait) = (Arc::clone(asked), wait.clone());
            calls.spawn(async move {
                let found = asked.signers(&wait, &wanted, &digest);
                let found = timeout_at(wait.deadline, found).await;
                (digest, wanted, held, found)
            });
        }
        while let Some(call) = calls.join_next().await {
            let Ok((digest, wanted, mut held, found)) = call else {
                continue;
            };
            match found {
                Ok(Ok(found)) => {
                    for key in found {
                        self.0.insert((digest, key), ());
                        held.push(key);
                    }
                }
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(image = %wanted.name.full(), %digest, error, "no signature of an image was read");
                }
                Err(_) => {
                    tracing::warn!(image = %wanted.name.full(), %digest, "a registry did not send signatures in time");
                }
            }
            signers.insert(digest, held);
        }
        for image in pods.iter_mut().flat_map(|pod| &mut pod.images) {
            if let Some(found) = image.digest.and_then(|digest| signers.get(&digest)) {
                image.signers = Some(found.clone());
            }
        }
    }

    fn held(&self, digest: &OciDigest, keys: &[PublisherKey]) -> Vec<Sha256Digest> {
        let ids = keys.iter().map(PublisherKey::id);
        ids.filter(|id| self.0.get(&(*digest, *id)).is_some())
            .collect()
    }
}

impl Asked {
    /// The keys among `wanted` that signed the image, asked for by pods of `namespace`.
    async fn signers(
        &self,
        wait: &Wait,
        wanted: &Wanted,
        digest: &OciDigest,
    ) -> Result<Vec<Sha256Digest>, ContentError> {
        let _turn = self
            .registries
            .turn(&wait.namespace)
            .await
            .ok_or(ContentError::Ending)?;
        let image = Source {
            image: wanted.name.reference(),
            secrets: &wait.secrets,
        };
        let tag = tag_of(digest);
        let manifest = self
            .registries
            .manifest_under(image, &tag, SIGNATURES_MAX)
            .await?;
        let mut signers = Vec::new();
        let mut why = SignatureError::Manifest("it names none".to_owned()).into();
        for candidate in Candidate::parse_all(&manifest)? {
            match self.signers_of(image, &candidate, wanted, digest).await {
                Ok(found) => signers.extend(found),
                Err(error) => why = error,
            }
            signers.sort_unstable();
            signers.dedup();
            if signers.len() == wanted.keys.len() {
                break;
            }
        }
        match signers.is_empty() {
            true => Err(why),
            false => Ok(signers),
        }
    }

    /// The same by one signature.
    async fn signers_of(
        &self,
        image: Source<'_>,
        candidate: &Candidate,
        wanted: &Wanted,
        digest: &OciDigest,
    ) -> Result<Vec<Sha256Digest>, ContentError> {
        let blob = &candidate.payload;
        let payload = self.registries.blob(image, blob, PAYLOAD_MAX).await?;
        let mut signers = Vec::new();
        let mut why = SignatureError::OtherKey;
        for key in &wanted.keys {
            match candidate.verify(&payload, key, digest) {
                Ok(signed) => signers.push(signed.key()),
                Err(error) => why = error,
            }
        }
        match signers.is_empty() {
            true => Err(why.into()),
            false => Ok(signers),
        }
    }
}

/// By their digests, the images of `pods` of which `policies` want to know who signed them.
pub(super) fn wanted(policies: &PolicySet, pods: &[PodFacts]) -> BTreeMap<OciDigest, Wanted> {
    let mut all: BTreeMap<OciDigest, Wanted> = BTreeMap::new();
    for (image, keys) in pods.iter().flat_map(|pod| to_verify(policies, pod)) {
        let (Some(digest), Some(name)) = (image.digest, ImageName::parse(&image.reference)) else {
            continue;
        };
        let wanted = all.entry(digest).or_insert_with(|| Wanted {
            name,
            keys: Vec::new(),
        });
        for key in keys {
            if !wanted.keys.contains(key) {
                wanted.keys.push(key.clone());
            }
        }
    }
    all
}
