//! containerd: images, what runs of them, and the snapshots that hold their layers in clear, by its API.

mod call;
mod find;
mod messages;
mod remove;

use std::time::Duration;

use prost::Message;
use touchstone_evidence::wire::ContainerRuntime;

use super::{Containerd, Mode, Purged, Which};
use call::{Connection, Error};
use find::Found;
use messages::{Empty, NamedList, path};

/// How often is looked again, at most.
const LOOKS_MAX: u32 = 10;
/// Before each look: containerd names an image by its id too, a moment after a pull, maybe while it goes.
const MOMENT: Duration = Duration::from_secs(1);

/// Purges each namespace that is named, or else that there is.
pub(super) async fn purge(settings: &Containerd, which: &Which, mode: Mode) -> Vec<Purged> {
    let unasked = |error: Error| {
        let place = settings.socket.display().to_string();
        vec![Purged::new(ContainerRuntime::Containerd, place).failed(&error)]
    };
    let connection = match Connection::open(&settings.socket).await {
        Ok(connection) => connection,
        Err(error) => return unasked(error),
    };
    let names = match namespaces(&connection).await {
        Ok(names) => names,
        Err(error) => return unasked(error),
    };
    let wanted = |name: &String| {
        settings.namespaces.is_empty() || settings.namespaces.iter().any(|one| one == name)
    };
    let mut all = Vec::new();
    for name in names.iter().filter(|name| wanted(name)) {
        let namespace = Namespace {
            connection: &connection,
            name,
            which,
        };
        all.push(namespace.purged(mode).await);
    }
    all
}

async fn namespaces(connection: &Connection) -> Result<Vec<String>, Error> {
    let lists = connection.ask::<NamedList>(path::NAMESPACES, "", &Empty {});
    let names = lists.await?.into_iter().flat_map(|list| list.items);
    Ok(names.map(|namespace| namespace.name).collect())
}

/// One namespace.
#[derive(Debug)]
struct Namespace<'a> {
    connection: &'a Connection,
    name: &'a str,
    /// What is to go.
    which: &'a Which,
}

impl Namespace<'_> {
    async fn purged(&self, mode: Mode) -> Purged {
        let mut purged = Purged::new(ContainerRuntime::Containerd, self.name);
        match self.until_gone(mode, &mut purged).await {
            Ok(()) => purged,
            Err(error) => purged.failed(&error),
        }
    }

    async fn until_gone(&self, mode: Mode, purged: &mut Purged) -> Result<(), Error> {
        // What an image held is told by its blobs, which go with it: so it is remembered.
        let mut all = Found::default();
        for _ in 0..LOOKS_MAX {
            let found = self.find().await?;
            all.extend(&found);
            purged.digests = all.manifests.iter().copied().collect();
            purged.names = all.names.iter().cloned().collect();
            purged.left = self.left(&found, &all).await?;
            if mode == Mode::DryRun || found.is_nothing() {
                return Ok(());
            }
            self.remove(&all).await?;
            tokio::time::sleep(MOMENT).await;
        }
        Ok(())
    }

    async fn ask<A: Message + Default>(
        &self,
        call: &'static str,
        request: &impl Message,
    ) -> Result<Vec<A>, Error> {
        self.connection.ask(call, self.name, request).await
    }

    /// What is to go; fine if it went already.
    async fn end(&self, call: &'static str, request: &impl Message) -> Result<(), Error> {
        match self.ask::<Empty>(call, request).await {
            Err(error) if !error.is_over() => Err(error),
            _ => Ok(()),
        }
    }
}
