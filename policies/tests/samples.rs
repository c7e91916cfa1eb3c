//! Every sample policy against the cases that stand beside it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::TrustTier;
use touchstone_policies::admit::{Behind, HostStanding, ImageFacts, ImageUse, PodFacts, admit};
use touchstone_policies::manifest::PolicySet;

/// The moment at which all cases are decided, seconds since 1970.
const NOW: i64 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    pod: Pod,
    host: Option<Host>,
    refusals: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Pod {
    namespace: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    service_account: String,
    #[serde(default)]
    images: Vec<Image>,
}

/// An image of a container.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Image {
    name: String,
    digest: Option<String>,
    encrypted: Option<bool>,
    registered: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Host {
    tier: TrustTier,
    country: Option<String>,
    expires_in: i64,
    #[serde(default = "ten_seconds_ago")]
    challenged_in: i64,
}

fn ten_seconds_ago() -> i64 {
    -10
}

#[test]
fn every_sample_answers_its_cases() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut decided = 0;
    for sample in std::fs::read_dir(samples).unwrap() {
        let sample = sample.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(sample.join(name)).unwrap();
        let policies = PolicySet::parse(&read("policy.yaml")).unwrap();
        let cases: Vec<Case> = serde_saphyr::from_str(&read("cases.yaml")).unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let name = format!("{}: {}", sample.display(), case.case);
            let pod = facts(case.pod);
            let host = case.host.map(standing);
            let admission = admit(&policies, &pod, Behind::Host(host.as_ref()), NOW);
            let codes: Vec<&str> = admission
                .refusals()
                .iter()
                .map(|f| f.code.as_str())
                .collect();
            assert_eq!(codes, case.refusals, "{name}");
            decided += 1;
        }
    }
    assert!(decided >= 12);
}

fn facts(pod: Pod) -> PodFacts {
    PodFacts {
        namespace: pod.namespace,
        labels: pod.labels,
        service_account: pod.service_account,
        images: pod.images.into_iter().map(image).collect(),
        workload: None,
        pull_secrets: Vec::new(),
        tolerates: None,
    }
}

fn image(image: Image) -> ImageFacts {
    ImageFacts {
        container: "c".to_owned(),
        used: ImageUse::Ordinary,
        reference: image.name.clone(),
        name: Some(image.name),
        digest: image.digest.map(|digest| digest.parse().unwrap()),
        encrypted: image.encrypted,
        registered: image.registered,
        signers: None,
    }
}

fn standing(host: Host) -> HostStanding {
    HostStanding {
        host: "host-1".parse().unwrap(),
        tier: host.tier,
        place: host
            .country
            .map(|country| Place::new(&country, None, "site1").unwrap()),
        findings: Vec::new(),
        challenged_at: NOW + host.challenged_in,
        expires_at: NOW + host.expires_in,
    }
}
