//! Host policies: which reference values count, which policy is for a host, how long a verdict holds.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::database::Database;
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::server::Server;
use touchstone_tests::world::{healthy_host, sample_policy};

fn sample() -> String {
    std::fs::read_to_string(sample_policy()).unwrap()
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
        world.apply(&changed);
        let answer = liar.lie(|_| ()).await.unwrap();
        assert_eq!(answer.tier, TrustTier::None, "{word}");
        assert_eq!(codes(&answer), ["reference-values-absent"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_counts_by_itself_and_two_policies_are_none() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    world.apply(&identity_only("one"));
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
    let lie = liar.lie(|lie| {
        lie.pcrs.0.insert(8, Sha256Digest::ZERO);
    });
    assert_eq!(lie.await.unwrap().tier, TrustTier::Contraindicated);
    let both = format!("{}---\n{}", identity_only("one"), identity_only("two"));
    world.apply(&both);
    let answer = liar.lie(|_| ()).await.unwrap();
    assert_eq!(answer.tier, TrustTier::None);
    assert_eq!(codes(&answer), ["host-policy-ambiguous"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_holds_from_the_challenge_on_however_late_the_answer() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // The tag holds for longer, so that the policy decides.
    world.apply(&sample().replace("freshnessSeconds: 300", "freshnessSeconds: 60"));
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

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_checked_before_and_kept_after_they_were_in_force() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    let (one, two) = (sample(), identity_only("other"));
    let broken = server.file("broken.yaml", &two.replace("hosts:", "host:"));
    let sound = server.file("sound.yaml", &two);
    // Neither asks the attestor.
    let checked = server.command(&["policy", "check", &sound]);
    assert_eq!(checked["sound"], true);
    assert_eq!(checked["manifests"]["HostPolicy"][0], "other");
    let refused = server.run(&["policy", "check", &broken]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stdout).unwrap();
    assert!(said.contains("host"), "{said}");

    server.command(&["policy", "apply", &sound]);
    let history = server.command(&["policy", "history"]);
    let versions = history["policies"].as_array().unwrap();
    let of = |field: &str| -> Vec<_> { versions.iter().map(|one| one[field].clone()).collect() };
    assert_eq!(of("version"), [2, 1]);
    assert_eq!(of("digest")[0], checked["digest"]);
    let shown = server.command(&["policy", "show", "1"]);
    assert_eq!(shown["manifests"], one);
    assert_eq!(server.command(&["policy", "show"])["manifests"], two);
    let unknown = ["policy", "show", "3"];
    assert_eq!(server.refusal(&unknown), "policy-version-unknown");
    let nodes = server.command(&["node", "list"]);
    assert_eq!(nodes["nodes"][0]["host"], "de-1");
}

/// A cluster that is away, whose objects are the only policies.
const SETTINGS: &str = "policies = \"objects\"\n";
const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
    clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
    users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_that_takes_policies_from_its_cluster_takes_them_from_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, KUBECONFIG).unwrap();
    std::fs::set_permissions(&kubeconfig, Permissions::from_mode(0o600)).unwrap();
    let settings = folder.path().join("kubernetes.toml");
    let reached = format!("kubeconfig = {kubeconfig:?}\n{SETTINGS}");
    std::fs::write(&settings, reached).unwrap();
    let settings = settings.to_str().unwrap();
    let server = Server::start_with(&Database::under_test(), &["--kubernetes", settings]);
    for arguments in [
        &["policy", "apply", &*sample_policy(), "--drain"][..],
        &["reference", "activate", "any"],
    ] {
        let output = server.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains("kubectl apply"), "{said}");
    }
    // Nothing came of it, and looking is free.
    let history = server.get("/v1/policies/history").await;
    assert_eq!(history["policies"], serde_json::json!([]));
}
