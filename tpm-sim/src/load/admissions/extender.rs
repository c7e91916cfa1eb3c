//! A scheduler that asks the attestor's extender which of all nodes a pod may go to, one question after the other.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use hyper::Method;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::latency::{Latencies, Latency};
use crate::metrics;
use crate::progress;
use crate::report::micros_each;
use crate::subject::Subject;
use crate::wire::Connection;

/// How often it asks: enough that a hundredth of them are more than one or two.
const QUESTIONS: u64 = 300;

/// The phase. What is not known is null.
#[derive(Debug, Serialize)]
pub(crate) struct Filtering {
    /// Nodes in each question, all of which the pod may go to.
    pub(crate) nodes: usize,
    pub(crate) questions: u64,
    pub(crate) latency_milliseconds: Option<Latency>,
    pub(crate) server_cpu_micros_each: Option<f64>,
}

/// `ExtenderFilterResult`, as far as it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filtered {
    node_names: Vec<String>,
    error: String,
}

/// Asks about `pod` and `nodes`.
pub(super) async fn ask(
    subject: &Subject,
    pod: &Value,
    nodes: &[String],
) -> anyhow::Result<Filtering> {
    let tls = subject.tls.anonymous()?;
    let connection = Connection::open(&subject.endpoint, &tls).await?;
    let path = subject.credential.extender_path("filter")?;
    let question = json!({ "Pod": pod, "Nodes": null, "NodeNames": nodes });
    let question = Bytes::from(serde_json::to_vec(&question)?);
    let before = metrics::read(&subject.operator).await;
    let mut latencies = Latencies::default();
    let bar = progress::bar("asking the extender", QUESTIONS);
    for _ in 0..QUESTIONS {
        let began = Instant::now();
        let sent = connection.send(Method::POST, &path, None, question.clone());
        let answer = sent.await.context("the extender does not answer")?;
        latencies.add(began.elapsed());
        ensure!(
            answer.is_success(),
            "the extender answers {}",
            answer.status
        );
        let filtered: Filtered = serde_json::from_slice(&answer.body)?;
        ensure!(
            filtered.node_names == nodes,
            "the extender leaves {} of {} nodes: {}",
            filtered.node_names.len(),
            nodes.len(),
            filtered.error
        );
        bar.inc(1);
    }
    bar.finish_and_clear();
    let spent = metrics::between(&before, &metrics::read(&subject.operator).await);
    Ok(Filtering {
        nodes: nodes.len(),
        questions: QUESTIONS,
        latency_milliseconds: latencies.percentiles(),
        server_cpu_micros_each: spent.cpu.and_then(|cpu| micros_each(cpu, QUESTIONS)),
    })
}
