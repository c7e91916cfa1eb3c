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
    Candidate, PAYLOAD_MAX, PublisherKey, SIGNATURES_MAX, SignatureError, SignedImage, tag_of,
};
use touchstone_kubernetes::image::ImageName;
use touchstone_policies::admit::{PodFacts, to_verify};
use touchstone_policies::manifest::PolicySet;

use super::super::registry::Source;
use super::{Asked, ContentError, Wait};

/// Most signatures that are kept as held.
const KEPT: usize = 4096;

/// Signatures that held, by image and key.
pub(super) struct Signatures(Cache<(OciDigest, Sha256Digest), SignedImage>);

/// An image, and the keys that may have signed it: one of each set is enough.
pub(super) struct Wanted {
    name: ImageName,
    sets: Vec<Vec<PublisherKey>>,
}

impl Wanted {
    /// Whether those who `signed` it are enough.
    fn is_met(&self, signed: &[SignedImage]) -> bool {
        let has_signed = |key: &PublisherKey| signed.iter().any(|one| one.key() == key.id());
        self.sets.iter().all(|keys| keys.iter().any(has_signed))
    }

    /// Each key once.
    fn keys(&self) -> Vec<&PublisherKey> {
        let mut all = Vec::new();
        for key in self.sets.iter().flatten() {
            if !all.contains(&key) {
                all.push(key);
            }
        }
        all
    }
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
            let held = self.held(&digest, &wanted);
            if wanted.is_met(&held) {
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
                    for signed in found {
                        self.0.insert((signed.image(), signed.key()), signed);
                        held.retain(|one| *one != signed);
                        held.push(signed);
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

    fn held(&self, digest: &OciDigest, wanted: &Wanted) -> Vec<SignedImage> {
        let keys = wanted.keys();
        let held = keys.iter().map(|key| self.0.get(&(*digest, key.id())));
        held.flatten().collect()
    }
}

impl Asked {
    /// What holders of keys that are `wanted` signed of the image.
    async fn signers(
        &self,
        wait: &Wait,
        wanted: &Wanted,
        digest: &OciDigest,
    ) -> Result<Vec<SignedImage>, ContentError> {
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
        let mut signers: Vec<SignedImage> = Vec::new();
        let mut why = SignatureError::Manifest("it names none".to_owned()).into();
        for candidate in Candidate::parse_all(&manifest)? {
            match self.signers_of(image, &candidate, wanted, digest).await {
                Ok(found) => {
                    signers.retain(|one| !found.contains(one));
                    signers.extend(found);
                }
                Err(error) => why = error,
            }
            if wanted.is_met(&signers) {
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
    ) -> Result<Vec<SignedImage>, ContentError> {
        let blob = &candidate.payload;
        let payload = self.registries.blob(image, blob, PAYLOAD_MAX).await?;
        let mut signers = Vec::new();
        let mut why = SignatureError::OtherKey;
        for key in wanted.keys() {
            match candidate.verify(&payload, key, digest) {
                Ok(signed) => signers.push(signed),
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
            sets: Vec::new(),
        });
        if !wanted.sets.iter().any(|set| set == keys) {
            wanted.sets.push(keys.to_vec());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    fn image() -> OciDigest {
        OciDigest(Sha256Digest::of(b"image"))
    }

    /// A key, and what its holder signed of [`image`] as cosign does.
    fn signed() -> (PublisherKey, SignedImage) {
        let pair = Ed25519KeyPair::generate().unwrap();
        // RFC 8410.
        let head = hex::decode("302a300506032b6570032100").unwrap();
        let key = STANDARD.encode([&head[..], pair.public_key().as_ref()].concat());
        let key = PublisherKey::parse(&key).unwrap();
        let payload = json!({ "critical": {
            "image": { "docker-manifest-digest": image() }, "type": "cosign container image signature",
        } })
        .to_string();
        let signature = STANDARD.encode(pair.sign(payload.as_bytes()));
        let manifest = json!({ "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": OciDigest(Sha256Digest::of(payload.as_bytes())),
            "annotations": { "dev.cosignproject.cosign/signature": signature },
        }] });
        let all = Candidate::parse_all(manifest.to_string().as_bytes()).unwrap();
        let signed = all[0].verify(payload.as_bytes(), &key, &image());
        (key, signed.unwrap())
    }

    #[test]
    fn one_key_of_each_policy_is_enough_and_is_not_asked_for_again() {
        let [(one, by_one), (two, by_two)] = [signed(), signed()];
        let wanted = |sets: &[&[&PublisherKey]]| Wanted {
            name: ImageName::parse("r.example/a").unwrap(),
            sets: sets
                .iter()
                .map(|set| set.iter().copied().cloned().collect())
                .collect(),
        };
        let signatures = Signatures::new();
        signatures.0.insert((image(), by_one.key()), by_one);
        let either = wanted(&[&[&two, &one]]);
        let held = signatures.held(&image(), &either);
        assert_eq!(held, [by_one]);
        assert!(either.is_met(&held));
        // Of two policies each may name another one.
        let both = wanted(&[&[&two], &[&two, &one]]);
        assert!(!both.is_met(&held));
        assert!(both.is_met(&[by_two]) && both.is_met(&[by_one, by_two]));
        let other = OciDigest(Sha256Digest::of(b"another image"));
        assert!(signatures.held(&other, &either).is_empty());
    }
}
