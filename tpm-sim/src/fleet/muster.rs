//! Machines are made and the attestor is told about them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use touchstone_tpm_sim::profile::Profile;
use touchstone_tpm_sim::swtpm::Authority;

use crate::attestor::{Attestor, Console};
use crate::cli::Fleet;
use crate::machine::{Machine, fresh_uuid};
use crate::process;

const POLICY: &str = include_str!("../../../policies/samples/known-good-boot/policy.yaml");
const HONEST_BOOT: &str = "shim_sb";
const ALTERED_BOOT: &str = "shim_sb_evil";

/// A host of the fleet.
pub(super) struct Fielded {
    /// In the inventory.
    pub(super) name: String,
    /// It booted what policy does not know.
    pub(super) broken: bool,
    pub(super) machine: Machine,
}

/// All that agents need.
pub(super) struct Mustered {
    /// `None`: it is somebody else's.
    pub(super) attestor: Option<Attestor>,
    pub(super) console: Console,
    pub(super) hosts: Vec<Fielded>,
    pub(super) token: PathBuf,
}

/// Makes the machines while the attestor starts, and puts them into its inventory.
pub(super) async fn muster(options: &Fleet, folder: &Path) -> anyhow::Result<Mustered> {
    let (attestor, console) = attestor(options, folder).await?;
    let maker = folder.join("tpm-maker");
    let maker = spawn_blocking(move || Authority::create(&maker)).await??;
    let bar = bar("making machines", options.hosts());
    let hosts = make(options, folder, &maker, &bar).await?;
    bar.finish_and_clear();

    let roots = folder.join("tpm-maker.pem");
    fs::write(&roots, maker.ca_bundle()?)?;
    let import: [&dyn AsRef<OsStr>; 5] =
        [&"endorsement", &"import", &"--class", &"simulator", &roots];
    console.run(&import).await?;
    let bar = self::bar("filling the inventory", options.hosts());
    for host in &hosts {
        enter(&console, host).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let token = folder.join("join-token");
    console
        .run(&[&"join-token", &"create", &"--out", &token])
        .await?;
    Ok(Mustered {
        attestor,
        console,
        hosts,
        token,
    })
}

/// One of our own, with a policy; or the one that was named, whose policy is its operator's.
async fn attestor(options: &Fleet, folder: &Path) -> anyhow::Result<(Option<Attestor>, Console)> {
    if let Some(operator) = &options.operator {
        let console = Console {
            touchstone: process::sibling("touchstone")?,
            operator: operator.clone(),
        };
        console.run(&[&"policy", &"show"]).await.context(
            "the attestor has no policy, so that no host would be affirming; next: touchstone policy apply \
             policies/samples/known-good-boot/policy.yaml",
        )?;
        return Ok((None, console));
    }
    let attestor = Attestor::start(&folder.join("attestor"), &folder.join("attestor.log")).await?;
    let policy = folder.join("policy.yaml");
    fs::write(&policy, POLICY)?;
    let console = attestor.console().clone();
    console.run(&[&"policy", &"apply", &policy]).await?;
    Ok((Some(attestor), console))
}

/// The broken ones come first. As many at a time as there are processors, twice: they also wait.
async fn make(
    options: &Fleet,
    folder: &Path,
    maker: &Authority,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Fielded>> {
    // Names of an attestor that goes on after us must not be those of the next fleet.
    let run = match &options.operator {
        Some(_) => format!("{}-", fresh_uuid()?.get(..8).unwrap_or_default()),
        None => String::new(),
    };
    let at_once = available_parallelism().map_or(2, |cores| 2 * cores.get());
    let places = Arc::new(Semaphore::new(at_once));
    let mut under_way = JoinSet::new();
    for number in 1..=options.hosts() {
        let name = format!("fleet-{run}{number}");
        let (folder, maker) = (folder.join(&name), maker.clone());
        let broken = number <= options.broken();
        let place = Arc::clone(&places);
        under_way.spawn(async move {
            let _place = place.acquire_owned().await?;
            spawn_blocking(move || boot(name, broken, folder, &maker))
                .await?
                .map(|host| (number, host))
        });
    }
    let mut made = Vec::new();
    while let Some(host) = under_way.join_next().await {
        made.push(host??);
        bar.inc(1);
    }
    made.sort_unstable_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, host)| host).collect())
}

fn boot(name: String, broken: bool, folder: PathBuf, maker: &Authority) -> anyhow::Result<Fielded> {
    let boot = match broken {
        true => ALTERED_BOOT,
        false => HONEST_BOOT,
    };
    let profile = Profile::named(boot).context("a recorded boot is gone")?;
    let machine = Machine::boot(&name, profile, folder, maker)
        .with_context(|| format!("cannot make the machine `{name}`"))?;
    Ok(Fielded {
        name,
        broken,
        machine,
    })
}

async fn enter(console: &Console, host: &Fielded) -> anyhow::Result<()> {
    let [rsa, ecc] = host.machine.ek_certificates();
    let add: [&dyn AsRef<OsStr>; 8] = [
        &"inventory",
        &"add",
        &"--host",
        &host.name,
        &"--ek-certificate",
        &rsa,
        &"--ek-certificate",
        &ecc,
    ];
    console.run(&add).await?;
    Ok(())
}

/// Until an attestor of our own ends by itself, which it never should.
pub(super) async fn ended(attestor: Option<&mut Attestor>) -> anyhow::Result<()> {
    match attestor {
        Some(attestor) => attestor.ended().await,
        None => std::future::pending().await,
    }
}

fn bar(what: &'static str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
