//! The six hosts: they boot, enrol and attest, and an operator says which nodes they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use touchstone_tpm_sim::profile::Profile;
use touchstone_tpm_sim::six_nodes::{self, Six};
use touchstone_tpm_sim::swtpm::Authority;

use crate::attestor::Console;
use crate::demo::row::HostView;
use crate::machine::Machine;

/// From one look at a verdict to the next.
const LOOK: Duration = Duration::from_millis(200);
/// Looks until a brief verdict must be over.
const LOOKS: i64 = 10 * six_nodes::BRIEF;

/// A host under power.
pub(super) struct Member {
    pub(super) six: Six,
    pub(super) machine: Machine,
    join_token: PathBuf,
}

/// Boots all of them; `swap` exchanges what the proven host and the altered one boot, and not what is due.
pub(super) async fn boot(swap: bool, folder: &Path) -> anyhow::Result<(Authority, Vec<Member>)> {
    let maker = folder.join("tpm-maker");
    let maker = spawn_blocking(move || Authority::create(&maker)).await??;
    let mut boots = six_nodes::ALL.map(|six| six.boot);
    if swap {
        boots.swap(0, 2);
    }
    let booting: Vec<_> = six_nodes::ALL
        .into_iter()
        .zip(boots)
        .map(|(six, boot)| {
            let (folder, maker) = (folder.join(six.host), maker.clone());
            spawn_blocking(move || Member::boot(six, boot, folder, &maker))
        })
        .collect();
    let mut members = Vec::new();
    for member in booting {
        members.push(member.await??);
    }
    Ok((maker, members))
}

impl Member {
    fn boot(six: Six, boot: &str, folder: PathBuf, maker: &Authority) -> anyhow::Result<Self> {
        let profile = Profile::named(boot);
        let profile = profile.with_context(|| format!("no profile is called `{boot}`"))?;
        let join_token = folder.join("join-token");
        Ok(Self {
            six,
            machine: Machine::boot(six.host, profile, folder, maker)?,
            join_token,
        })
    }
}

/// The operator says who is believed, which machines are ours, where they stand and which nodes they are; the hosts
/// prove the rest.
pub(super) async fn enrol(
    console: &Console,
    maker: &Authority,
    members: &[Member],
    folder: &Path,
) -> anyhow::Result<()> {
    let (roots, policy) = (folder.join("tpm-maker.pem"), folder.join("six-nodes.yaml"));
    fs::write(&roots, maker.ca_bundle()?)?;
    fs::write(&policy, six_nodes::policy())?;
    let authority = folder.join("location-authority.key");
    console
        .run(&[&"endorsement", &"import", &"--class", &"simulator", &roots])
        .await?;
    console.run(&[&"policy", &"apply", &policy]).await?;
    console
        .run(&[&"location", &"authority", &"create", &"--key", &authority])
        .await?;
    let mut proving = Vec::new();
    for member in members {
        enter(console, member, &authority).await?;
        let (enrol, attest) = (
            member.machine.enrol(&member.join_token),
            member.machine.attest(),
        );
        proving.push(tokio::spawn(async move {
            enrol.await?;
            attest.await
        }));
    }
    for proof in proving {
        proof.await??;
    }
    Ok(())
}

async fn enter(console: &Console, member: &Member, authority: &Path) -> anyhow::Result<()> {
    let six = &member.six;
    let [rsa, ecc] = member.machine.ek_certificates();
    let certificate = &"--ek-certificate";
    console
        .run(&[
            &"inventory",
            &"add",
            &"--host",
            &six.host,
            certificate,
            &rsa,
            certificate,
            &ecc,
        ])
        .await?;
    if let Some(country) = six.country {
        let key = &"--key";
        console
            .run(&[
                &"location",
                &"tag",
                key,
                &authority,
                &"--host",
                &six.host,
                &"--country",
                &country,
                &"--site",
                &"site1",
            ])
            .await?;
    }
    if six.mapped {
        console
            .run(&[&"node", &"map", &six.node(), &six.host])
            .await?;
    }
    console
        .run(&[&"join-token", &"create", &"--out", &member.join_token])
        .await?;
    Ok(())
}

/// As the attestor shows them.
pub(super) async fn shown(
    console: &Console,
    members: &[Member],
) -> anyhow::Result<Vec<(Six, HostView)>> {
    let mut views = Vec::new();
    for member in members {
        let answer = console.run(&[&"host", &"show", &member.six.host]).await?;
        views.push((member.six, HostView::read(answer)?));
    }
    Ok(views)
}

/// Until verdicts of hosts that do not attest on are over.
pub(super) async fn until_stale(console: &Console, members: &[Member]) -> anyhow::Result<()> {
    for member in members.iter().filter(|member| !member.six.attests_on) {
        let host = member.six.host;
        let mut looks = 0;
        loop {
            let shown = console.run(&[&"host", &"show", &host]).await?;
            let over = shown["expires_at"]
                .as_u64()
                .context("a host without a verdict")?;
            if SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() > over {
                break;
            }
            looks += 1;
            ensure!(looks < LOOKS, "the verdict of {host} is never over");
            sleep(LOOK).await;
        }
    }
    Ok(())
}
