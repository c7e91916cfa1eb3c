//! containerd: images, what runs of them, and the snapshots that hold their layers in clear, by its API.

mod call;
mod find;
mod messages;
mod remove;

use std::time::Duration;

use prost::Message;
use touchstone_evidence::wire::ContainerRuntime;

use super::{Containerd, Left, Mode, Purged, Which};
use call::{Connection, Error};
use find::Found;
use messages::{Empty, NamedList, path};

/// How often is looked again, at most.
const LOOKS_MAX: u32 = 10;
/// Before each look: containerd names an image by its id too, a moment after a pull, maybe while it goes.
const MOMENT: Duration = Duration::from_secs(1);

/// From which look on pulls are cut off that have decrypted nothing yet. On a host that turned they are refused a key
/// meanwhile, and who asked reads why; of one that is cut off all that is read is that a folder is missing.
const CUT_OFF: u32 = 5;

/// A namespace of the settings that is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "containerd has no namespace `{0}`; see `ctr namespaces ls`, and name another with `--containerd-namespace`"
)]
struct NoNamespace(String);

/// Purges each namespace that is named, or else that there is.
pub(super) async fn purge(
    settings: &Containerd,
    which: &Which,
    mode: Mode,
    left: &Left,
) -> Vec<Purged> {
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
    let mut all = Vec::new();
    for place in places(&settings.namespaces, &names) {
        all.push(match place {
            Ok(name) => {
                let namespace = Namespace {
                    connection: &connection,
                    name,
                    which,
                };
                namespace.purged(mode, left).await
            }
            Err(error) => {
                Purged::new(ContainerRuntime::Containerd, error.0.as_str()).failed(&error)
            }
        });
    }
    all
}

/// Where to look: in all that is `named`, or else in all that is `there`.
fn places<'a>(named: &'a [String], there: &'a [String]) -> Vec<Result<&'a str, NoNamespace>> {
    let place = |name: &'a String| match there.contains(name) {
        true => Ok(name.as_str()),
        false => Err(NoNamespace(name.clone())),
    };
    let wanted = if named.is_empty() { there } else { named };
    wanted.iter().map(place).collect()
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
    async fn purged(&self, mode: Mode, left: &Left) -> Purged {
        let mut purged = Purged::new(ContainerRuntime::Containerd, self.name);
        // What an image held is told by its blobs, which go with it: so it is remembered.
        let all = Found {
            chains: left.at(purged.runtime, self.name),
            ..Found::default()
        };
        match self.until_gone(mode, all, &mut purged).await {
            Ok(()) => purged,
            Err(error) => purged.failed(&error),
        }
    }

    async fn until_gone(
        &self,
        mode: Mode,
        mut all: Found,
        purged: &mut Purged,
    ) -> Result<(), Error> {
        for look in 0..LOOKS_MAX {
            let found = self.find().await?;
            all.extend(&found);
            purged.digests = all.manifests.iter().copied().collect();
            purged.names = all.names.iter().cloned().collect();
            purged.left = self.left(&found, &all).await?;
            if mode == Mode::DryRun || found.is_nothing() {
                return Ok(());
            }
            self.remove(&all, look >= CUT_OFF).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_named_and_not_there_is_an_error() {
        let there = ["k8s.io", "moby"].map(ToOwned::to_owned);
        let said = |named: &[&str]| {
            let named: Vec<_> = named.iter().map(|&name| name.to_owned()).collect();
            let places = places(&named, &there).into_iter();
            let said = places.map(|place| match place {
                Ok(name) => name.to_owned(),
                Err(error) => error.to_string(),
            });
            said.collect::<Vec<_>>()
        };
        assert_eq!(said(&[]), there);
        assert_eq!(said(&["moby"]), ["moby"]);
        let both = said(&["k8s.io", "k8s-io"]);
        assert_eq!((both.len(), both[0].as_str()), (2, "k8s.io"));
        let bad = "containerd has no namespace `k8s-io`; see ";
        assert!(both[1].starts_with(bad), "{both:?}");
    }
}
