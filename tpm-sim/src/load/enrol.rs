//! Hosts are made, and enrolled over the protocol.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use hyper::body::Bytes;
use indicatif::ProgressBar;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use touchstone_evidence::wire::{Enrolled, EnrolmentChallenge};
use touchstone_tpm_sim::software::Maker;

use super::boot::Boot;
use super::crew::Traits;
use super::host::Host;
use super::pool::{Lease, Pool};
use super::recording::{PREFIX, Recording};
use super::wire::Tls;

/// What the hosts of a run are made of.
pub(crate) struct Makings<'a> {
    /// Goes into their names.
    pub(crate) run: &'a str,
    pub(crate) recording: &'a Recording,
    pub(crate) maker: &'a Maker,
    pub(crate) tls: &'a Tls,
    pub(crate) traits: Traits,
}

impl Makings<'_> {
    /// Makes the hosts with these numbers: keys and certificates, about half a millisecond each.
    pub(crate) fn hosts(
        &self,
        numbers: Range<usize>,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<Host>> {
        let recorded = Boot::recorded(self.recording, self.traits.runtime_list)?;
        numbers
            .map(|number| {
                let name = format!("{PREFIX}{}-{number}", self.run);
                let boot = match self.traits.distinct_logs {
                    true => recorded.marked(&name)?,
                    false => Arc::clone(&recorded),
                };
                bar.inc(1);
                let serial = number as u64 + 1;
                Host::make(name.parse()?, serial, self.maker, self.tls, boot)
            })
            .collect()
    }
}

/// Enrols all of them, `at_once` at a time, and gives them back in their order.
pub(crate) async fn enrol(
    hosts: Vec<Host>,
    pool: Arc<Pool>,
    secret: &str,
    at_once: usize,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Host>> {
    let secret: Arc<str> = secret.into();
    let mut waiting = hosts.into_iter().enumerate();
    let mut under_way = JoinSet::new();
    let mut enrolled = Vec::new();
    loop {
        while under_way.len() < at_once
            && let Some((number, host)) = waiting.next()
        {
            under_way.spawn(join(number, host, Arc::clone(&pool), Arc::clone(&secret)));
        }
        let Some(joined) = under_way.join_next().await else {
            break;
        };
        enrolled.push(joined??);
        bar.inc(1);
    }
    enrolled.sort_unstable_by_key(|(number, _)| *number);
    Ok(enrolled.into_iter().map(|(_, host)| host).collect())
}

async fn join(
    number: usize,
    mut host: Host,
    pool: Arc<Pool>,
    secret: Arc<str>,
) -> anyhow::Result<(usize, Host)> {
    let mut lease = pool.lease(number).await?;
    let challenge: EnrolmentChallenge = {
        let request = host.enrolment_request();
        ask(&host, &mut lease, "/v1/enrolments", &secret, &request).await?
    };
    let activation = host.activation(&challenge)?;
    let path = "/v1/enrolments/activate";
    let enrolled: Enrolled = ask(&host, &mut lease, path, &secret, &activation).await?;
    host.challenge = Some(enrolled.challenge);
    Ok((number, host))
}

async fn ask<T: DeserializeOwned>(
    host: &Host,
    lease: &mut Lease<'_>,
    path: &str,
    secret: &str,
    message: &impl Serialize,
) -> anyhow::Result<T> {
    let body = Bytes::from(serde_json::to_vec(message)?);
    let answer = lease.post(&host.tls, path, Some(secret), body).await;
    let answer = answer.with_context(|| format!("`{}` does not get enrolled", host.id))?;
    if !answer.is_success() {
        let problem = answer.problem();
        bail!(
            "the attestor does not enrol `{}`: {} (touchstone:{}); `touchstone audit export` shows what came before",
            host.id,
            problem.detail,
            problem.code()
        );
    }
    serde_json::from_slice(&answer.body).context("the attestor is not of this version")
}
