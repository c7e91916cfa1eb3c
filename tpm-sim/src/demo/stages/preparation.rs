//! Before the stages: hosts boot, the attestor starts, and the operator says which TPMs are whose.

use std::fs;
use std::path::Path;

use tokio::task::spawn_blocking;
use touchstone_tpm_sim::swtpm::Authority;

use super::Running;
use crate::attestor::{Attestor, Console};
use crate::demo::fleet::plans;
use crate::demo::host::Host;
use crate::demo::progress::Progress;

/// Hosts boot while the attestor starts; then the inventory is filled.
pub(super) async fn prepare(
    swap: bool,
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<Running> {
    progress.stage("preparation", "three hosts boot, an attestor starts");
    progress.doing("making three TPMs and starting the attestor");
    let (data, log) = (folder.join("attestor"), folder.join("attestor.log"));
    let ((maker, hosts), attestor) =
        tokio::try_join!(boot_hosts(swap, folder), Attestor::start(&data, &log))?;

    progress.doing("telling the attestor about the hosts");
    let console = attestor.console();
    let roots = folder.join("tpm-maker.pem");
    fs::write(&roots, maker.ca_bundle()?)?;
    console
        .run(&[&"endorsement", &"import", &"--class", &"simulator", &roots])
        .await?;
    let authority_key = folder.join("location-authority.key");
    console
        .run(&[
            &"location",
            &"authority",
            &"create",
            &"--key",
            &authority_key,
        ])
        .await?;
    for host in &hosts {
        enter(console, host).await?;
        progress.note(&format!("{}  booted, in the inventory", host.plan.name));
    }
    Ok(Running {
        attestor,
        hosts,
        authority_key,
        containers: None,
    })
}

async fn boot_hosts(swap: bool, folder: &Path) -> anyhow::Result<(Authority, Vec<Host>)> {
    let maker = folder.join("tpm-maker");
    let maker = spawn_blocking(move || Authority::create(&maker)).await??;
    let boots = plans(swap).map(|plan| {
        let (folder, maker) = (folder.join(plan.name), maker.clone());
        spawn_blocking(move || Host::boot(plan, folder, &maker))
    });
    let mut hosts = Vec::new();
    for boot in boots {
        hosts.push(boot.await??);
    }
    Ok((maker, hosts))
}

/// Puts a host into the inventory and makes the token that it enrols with.
async fn enter(console: &Console, host: &Host) -> anyhow::Result<()> {
    let [rsa, ecc] = host.machine.ek_certificates();
    console
        .run(&[
            &"inventory",
            &"add",
            &"--host",
            &host.plan.name,
            &"--ek-certificate",
            &rsa,
            &"--ek-certificate",
            &ecc,
        ])
        .await?;
    console
        .run(&[&"join-token", &"create", &"--out", &host.join_token()])
        .await?;
    Ok(())
}
