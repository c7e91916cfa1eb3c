//! Kubernetes, live: a real API server, scheduler and controller-manager ask a real attestor about real hosts.
//!
//! `KUBEBUILDER_ASSETS` names their programs; without it each test says loudly that it is skipped, and with
//! `TOUCHSTONE_LIVE=required` it fails. A control plane takes ten seconds to start, so each test goes through many
//! scenes; the scenes have the names.

mod bypasses;
mod clusters;
mod custody;
mod entries;
mod events;
mod extender;
mod healing;
mod kubelets;
mod leading;
mod marks;
mod node_links;
mod objects;
mod pace;
mod placement;
mod pull_secrets;
mod reboots;
mod turns;

use touchstone_tests::cluster::{Cluster, assets, assets_and_kubelet};
use touchstone_tests::registry::Registry;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_the_policy_runs_only_where_it_may_however_it_is_asked_for() {
    let Some(assets) = assets() else {
        return;
    };
    let cluster = Cluster::start(assets).await;
    placement::of_six_nodes_only_the_proven_one_in_germany_gets_the_pod(&cluster).await;
    placement::what_no_policy_is_for_runs_anywhere(&cluster).await;
    placement::a_pod_that_a_controller_makes_is_judged_as_any(&cluster).await;
    bypasses::a_preset_node_is_judged_as_a_binding(&cluster).await;
    bypasses::a_binding_by_hand_is_judged_whichever_way_it_comes(&cluster).await;
    bypasses::a_binding_without_the_uid_of_a_known_pod_is_refused(&cluster).await;
    bypasses::what_is_only_tried_is_judged_and_leaves_nothing(&cluster).await;
    bypasses::no_label_of_a_namespace_takes_its_pods_away(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_with_our_extender_chooses_only_hosts_that_may() {
    let Some(assets) = assets() else {
        return;
    };
    let mut cluster = Cluster::start(assets).await;
    extender::the_scheduler_asks_before_it_chooses(&mut cluster).await;
    extender::where_no_node_passes_the_pod_says_why(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_its_attestor_heals_and_waits_with_what_needs_it() {
    let Some(assets) = assets() else {
        return;
    };
    let mut cluster = Cluster::start(assets).await;
    healing::while_the_webhook_is_down_the_system_heals_and_the_pod_waits(&mut cluster).await;
    healing::a_cold_cluster_comes_up_before_the_attestor(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watching_attestor_marks_nodes_and_ends_pods() {
    let Some(assets) = assets() else {
        return;
    };
    let settings = "grace-seconds = 2\nreboot-grace-seconds = 2\n";
    let mut cluster = Cluster::start_watched(assets, settings).await;
    marks::each_node_carries_what_is_held_about_its_host(&cluster).await;
    marks::the_scheduler_does_not_even_try_a_host_that_fell(&cluster).await;
    marks::a_pod_that_names_no_node_is_steered_to_a_host_that_fits(&cluster).await;
    marks::a_mark_that_somebody_else_wrote_is_taken_back(&cluster).await;
    marks::a_node_that_is_made_anew_under_its_name_has_no_host(&cluster).await;
    marks::what_a_leader_before_said_is_taken_back_or_said_anew(&mut cluster).await;
    reboots::a_node_that_rebooted_loses_its_pods_until_it_proves_itself(&mut cluster).await;
    reboots::a_pod_that_is_written_strangely_keeps_nobody_from_the_others(&mut cluster).await;
    turns::a_webhook_that_is_taken_away_is_recorded(&cluster).await;
    turns::a_webhook_that_leads_elsewhere_or_was_exchanged_unseen_is_recorded(&mut cluster).await;
}

/// A cluster of its own: the breaker counts nodes that lost pods within ten minutes, whatever scene they did it in.
#[tokio::test(flavor = "multi_thread")]
async fn a_watching_attestor_ends_pods_where_hosts_turn() {
    let Some(assets) = assets() else {
        return;
    };
    let cluster = Cluster::start_watched(assets, "grace-seconds = 2\n").await;
    turns::too_many_that_turn_at_once_keep_their_pods_and_one_does_not(&cluster).await;
    turns::a_host_that_turns_loses_its_pods(&cluster).await;
    reboots::a_kubelet_that_writes_all_the_time_keeps_no_taint_off(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watching_attestor_without_grace_ends_pods_at_once() {
    let Some(assets) = assets() else {
        return;
    };
    let settings = "grace-seconds = 0\nbreaker-percent = 75\n";
    let cluster = Cluster::start_watched(assets, settings).await;
    pace::bad_evidence_taints_its_node_and_ends_its_pods_at_once(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watching_attestor_keeps_custody_of_workloads() {
    let Some(assets) = assets() else {
        return;
    };
    let cluster = Cluster::start_watched(assets, "grace-seconds = 2\n").await;
    custody::let_more_hosts_in(&cluster).await;
    custody::a_pod_that_is_made_anew_is_followed_from_host_to_host(&cluster).await;
    custody::an_image_is_not_changed_where_it_runs(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_kubelet_decrypts_a_pod_s_image_while_its_host_is_proven_and_no_longer() {
    let Some((assets, kubelet)) = assets_and_kubelet() else {
        return;
    };
    let scene = kubelets::Scene::start(assets, kubelet).await;
    kubelets::a_pod_runs_on_the_proven_host_and_ends_when_that_turns(&scene).await;
    kubelets::a_static_pod_gets_no_plaintext_on_an_unattested_host(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watching_attestor_reads_pull_secrets_where_it_is_let() {
    let Some(assets) = assets() else {
        return;
    };
    let registry = Registry::start();
    let image = pull_secrets::closed(&registry);
    let settings = "[registries]\npull-secrets = [\"payments\"]\n";
    let plain = ["--plain-http-registry", &registry.name()];
    let cluster = Cluster::start_watched_with(assets, settings, &plain).await;
    pull_secrets::a_pull_secret_is_shown_where_its_namespace_is_named(&cluster, &registry, &image)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watching_attestor_says_how_it_stands_with_its_cluster() {
    let Some(assets) = assets() else {
        return;
    };
    let mut cluster = Cluster::start_watched(assets, "").await;
    objects::a_policy_object_that_nobody_takes_says_so(&cluster).await;
    leading::an_api_server_that_is_away_is_seen_and_so_is_its_return(&mut cluster).await;
    leading::the_next_one_leads_at_once_after_an_orderly_stop(&mut cluster).await;
}
