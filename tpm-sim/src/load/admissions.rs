//! Pods are made and bound to the hosts' nodes, as a cluster does it: reviews to the attestor's webhook.
//!
//! Each binding is decided and written into the audit log before it is answered; creations only make pods known.
//! Then they are bound once more for trial, at the same rate: what reviews cost that write nothing; if wanted, once
//! more at a webhook that only parses them; and at last a scheduler asks about all nodes at once.

mod beside;
mod extender;
mod fdatasync;
mod found;
mod webhook;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use touchstone_tpm_sim::review::Pod;

use super::arguments::Admissions;
use super::host::random;
use super::load::Load;
use super::metrics;
use super::recording::PODS;
use super::subject::Subject;
use super::{pace, progress};
use beside::Beside;
use extender::Filtering;
use fdatasync::Probe;
use webhook::Webhook;

pub(crate) use found::{Found, Outcome, Tally, Trials};

/// Reviews under way at a time. API servers wait for each, but many of them ask.
const AT_ONCE: usize = 64;
/// Most nodes that pods are bound to, each of another host.
const NODES_MAX: usize = 5000;
/// Most pods. More bindings than that bind them again in turn, each to another node: the attestor decides anew.
const PODS_MAX: usize = 10_000;
/// How long a binding that was due in time is waited for.
const GRACE: Duration = Duration::from_secs(30);

