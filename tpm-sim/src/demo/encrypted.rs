//! The stages of NIST IR 8320B that need encrypted images: workload encryption, and access to information.
//!
//! Images are encrypted by skopeo where they are built, and run by podman on each host. What is shown of them is what
//! podman printed and how it ended, and what the audit log says of the keys.

mod node;
mod outcome;
mod ran;
mod record;
mod workshop;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use touchstone_tpm_sim::containers::image::Image;
use touchstone_tpm_sim::containers::podman::Podman;
use touchstone_tpm_sim::containers::{rights, tool};

use super::host::Host;
use super::progress::Progress;
use super::stages::{Running, tag};
use crate::attestor::Console;
use crate::machine::fresh_uuid;
use node::Node;
use workshop::Workshop;

pub(super) use node::INTERVAL;
pub(super) use outcome::{Outcome, fill, mismatches};
pub(super) use record::count;

/// The tools that are run.
const TOOLS: [&str; 7] = [
    "skopeo",
    "podman",
    "conmon",
    "netavark",
    "runc",
    "docker-registry",
    "busybox",
];
/// The key of the workload's code, and that of what it reads. Both are for the sample's `WorkloadPolicy`.
const KEYS: [&str; 2] = ["payments", "payments-records"];
const POLICY: &str = "payments";
/// The workload: says what only its layer knows, and what it finds to read; `stay` keeps it there for a while.
const SERVICE: &str = "\
echo 'payments service, build BUILD'
/bin/busybox cat /information/record 2>/dev/null
case $1 in stay) exec /bin/busybox sleep 600 ;; esac
exit 0
";

/// Everything that the stages leave running.
pub(super) struct Containers {
    pub(super) workshop: Workshop,
    pub(super) nodes: Vec<Node>,
}

/// An image in the registry, and what it says when it is opened.
struct Sealed {
    name: String,
    says: String,
}

/// Whether containers can run here, with these tools.
pub(super) fn available() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    if let Err(lacking) = rights::probe(folder.path()) {
        bail!("{lacking}; next: run the demo as root, in a container only if it is privileged");
    }
    for name in TOOLS {
        tool::path_of(name)?;
    }
    Ok(())
}

/// Ends what podman runs on the hosts of a demo whose keeper is gone.
pub(super) fn end_what_runs_in(demo: &Path) -> anyhow::Result<()> {
    for host in fs::read_dir(demo)? {
        drop(Podman::left_in(node::podman_folder(&host?.path())));
    }
    Ok(())
}

