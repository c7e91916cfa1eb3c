//! What the attestor counts, for `GET /metrics` (OpenMetrics text).
//!
//! Invariant: labels come from closed sets. Nothing that a caller chooses becomes a label, so that a stranger
//! cannot make the exposition grow.

mod known;

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use touchstone_evidence::result::TrustTier;

use crate::process;
use known::KnownGauge;

/// Counters and their registry.
pub(crate) struct Metrics {
    registry: Registry,
    rounds: Family<OfTier, Counter>,
    refusals: Family<OfCode, Counter>,
    round_seconds: Histogram,
    group_size: Histogram,
    hosts: Family<OfTier, Gauge>,
    log_entries: Gauge,
    host_moves: Counter,
    master_key: Gauge,
    evictions_held: Gauge,
    pods_ended: Counter,
    reviews_denied: Counter,
    /// Nothing where nobody looked.
    webhook_gaps: KnownGauge,
    /// Nothing where no cluster is configured.
    cluster_reachable: KnownGauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTier {
    tier: Tier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tier(TrustTier);

impl EncodeLabelValue for Tier {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.to_string().as_str(), encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCode {
    code: String,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("touchstone");
        let rounds = Family::<OfTier, Counter>::default();
        registry.register("rounds", "Rounds appraised", rounds.clone());
        let refusals = Family::<OfCode, Counter>::default();
        registry.register("refusals", "Messages refused", refusals.clone());
        // A tenth of a millisecond to three seconds.
        let round_seconds = Histogram::new(exponential_buckets(0.0001, 2.0, 15));
        registry.register_with_unit(
            "round",
            "Time from a round's whole body to its committed answer",
            Unit::Seconds,
            round_seconds.clone(),
        );
        let group_size = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        registry.register(
            "commit_group_size",
            "Changes committed together",
            group_size.clone(),
        );
        let hosts = Family::<OfTier, Gauge>::default();
        registry.register(
            "hosts",
            "Hosts by the tier that admission sees now",
            hosts.clone(),
        );
        let log_entries = Gauge::default();
        registry.register(
            "log_entries",
            "Entries of the audit log that this process knows to be committed",
            log_entries.clone(),
        );
        let host_moves = Counter::default();
        registry.register(
            "host_moves",
            "Hosts that proved another place than before",
            host_moves.clone(),
        );
        let master_key = Gauge::default();
        registry.register(
            "master_key_available",
            "Whether the master key can be used: 0 while its token is away",
            master_key.clone(),
        );
        let evictions_held = Gauge::default();
        registry.register(
            "evictions_held",
            "Nodes whose pods stay although they are to end, since too many are to at once",
            evictions_held.clone(),
        );
        let pods_ended = Counter::default();
        registry.register(
            "pods_ended",
            "Pods that were told to end where they ran",
            pods_ended.clone(),
        );
        let reviews_denied = Counter::default();
        registry.register(
            "reviews_denied",
            "Reviews that were not let in: with another secret in the path, or by a TLS key that nobody named",
            reviews_denied.clone(),
        );
        let webhook_gaps = KnownGauge::default();
        registry.register(
            "webhook_gaps",
            "Kinds of requests that the API server does not ask about though it must",
            webhook_gaps.clone(),
        );
        let cluster_reachable = KnownGauge::default();
        registry.register(
            "cluster_reachable",
            "Whether the API server of the cluster answers, and is of no other cluster",
            cluster_reachable.clone(),
        );
        Self {
            registry,
            rounds,
            refusals,
            round_seconds,
            group_size,
            hosts,
            log_entries,
            host_moves,
            master_key,
            evictions_held,
            pods_ended,
            reviews_denied,
            webhook_gaps,
            cluster_reachable,
        }
    }

    /// Counts an appraised round.
    pub(crate) fn round(&self, tier: TrustTier, took: Duration) {
        let label = OfTier { tier: Tier(tier) };
        self.rounds.get_or_create(&label).inc();
        self.round_seconds.observe(took.as_secs_f64());
    }

    /// Counts a host that proved another place than before.
    pub(crate) fn host_moved(&self) {
        self.host_moves.inc();
    }

    /// Counts a refused message. `code` is one of docs/findings.md.
    pub(crate) fn refusal(&self, code: &str) {
        let code = code.to_owned();
        self.refusals.get_or_create(&OfCode { code }).inc();
    }

    /// Notes whether the master key can be used.
    pub(crate) fn master_key(&self, available: bool) {
        self.master_key.set(i64::from(available));
    }

    /// Notes how many nodes keep pods that are to end.
    pub(crate) fn evictions_held(&self, nodes: usize) {
        self.evictions_held
            .set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    /// Notes how much the API server does not ask about though it must; `None`: nobody knows.
    pub(crate) fn webhook_gaps(&self, gaps: Option<usize>) {
        let gaps = gaps.map(|gaps| i64::try_from(gaps).unwrap_or(i64::MAX));
        self.webhook_gaps.set(gaps);
    }

    /// Notes whether the API server answers.
    pub(crate) fn cluster_reachable(&self, reachable: bool) {
        self.cluster_reachable.set(Some(i64::from(reachable)));
    }

    /// Counts a review that was not let in.
    pub(crate) fn review_denied(&self) {
        self.reviews_denied.inc();
    }

    /// Counts a pod that was told to end.
    pub(crate) fn pod_ended(&self) {
        self.pods_ended.inc();
    }

    /// Notes how many changes one commit made durable.
    pub(crate) fn committed(&self, together: usize) {
        let together = u32::try_from(together).unwrap_or(u32::MAX);
        self.group_size.observe(f64::from(together));
    }

    /// Everything as text. `hosts` and `log_entries` are what the index holds at this moment.
    pub(crate) fn expose(&self, hosts: &[(TrustTier, usize)], log_entries: u64) -> String {
        for (tier, count) in hosts {
            let label = OfTier { tier: Tier(*tier) };
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.hosts.get_or_create(&label).set(count);
        }
        self.log_entries
            .set(i64::try_from(log_entries).unwrap_or(i64::MAX));
        // The names that Prometheus' own client libraries give what every process has.
        let mut text = format!(
            "# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n\
             # HELP process_cpu_seconds CPU time of all threads.\nprocess_cpu_seconds_total {:.6}\n",
            process::cpu_time().as_secs_f64()
        );
        if let Some(bytes) = process::resident_bytes() {
            text.push_str(&format!(
                "# TYPE process_resident_memory_bytes gauge\n# UNIT process_resident_memory_bytes bytes\n\
                 # HELP process_resident_memory_bytes Resident memory.\nprocess_resident_memory_bytes {bytes}\n"
            ));
        }
        // Writing into a string does not fail.
        let _infallible = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_exposed() {
        let metrics = Metrics::new();
        metrics.round(TrustTier::Affirming, Duration::from_millis(3));
        metrics.refusal("signature-invalid");
        metrics.refusal("signature-invalid");
        let text = metrics.expose(&[(TrustTier::None, 7)], 9);
        for line in [
            "touchstone_rounds_total{tier=\"affirming\"} 1",
            "touchstone_refusals_total{code=\"signature-invalid\"} 2",
            "touchstone_round_seconds_count 1",
            "touchstone_round_seconds_bucket{le=\"0.0032\"} 1",
            "touchstone_round_seconds_bucket{le=\"0.0016\"} 0",
            "touchstone_hosts{tier=\"none\"} 7",
            "touchstone_log_entries 9",
            "# EOF",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        let cpu = text
            .lines()
            .find_map(|line| line.strip_prefix("process_cpu_seconds_total "))
            .and_then(|value| value.parse::<f64>().ok());
        assert!(cpu.is_some_and(|cpu| cpu > 0.0), "{text}");
    }

    #[test]
    fn what_nobody_knows_of_a_cluster_is_not_exposed_as_if_it_were_good() {
        let metrics = Metrics::new();
        let says = |line: &str| metrics.expose(&[], 0).lines().any(|other| other == line);
        let names = |name: &str| {
            let text = metrics.expose(&[], 0);
            text.lines().any(|line| line.starts_with(name))
        };
        let (gaps, reachable) = ("touchstone_webhook_gaps", "touchstone_cluster_reachable");
        assert!(!names(gaps) && !names(reachable));
        metrics.webhook_gaps(Some(0));
        metrics.cluster_reachable(true);
        assert!(says("touchstone_webhook_gaps 0") && says("touchstone_cluster_reachable 1"));
        metrics.webhook_gaps(None);
        metrics.cluster_reachable(false);
        assert!(!names(gaps) && says("touchstone_cluster_reachable 0"));
    }
}