/// A review of a pod's binding, made of its own uid and the node's name.
type Asking = fn(&Pod<'_>, &str, &str) -> Value;

/// Pods, and the nodes that they are bound to.
struct Cluster {
    run: String,
    pods: Vec<String>,
    nodes: Vec<String>,
}

/// Binds pods at `rate` to nodes of the hosts of `load`.
pub(crate) async fn run(
    admissions: &Admissions,
    rate: f64,
    subject: &Subject,
    load: &Arc<Load>,
) -> anyhow::Result<Found> {
    let due = pace::turns(rate, admissions.duration());
    ensure!(
        due > 0,
        "no binding is due; raise --admissions or --admissions-for"
    );
    let webhook = Webhook::of(
        &subject.credential,
        &subject.endpoint,
        &subject.tls,
        AT_ONCE,
    );
    let webhook = Arc::new(webhook?);
    let pods = usize::try_from(due).map_or(PODS_MAX, |due| due.min(PODS_MAX));
    let cluster = Cluster {
        run: hex::encode(random::<4>()?),
        nodes: nodes(subject, load).await?,
        pods: uids(pods)?,
    };
    let cluster = Arc::new(cluster);
    // Whatever came before may have taken longer than a verdict holds.
    for number in 0..cluster.nodes.len() {
        load.round(number, Instant::now()).await;
    }

    let before = metrics::read(&subject.operator).await;
    let began = Instant::now();
    create(&cluster, &webhook).await?;
    let created = began.elapsed();
    let between = metrics::read(&subject.operator).await;
    let probe = admissions.fdatasync_in.as_deref().map(Probe::start);
    let probe = probe.transpose()?;
    let (tally, took) = bind(
        &cluster,
        &webhook,
        |pod, review, node| pod.binding(review, node),
        rate,
        admissions.duration(),
    )
    .await;
    let fdatasync = probe.map(Probe::finish).transpose()?.flatten();
    let after = metrics::read(&subject.operator).await;
    let (trials, _) = bind(
        &cluster,
        &webhook,
        |pod, review, node| pod.trial(review, node),
        rate,
        admissions.duration(),
    )
    .await;
    let end = metrics::read(&subject.operator).await;
    let parsing = match &admissions.beside {
        Some(path) => Some(parse(path, &cluster, rate, admissions.duration()).await?),
        None => None,
    };
    let filtering = filter(subject, &cluster).await?;
    let creations = (
        pods as u64,
        created,
        metrics::between(&before, &between).cpu,
    );
    let spent = metrics::between(&between, &after);
    let trials = Trials::new(trials, metrics::between(&after, &end));
    Ok(
        Found::new(rate, creations, (tally, took), spent, trials, fdatasync)
            .followed_by(parsing, filtering),
    )
}

/// The same bindings, at a webhook that only parses them.
async fn parse(
    path: &Path,
    cluster: &Arc<Cluster>,
    rate: f64,
    duration: Duration,
) -> anyhow::Result<Trials> {
    let Beside {
        webhook,
        metrics: operator,
    } = Beside::meet(path).await?;
    let before = metrics::read(&operator).await;
    let binding: Asking = |pod, review, node| pod.binding(review, node);
    let (parsed, _) = bind(cluster, &Arc::new(webhook), binding, rate, duration).await;
    let spent = metrics::between(&before, &metrics::read(&operator).await);
    Ok(Trials::new(parsed, spent))
}

/// A scheduler asks where the first pod may go.
async fn filter(subject: &Subject, cluster: &Cluster) -> anyhow::Result<Filtering> {
    let (review, mut name) = (uid()?, String::new());
    let creation = cluster.pod(0, &mut name)?.creation(&review);
    extender::ask(subject, &creation["request"]["object"], &cluster.nodes).await
}

/// Says which host is behind which node.
async fn nodes(subject: &Subject, load: &Load) -> anyhow::Result<Vec<String>> {
    let mut nodes = Vec::new();
    for host in load.names().take(NODES_MAX) {
        let node = format!("node-{host}");
        let body = json!({ "node": node, "host": host });
        subject.operator.post("/v1/nodes", &body).await?;
        nodes.push(node);
    }
    Ok(nodes)
}

/// What an API server calls them.
fn uids(count: usize) -> anyhow::Result<Vec<String>> {
    (0..count).map(|_| uid()).collect()
}

/// A UUID (RFC 9562) of random bits.
fn uid() -> anyhow::Result<String> {
    let random = u128::from_be_bytes(random()?);
    let bits = random & !(0xf000 << 64) & !(0b11 << 62) | 0x4000 << 64 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
    Ok(parts.join("-"))
}

impl Cluster {
    fn pod<'a>(&'a self, number: usize, name: &'a mut String) -> anyhow::Result<Pod<'a>> {
        *name = format!("load-{}-{number}", self.run);
        Ok(Pod {
            namespace: PODS,
            name,
            uid: self.pods.get(number).context("there is no such pod")?,
            app: PODS,
        })
    }

    /// The binding that is due at a turn: pods in turn, and with each time around on the next node.
    async fn bind(
        &self,
        turn: usize,
        webhook: &Webhook,
        asking: Asking,
    ) -> anyhow::Result<Outcome> {
        let (pod, around) = (turn % self.pods.len(), turn / self.pods.len());
        let node = self.nodes.get((pod + around) % self.nodes.len());
        let node = node.context("there is no node")?;
        let (review, mut name) = (uid()?, String::new());
        let binding = asking(&self.pod(pod, &mut name)?, &review, node);
        let decision = webhook.ask(&review, &binding).await?;
        Ok(Outcome::of(&decision))
    }
}

/// Makes all pods known, as fast as it is answered.
async fn create(cluster: &Arc<Cluster>, webhook: &Arc<Webhook>) -> anyhow::Result<()> {
    let bar = progress::bar("creating pods", cluster.pods.len() as u64);
    let mut under_way = JoinSet::new();
    for number in 0..cluster.pods.len() {
        let (cluster, webhook) = (Arc::clone(cluster), Arc::clone(webhook));
        under_way.spawn(async move {
            let (review, mut name) = (uid()?, String::new());
            let creation = cluster.pod(number, &mut name)?.creation(&review);
            webhook.ask(&review, &creation).await
        });
    }
    while let Some(created) = under_way.join_next().await {
        let created = created?.context("a pod could not be made known")?;
        if !created.allowed {
            let why = created.message().unwrap_or_default();
            bail!("a pod may not even be created: {why}");
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Bindings at `rate` for `duration`, each due at its own moment.
async fn bind(
    cluster: &Arc<Cluster>,
    webhook: &Arc<Webhook>,
    asking: Asking,
    rate: f64,
    duration: Duration,
) -> (Tally, Duration) {
    let began = Instant::now();
    let (results, outcomes) = unbounded_channel();
    let (cluster, webhook) = (Arc::clone(cluster), Arc::clone(webhook));
    let runtime = Handle::current();
    pace::start(began, rate, duration, move |turn, due| {
        let (cluster, webhook) = (Arc::clone(&cluster), Arc::clone(&webhook));
        let results = results.clone();
        runtime.spawn(async move {
            let bound =
                timeout_at((due + GRACE).into(), cluster.bind(turn, &webhook, asking)).await;
            let outcome = match bound {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => Outcome::Lost(format!("{error:#}")),
                Err(_) => Outcome::Lost(format!("no answer within {GRACE:?}")),
            };
            let _collected = results.send((outcome, due.elapsed()));
        });
    });
    let bar = progress::bar("binding pods", pace::turns(rate, duration));
    let tally = collect(outcomes, &bar).await;
    bar.finish_and_clear();
    (tally, began.elapsed())
}

async fn collect(
    mut outcomes: UnboundedReceiver<(Outcome, Duration)>,
    bar: &indicatif::ProgressBar,
) -> Tally {
    let mut tally = Tally::default();
    while let Some((outcome, latency)) = outcomes.recv().await {
        tally.add(outcome, latency);
        bar.inc(1);
    }
    tally
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_a_uuid_of_version_4() {
        let (one, other) = (uid().unwrap(), uid().unwrap());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]), "{one}");
    }
}