/// Runs both stages; one outcome for each host.
pub(super) async fn run(
    running: &mut Running,
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Outcome>> {
    let console = running.attestor.console().clone();
    progress.stage(
        "stage 3, workload encryption",
        "an image is encrypted where it is built; each host's podman runs it, or is refused",
    );
    progress.doing("making keys, and starting a registry");
    let workshop = Workshop::open(&console, folder).await?;
    for key in KEYS {
        console
            .run(&[&"key", &"create", &key, &"--policy", &POLICY])
            .await?;
    }
    let service = encrypt_service(&workshop, folder).await?;
    progress.note(&format!("build  {} encrypted by skopeo", service.name));
    progress.doing("starting the agents, each with its key provider");
    let mut nodes = Vec::new();
    for host in &running.hosts {
        nodes.push(Node::start(host, &workshop.address)?);
    }
    let containers = running.containers.insert(Containers { workshop, nodes });
    let mut outcomes = Vec::new();
    for node in &containers.nodes {
        node.ready().await?;
        progress.doing("running the image on each host");
        let image = node.run(&service.name, &[], &service.says).await?;
        progress.note(&format!("{}  {}", node.name, image.shown("runs")));
        outcomes.push(Outcome::begin(node.name, image));
    }
    let records = read(containers, &service, &mut outcomes, folder, progress).await?;
    for (host, outcome) in running.hosts.iter().zip(&mut outcomes) {
        if host.plan.due.place_admits {
            let node = containers.node(host)?;
            lose(
                &console,
                host,
                node,
                [&service, &records],
                outcome,
                progress,
            )
            .await?;
            regain(
                &console,
                host,
                node,
                &running.authority_key,
                &service,
                outcome,
                progress,
            )
            .await?;
        }
    }
    Ok(outcomes)
}

/// Stage 4: the workload is to read what is encrypted apart from it.
async fn read(
    containers: &Containers,
    service: &Sealed,
    outcomes: &mut [Outcome],
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<Sealed> {
    progress.stage(
        "stage 4, access to information",
        "its records have a key of their own, and are mounted beside it where they open",
    );
    let records = encrypt_records(&containers.workshop, folder).await?;
    progress.note(&format!("build  {} encrypted by skopeo", records.name));
    progress.doing("reading the records on each host");
    for (node, outcome) in containers.nodes.iter().zip(outcomes) {
        let opened = node.pull(&records.name).await?;
        outcome.information = match opened.good {
            true => {
                let mount = node::mount(&records.name);
                let more = ["--mount", &mount];
                node.run(&service.name, &more, &records.says).await?
            }
            false => opened,
        };
        progress.note(&format!(
            "{}  {}",
            node.name,
            outcome.information.shown("read")
        ));
    }
    Ok(records)
}

/// The host's place is taken back while the workload runs there.
async fn lose(
    console: &Console,
    host: &Host,
    node: &Node,
    [service, records]: [&Sealed; 2],
    outcome: &mut Outcome,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    progress.doing("taking back the place of a host on which the workload runs");
    let began = node.keep_running(&service.name, &records.name).await?;
    console
        .run(&[&"location", &"revoke", &"--host", &host.plan.name])
        .await?;
    let gone = began && node.purged().await?;
    let again = node.run(&service.name, &[], &service.says).await?;
    progress.note(&format!(
        "{}  its place is taken back: {}",
        node.name,
        match gone {
            true => "the workload was killed, and its layers are off the disk",
            false => "NOTHING WAS PURGED",
        }
    ));
    progress.note(&format!("{}  {}", node.name, again.shown("runs")));
    outcome.taken_back = Some(outcome::TakenBack { gone, again });
    Ok(())
}

/// The authority vouches for the place again.
async fn regain(
    console: &Console,
    host: &Host,
    node: &Node,
    authority_key: &Path,
    service: &Sealed,
    outcome: &mut Outcome,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    progress.doing("vouching for its place again");
    tag(console, &host.plan, authority_key).await?;
    let again = match outcome.image.good {
        true => node.run_in_time(&service.name, &service.says).await?,
        // It never ran: there is nothing to wait for.
        false => node.run(&service.name, &[], &service.says).await?,
    };
    progress.note(&format!(
        "{}  vouched for again: {}",
        node.name,
        again.shown("runs")
    ));
    outcome.restored = Some(again);
    Ok(())
}

async fn encrypt_service(workshop: &Workshop, folder: &Path) -> anyhow::Result<Sealed> {
    let build = fresh_uuid()?;
    let script = SERVICE.replace("BUILD", &build);
    let image = Image::running(
        &folder.join("build/api"),
        &["sh", "/service"],
        ("service", script.as_bytes()),
    )?;
    Ok(Sealed {
        name: workshop.encrypt(&image, "payments/api:v1", KEYS[0]).await?,
        says: format!("payments service, build {build}"),
    })
}

async fn encrypt_records(workshop: &Workshop, folder: &Path) -> anyhow::Result<Sealed> {
    let record = format!("account DE-17, balance {}", fresh_uuid()?);
    let file = ("record", record.as_bytes());
    let image = Image::holding(&folder.join("build/records"), file)?;
    Ok(Sealed {
        name: workshop
            .encrypt(&image, "payments/records:v1", KEYS[1])
            .await?,
        says: record,
    })
}

impl Containers {
    fn node(&self, host: &Host) -> anyhow::Result<&Node> {
        let node = self.nodes.iter().find(|node| node.name == host.plan.name);
        node.context("a host without a podman")
    }

    /// Agents first, then the registry.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for node in self.nodes {
            node.stop().await?;
        }
        self.workshop.close().await
    }
}
