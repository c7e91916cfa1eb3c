//! What one round costs by itself, of 10,000 pods on 1,000 nodes, without any request. Run with `--ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::HashMap;

use serde_json::json;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_kubernetes::pods::Pod;
use touchstone_policies::admit::HostStanding;
use touchstone_policies::manifest::PolicySet;

use super::*;
use crate::kubernetes::images::Images;
use crate::store::MappedNode;
use crate::trust_index::TrustIndex;

const NODES: usize = 1_000;
const PODS: usize = 10_000;
const GATED: usize = 100;
const NOW: i64 = 100;

const POLICIES: &str = "apiVersion: touchstone.dev/v1
kind: Region
metadata: {name: germany}
spec: {version: 1, countries: [DE]}
---
apiVersion: touchstone.dev/v1
kind: WorkloadPolicy
metadata: {name: payments}
spec: {pod: {namespaces: [payments]}, host: {tier: affirming}, images: {from: [\"r.example/\"]}}
---
apiVersion: touchstone.dev/v1
kind: WorkloadPolicy
metadata: {name: held}
spec: {pod: {namespaces: [payments], labels: {held: \"yes\"}}, host: {tier: affirming, region: germany}, placement: {hold: true}}
";

fn index() -> TrustIndex {
    let index = TrustIndex::default();
    for number in 0..NODES {
        let host: HostId = format!("h{number}").parse().unwrap();
        let standing = HostStanding {
            host: host.clone(),
            tier: TrustTier::Affirming,
            place: None,
            findings: Vec::new(),
            challenged_at: 90,
            expires_at: 200,
        };
        index.put_host(1, standing, Sha256Digest::ZERO, NOW);
        let mapped = MappedNode {
            cluster: ClusterName::default(),
            node: format!("n{number}"),
            uid: Some(format!("u{number}")),
            host,
            token: None,
            booted_at: None,
        };
        index.put_node(2, mapped);
    }
    index
}

fn nodes() -> Vec<Arc<Node>> {
    let node = |number: usize| {
        let node = json!({
            "metadata": { "name": format!("n{number}"), "uid": format!("u{number}") }, "spec": {},
        });
        Arc::new(serde_json::from_value(node).unwrap())
    };
    (0..NODES).map(node).collect()
}

fn pod(number: usize, gated: bool) -> Arc<Pod> {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let container = |name: &str| json!({ "name": name, "image": format!("r.example/team/{name}:1.2@{digest}") });
    let status = |name: &str| {
        json!({
            "name": name, "imageID": format!("r.example/team/{name}@{digest}"), "state": { "running": {} },
        })
    };
    let mut pod = json!({
        "metadata": {
            "name": format!("api-{number}"), "namespace": "payments", "uid": format!("p{number}-{gated}"),
            "resourceVersion": number.to_string(),
            "labels": {
                "app.kubernetes.io/name": "api", "app.kubernetes.io/instance": "api-eu", "team": "payments",
                "app.kubernetes.io/version": "1.2", "pod-template-hash": "7d9c", "tier": "backend",
                "held": if gated { "yes" } else { "no" },
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("api-{}", number / 10),
                "uid": format!("r{}", number / 10), "controller": true,
            }],
        },
        "spec": { "containers": [container("api"), container("proxy")], "initContainers": [container("setup")] },
        "status": { "phase": "Running", "containerStatuses": [status("api"), status("proxy")] },
    });
    if !gated {
        pod["spec"]["nodeName"] = format!("n{}", number % NODES).into();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

#[test]
#[ignore = "a measurement"]
fn what_a_round_costs() {
    let policies = Arc::new(PolicySet::parse(POLICIES).unwrap());
    let (index, nodes) = (index(), nodes());
    let bound: Vec<Arc<Pod>> = (0..PODS).map(|number| pod(number, false)).collect();
    let gated: Vec<Arc<Pod>> = (0..GATED).map(|number| pod(number, true)).collect();
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let images = Images::new(None, Vec::new()).unwrap();
    let mut integrity = Integrity::new(Arc::new(Webhook::new(images, None)));
    let mut pods = Pods::default();
    // The first one finds out what the others know.
    for round in 0..3 {
        let mut costs = Costs::begin();
        let judged: Vec<(Arc<Node>, Judged)> = nodes
            .iter()
            .map(|node| {
                let name = node.metadata.name.as_deref().unwrap();
                let uid = node.metadata.uid.as_deref().unwrap();
                (Arc::clone(node), Judged::of(index.on_node(name, uid), NOW))
            })
            .collect();
        costs.next("judge nodes");
        let looked = pods.look(Arc::clone(&policies), bound.clone(), gated.clone());
        costs.next("look at pods");
        let by_name: HashMap<&str, &Judged> = judged
            .iter()
            .map(|(node, judged)| (node.metadata.name.as_deref().unwrap(), judged))
            .collect();
        integrity.begin();
        for known in &looked.bound {
            let judged = by_name.get(known.node()).copied();
            let meant = known.meant.as_ref().unwrap();
            let selected = meant.selected(&policies);
            let refusals = evictions::refusals(&policies, &selected, judged, known.node(), NOW);
            assert_eq!(refusals, []);
            let runs = integrity.refusals(&selected, &known.pod, &meant.facts);
            assert_eq!(runs, []);
        }
        costs.next("refusals of bound pods");
        let mut fitting = HashMap::new();
        for known in &looked.gated {
            let meant = known.meant.as_ref().unwrap();
            let fits = || gates::fits_somewhere(&looked, meant, &judged, NOW);
            assert!(!*fitting.entry(&meant.policies).or_insert_with(fits));
        }
        costs.next("gates");
        println!("round {round}: {:?}", costs.all);
    }
}

struct Costs {
    begun: Instant,
    all: Vec<(&'static str, Duration)>,
}

impl Costs {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            all: Vec::new(),
        }
    }

    fn next(&mut self, what: &'static str) {
        self.all.push((what, self.begun.elapsed()));
        self.begun = Instant::now();
    }
}
