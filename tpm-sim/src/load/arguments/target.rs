//! Which attestor is loaded, with how many hosts, and what they booted.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::subject::Wanted;

#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The operator's credential, as `touchstone serve` writes it into its data folder
    #[arg(
        long,
        value_name = "FILE",
        env = "TOUCHSTONE_OPERATOR",
        required = true
    )]
    operator: Option<PathBuf>,

    /// Base URL of the attestor; by default the one in the operator's credential
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// How many hosts there are
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    hosts: u32,

    /// Where no policy is in force, apply one under which the hosts are affirming
    #[arg(long)]
    policy: bool,

    /// Boot log that the hosts replay, of the SHA-256 bank alone, as firmware hands it over; by default a recorded
    /// one of 14 KB
    #[arg(long, value_name = "FILE")]
    boot_log: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Target {
    /// How many hosts there are.
    pub(crate) fn hosts(&self) -> usize {
        self.hosts as usize
    }

    /// What has to be there before there are hosts.
    pub(crate) fn wanted(&self, tags: bool) -> anyhow::Result<Wanted<'_>> {
        let operator = self.operator.as_deref();
        Ok(Wanted {
            operator: operator.context("name the operator's credential with --operator FILE")?,
            server: self.server.as_deref(),
            boot_log: self.boot_log.as_deref().map(Path::new),
            policy: self.policy,
            tags,
        })
    }
}
