//! The images of a pod against what a `WorkloadPolicy` demands of them. What is not known is not met.

use touchstone_evidence::finding::Finding;
use touchstone_evidence::publisher::PublisherKey;

use super::pod::{ImageFacts, PodFacts};
use super::selecting;
use crate::manifest::{ImageDemands, PolicySet};

/// Most findings about the images of one pod by one policy: what else there is is told when these are mended.
const FINDINGS_MAX: usize = 16;

/// Why the images of `pod` do not meet `demands`.
pub(super) fn refusals<'a>(
    demands: &'a ImageDemands,
    pod: &'a PodFacts,
) -> impl Iterator<Item = Finding> {
    let images = pod.images.iter();
    let findings = images.flat_map(|image| match misnamed(demands, image) {
        Some(finding) => vec![finding],
        None => unproven(demands, image),
    });
    findings.take(FINDINGS_MAX)
}

/// Images of `pod` of which it must be known whether they are encrypted and registered, and it is not. Those that are
/// refused by their name already are left out: nobody asks a registry that policy does not allow.
pub fn to_learn<'a>(
    policies: &'a PolicySet,
    pod: &'a PodFacts,
) -> impl Iterator<Item = &'a ImageFacts> {
    let demands = move || selecting(policies, pod).filter_map(|(_, policy)| policy.images.as_ref());
    let images = pod.images.iter();
    images.filter(move |image| {
        let named = demands().all(|demands| misnamed(demands, image).is_none());
        named && demands().any(|demands| is_unknown(demands, image))
    })
}

fn is_unknown(demands: &ImageDemands, image: &ImageFacts) -> bool {
    (demands.encrypted && image.encrypted.is_none())
        || (demands.registered && image.registered.is_none())
}

/// What its name alone says against it.
fn misnamed(demands: &ImageDemands, image: &ImageFacts) -> Option<Finding> {
    if let Some(from) = &demands.from {
        let name = image.name.as_deref();
        let allowed = name.is_some_and(|name| from.iter().any(|prefix| prefix.begins(name)));
        if !allowed {
            let places: Vec<&str> = from.iter().map(|prefix| prefix.as_str()).collect();
            return Some(about(image, "image-from-elsewhere").expected(places.join(", ")));
        }
    }
    let unnamed = image.digest.is_none();
    unnamed.then(|| about(image, "image-by-tag"))
}

fn unproven(demands: &ImageDemands, image: &ImageFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    match image.encrypted {
        _ if !demands.encrypted => {}
        Some(true) => {}
        Some(false) => findings.push(about(image, "image-not-encrypted")),
        None => findings.push(about(image, "image-encryption-unknown")),
    }
    if demands.registered && image.registered != Some(true) {
        findings.push(about(image, "image-not-registered"));
    }
    if let Some(keys) = &demands.signed_by {
        let signers = image.signers.iter().flatten();
        let mut signed = signers.filter(|one| Some(one.image()) == image.digest);
        if !signed.any(|one| keys.iter().any(|key| key.id() == one.key())) {
            let ids: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
            findings.push(about(image, "image-not-signed").expected(ids.join(", ")));
        }
    }
    findings
}

/// Images of `pod` of which it must be known who signed them, and it is not, each with keys that may have.
pub fn to_verify<'a>(
    policies: &'a PolicySet,
    pod: &'a PodFacts,
) -> impl Iterator<Item = (&'a ImageFacts, &'a [PublisherKey])> {
    let demands = move || selecting(policies, pod).filter_map(|(_, policy)| policy.images.as_ref());
    let unknown = pod.images.iter().filter(move |image| {
        let named = demands().all(|demands| misnamed(demands, image).is_none());
        named && image.signers.is_none()
    });
    unknown.flat_map(move |image| {
        let keys = demands().filter_map(|demands| demands.signed_by.as_deref());
        keys.map(move |keys| (image, keys))
    })
}

