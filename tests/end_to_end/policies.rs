//! Host policies: which reference values count, which policy is for a host, how long a verdict holds.

use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::world::{World, healthy_host, sample_policy};

fn sample() -> String {
    std::fs::read_to_string(sample_policy()).unwrap()
}

fn apply(world: &World, manifests: &str) {
    let file = world.server.file("policy.yaml", manifests);
    world.server.command(&["policy", "apply", &file]);
}

/// A policy for `de-1` that demands nothing but its identity.
fn identity_only(name: &str) -> String {
    format!(
        "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{hosts: [de-1], freshnessSeconds: 60}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn only_active_reference_values_count() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    for word in ["Pending", "Obsolete", "Retired", "Revoked"] {
        let changed = sample().replace("lifeCycle: Active", &format!("lifeCycle: {word}"));
        apply(&world, &changed);
        let answer = liar.lie(|_| ()).await.unwrap();
        assert_eq!(answer.tier, TrustTier::None, "{word}");
        assert_eq!(codes(&answer), ["reference-values-absent"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_counts_by_itself_and_two_policies_are_none() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    apply(&world, &identity_only("one"));
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
    let lie = liar.lie(|lie| {
        lie.pcrs.0.insert(8, Sha256Digest::ZERO);
    });
    assert_eq!(lie.await.unwrap().tier, TrustTier::Contraindicated);
    let both = format!("{}---\n{}", identity_only("one"), identity_only("two"));
    apply(&world, &both);
    let answer = liar.lie(|_| ()).await.unwrap();
    assert_eq!(answer.tier, TrustTier::None);
    assert_eq!(codes(&answer), ["host-policy-ambiguous"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_holds_from_the_challenge_on_however_late_the_answer() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // The tag holds for longer, so that the policy decides.
    apply(
        &world,
        &sample().replace("freshnessSeconds: 300", "freshnessSeconds: 60"),
    );
    let challenge = liar.challenge().await;
    let evidence = liar.evidence(&challenge).await;
    // Until the challenge is no longer new; asking something passes the time.
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(2) {
        world.server.get("/healthz").await;
    }
    let told = liar.send(&evidence).await;
    assert_eq!(touchstone_tpm_sim::lies::code(&told), "none");
    let entries = world.server.audit_entries();
    let entry = entries
        .iter()
        .rfind(|entry| entry["kind"] == "host-appraised")
        .unwrap();
    let challenged_at = entry["challenged_at"].as_i64().unwrap();
    assert_eq!(entry["expires_at"], challenged_at + 60);
    let view = world.server.get("/v1/hosts/de-1").await;
    assert_eq!(view["expires_at"], entry["expires_at"]);
}
