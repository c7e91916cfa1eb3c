//! podman's storage: images, what runs of them, and layers in clear, by podman's command line.
//!
//! Which images are ours is read in the storage itself: no command of podman shows the manifest of an image's
//! encrypted form.

mod command;
mod storage;

use std::collections::BTreeSet;
use std::path::Path;

use touchstone_evidence::wire::ContainerRuntime;

use super::{Left, Mode, Podman, Purged, Which};
use storage::Found;

/// How often is looked again, at most.
const LOOKS_MAX: u32 = 3;

/// Why podman's images could not be purged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("the agent is ending")]
    Ending(#[from] tokio::task::JoinError),
}

pub(super) async fn purge(settings: &Podman, which: &Which, mode: Mode, left: &Left) -> Purged {
    let place = settings.root.display().to_string();
    let mut purged = Purged::new(ContainerRuntime::Podman, place);
    let all = Found {
        layers: left.at(purged.runtime, &purged.place),
        ..Found::default()
    };
    match until_gone(settings, which, mode, all, &mut purged).await {
        Ok(()) => purged,
        Err(error) => purged.failed(&error),
    }
}

async fn until_gone(
    settings: &Podman,
    which: &Which,
    mode: Mode,
    mut all: Found,
    purged: &mut Purged,
) -> Result<(), Error> {
    for _ in 0..LOOKS_MAX {
        let found = look(&settings.root, which).await?;
        all.extend(&found);
        purged.digests = all.manifests.iter().copied().collect();
        purged.names = all.names.iter().cloned().collect();
        purged.left = left(&settings.root, &found, &all).await?;
        if mode == Mode::DryRun {
            return Ok(());
        }
        let mut gone = Ok(());
        // What runs of any goes first: it may have another one mounted, and podman does not end it without that.
        for image in &found.images {
            gone = gone.and(end_what_runs(settings, image).await);
        }
        for image in &found.images {
            gone = gone.and(command::run(settings, &["rmi", "--force", image]).await);
        }
        // Layers that no image has, as a pull leaves them that was refused in its middle.
        let rest = ["system", "check", "--quick", "--max=0s", "--repair"];
        gone.and(command::run(settings, &rest).await)?;
        if found.images.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

async fn end_what_runs(settings: &Podman, image: &str) -> Result<(), command::Error> {
    let made_of_it = format!("ancestor={image}");
    let end = ["rm", "--force", "--time", "0", "--filter", &made_of_it];
    command::run(settings, &end).await
}

async fn left(root: &Path, found: &Found, all: &Found) -> Result<Vec<String>, Error> {
    let (root, layers) = (root.to_owned(), all.layers.clone());
    let there = tokio::task::spawn_blocking(move || storage::layers(&root)).await??;
    let there = there.into_keys().filter(|layer| layers.contains(layer));
    let left: BTreeSet<_> = there.chain(found.images.iter().cloned()).collect();
    Ok(left.into_iter().collect())
}

async fn look(root: &Path, which: &Which) -> Result<Found, Error> {
    let (root, which) = (root.to_owned(), which.clone());
    Ok(tokio::task::spawn_blocking(move || storage::find(&root, &which)).await??)
}