fn about(image: &ImageFacts, code: &str) -> Finding {
    let subject = format!("{} `{}`", image.used, image.container);
    Finding::new(code).about(subject).observed(&image.reference)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;
    use touchstone_evidence::digest::Sha256Digest;
    use touchstone_evidence::oci_digest::OciDigest;
    use touchstone_evidence::publisher::{Candidate, SignedImage};

    use super::*;
    use crate::admit::admit_images;
    use crate::admit::pod::ImageUse;

    fn policies(demands: &str) -> PolicySet {
        PolicySet::parse(&format!(
            "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w}}\n\
             spec: {{pod: {{namespaces: [a]}}, images: {demands}, host: {{tier: affirming}}}}\n"
        ))
        .unwrap()
    }

    fn image(used: ImageUse) -> ImageFacts {
        let digest = format!("sha256:{}", "0a".repeat(32));
        ImageFacts {
            container: "c".to_owned(),
            used,
            reference: format!("r.example/p/a@{digest}"),
            name: Some("r.example/p/a".to_owned()),
            digest: Some(digest.parse().unwrap()),
            encrypted: Some(true),
            registered: Some(true),
            signers: None,
        }
    }

    fn pod(images: &[ImageFacts]) -> PodFacts {
        PodFacts {
            namespace: "a".to_owned(),
            images: images.to_vec(),
            ..PodFacts::default()
        }
    }

    fn codes(demands: &str, images: &[ImageFacts]) -> Vec<String> {
        let admission = admit_images(&policies(demands), &pod(images));
        assert_eq!(admission.policies(), ["w"]);
        let refusals = admission.refusals().iter();
        refusals.map(|finding| finding.code.clone()).collect()
    }

    /// Who signs images with a key of its own.
    struct Publisher {
        pair: Ed25519KeyPair,
        key: String,
    }

    impl Publisher {
        fn new() -> Self {
            let pair = Ed25519KeyPair::generate().unwrap();
            // RFC 8410.
            let head = hex::decode("302a300506032b6570032100").unwrap();
            let key = STANDARD.encode([&head[..], pair.public_key().as_ref()].concat());
            Self { pair, key }
        }

        /// As cosign does.
        fn sign(&self, image: &OciDigest) -> SignedImage {
            let payload = json!({ "critical": {
                "image": { "docker-manifest-digest": image }, "type": "cosign container image signature",
            } })
            .to_string();
            let signature = STANDARD.encode(self.pair.sign(payload.as_bytes()));
            let manifest = json!({ "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": OciDigest(Sha256Digest::of(payload.as_bytes())),
                "annotations": { "dev.cosignproject.cosign/signature": signature },
            }] });
            let all = Candidate::parse_all(manifest.to_string().as_bytes()).unwrap();
            let key = PublisherKey::parse(&self.key).unwrap();
            all[0].verify(payload.as_bytes(), &key, image).unwrap()
        }
    }

    const ALL: &str = "{encrypted: true, registered: true, from: [q.example/, r.example/p/]}";

    #[test]
    fn what_is_known_and_as_demanded_is_admitted() {
        assert!(codes(ALL, &[image(ImageUse::Ordinary)]).is_empty());
        // Nothing is demanded but a digest.
        let mut unknown = image(ImageUse::Ordinary);
        (unknown.encrypted, unknown.registered) = (Some(false), None);
        assert!(codes("{}", &[unknown]).is_empty());
    }

    #[test]
    fn each_image_of_a_pod_is_judged_whatever_it_is_there_for() {
        for used in [
            ImageUse::Ordinary,
            ImageUse::Init,
            ImageUse::Ephemeral,
            ImageUse::Volume,
        ] {
            let mut plain = image(used);
            plain.encrypted = Some(false);
            let good = image(ImageUse::Ordinary);
            assert_eq!(codes(ALL, &[good, plain]), ["image-not-encrypted"]);
        }
    }

    #[test]
    fn any_of_the_keys_is_enough_and_another_one_is_not() {
        let [one, two] = [(); 2].map(|()| Publisher::new());
        let demands = format!("{{signedBy: ['{}']}}", one.key);
        let signed = |signers: Option<Vec<_>>| {
            let mut image = image(ImageUse::Ordinary);
            image.signers = signers;
            image
        };
        let digest = signed(None).digest.unwrap();
        let both = vec![two.sign(&digest), one.sign(&digest)];
        assert!(codes(&demands, &[signed(Some(both))]).is_empty());
        let other = OciDigest(Sha256Digest::of(b"another image"));
        for signers in [
            None,
            Some(Vec::new()),
            Some(vec![two.sign(&digest)]),
            Some(vec![one.sign(&other)]),
        ] {
            assert_eq!(codes(&demands, &[signed(signers)]), ["image-not-signed"]);
        }
        let either = format!("{{signedBy: ['{}', '{}']}}", one.key, two.key);
        assert!(codes(&either, &[signed(Some(vec![two.sign(&digest)]))]).is_empty());
        let pod = pod(&[signed(None), signed(Some(Vec::new()))]);
        assert_eq!(to_verify(&policies(&either), &pod).count(), 1);
        assert_eq!(to_verify(&policies("{}"), &pod).count(), 0);
    }

    #[test]
    fn a_pod_of_a_thousand_bad_images_is_refused_for_a_few() {
        let bad = |number: usize| ImageFacts {
            container: number.to_string(),
            digest: None,
            ..image(ImageUse::Ordinary)
        };
        let many: Vec<ImageFacts> = (0..1000).map(bad).collect();
        assert_eq!(codes("{}", &many).len(), FINDINGS_MAX);
    }

    #[test]
    fn what_is_not_known_is_not_met() {
        let mut unknown = image(ImageUse::Ordinary);
        (unknown.encrypted, unknown.registered) = (None, None);
        assert_eq!(
            codes(ALL, std::slice::from_ref(&unknown)),
            ["image-encryption-unknown", "image-not-registered"]
        );
        let policies = policies(ALL);
        assert_eq!(to_learn(&policies, &pod(&[unknown])).count(), 1);
    }

    #[test]
    fn a_name_that_refuses_is_told_alone_and_nobody_is_asked_about_it() {
        let mut tagged = image(ImageUse::Ordinary);
        (tagged.digest, tagged.encrypted) = (None, None);
        let mut elsewhere = image(ImageUse::Ordinary);
        (elsewhere.name, elsewhere.encrypted) = (Some("r.example/payments/a".to_owned()), None);
        let mut unreadable = elsewhere.clone();
        unreadable.name = None;
        for (wrong, code) in [
            (tagged, "image-by-tag"),
            (elsewhere, "image-from-elsewhere"),
            (unreadable, "image-from-elsewhere"),
        ] {
            let images = std::slice::from_ref(&wrong);
            assert_eq!(codes(ALL, images), [code]);
            assert_eq!(to_learn(&policies(ALL), &pod(images)).count(), 0);
        }
        for digests in ["required", "resolved"] {
            let mut tagged = image(ImageUse::Ordinary);
            tagged.digest = None;
            let demands = format!("{{digests: {digests}}}");
            assert_eq!(codes(&demands, &[tagged]), ["image-by-tag"]);
        }
    }
}
