//! Removing what was found, in the order in which one thing keeps the other: what runs, images, pulls under way.

use std::collections::BTreeSet;

use super::Namespace;
use super::call::Error;
use super::find::{Found, Layer};
use super::messages::{
    Container, ContainerList, Delete, Filtered, Kill, Named, NamedList, RemoveSnapshot, path,
};

/// SIGKILL: whoever may read the image no more runs no more either.
const KILL: u32 = 9;

impl Namespace<'_> {
    /// What is still there: what this look `found`, and snapshots of `all` that was found.
    pub(super) async fn left(&self, found: &Found, all: &Found) -> Result<Vec<String>, Error> {
        let layers = self.snapshots(&all.chains).await?;
        let layers = layers.into_iter().map(|layer| layer.key);
        let layers = layers.filter(|key| all.chains.contains(key));
        let mut left: BTreeSet<_> = layers.chain(all.unclear.iter().cloned()).collect();
        left.extend(found.names.iter().cloned());
        left.extend(found.manifests.iter().map(ToString::to_string));
        Ok(left.into_iter().collect())
    }

    /// Other images may have some of the same layers, and what runs of those goes on. What does not go does not keep the
    /// rest from it; the first such error is told. `cut_off`: also what is being pulled and is not decrypted.
    pub(super) async fn remove(&self, all: &Found, cut_off: bool) -> Result<(), Error> {
        let layers = self.snapshots(&all.tops).await?;
        let mut gone = Ok(());
        for container in self.containers(all, &layers).await? {
            gone = gone.and(self.stop(&container).await);
        }
        // What no container has: prepared by hand.
        for layer in layers
            .iter()
            .filter(|layer| !all.chains.contains(&layer.key))
        {
            gone = gone.and(self.remove_snapshot(&layer.snapshotter, &layer.key).await);
        }
        for name in &all.names {
            let delete = Delete {
                name: name.clone(),
                sync: true,
            };
            gone = gone.and(self.end(path::DELETE_IMAGE, &delete).await);
        }
        gone.and(self.end_leases(all, cut_off).await)
    }

    /// Those that were made of our images, by name, and those whose files rest on our layers, whatever name they give.
    async fn containers(&self, found: &Found, layers: &[Layer]) -> Result<Vec<Container>, Error> {
        let every = Filtered::default();
        let lists = self.ask::<ContainerList>(path::CONTAINERS, &every).await?;
        let all = lists.into_iter().flat_map(|list| list.containers);
        let ours = all.filter(|container| {
            let rests = |layer: &Layer| {
                layer.snapshotter == container.snapshotter && layer.key == container.snapshot_key
            };
            found.names.contains(&container.image) || layers.iter().any(rests)
        });
        Ok(ours.collect())
    }

    async fn stop(&self, container: &Container) -> Result<(), Error> {
        let id = Named {
            name: container.id.clone(),
        };
        let kill = Kill {
            container: container.id.clone(),
            signal: KILL,
            all: true,
        };
        self.end(path::KILL_TASK, &kill).await?;
        self.end(path::WAIT_TASK, &id).await?;
        self.end(path::DELETE_TASK, &id).await?;
        self.remove_snapshot(&container.snapshotter, &container.snapshot_key)
            .await?;
        self.end(path::DELETE_CONTAINER, &id).await
    }

    async fn remove_snapshot(&self, snapshotter: &str, key: &str) -> Result<(), Error> {
        let remove = RemoveSnapshot {
            snapshotter: snapshotter.to_owned(),
            key: key.to_owned(),
        };
        self.end(path::REMOVE_SNAPSHOT, &remove).await
    }

    /// What a lease holds stays for up to a day, image or not.
    async fn end_leases(&self, all: &Found, cut_off: bool) -> Result<(), Error> {
        let mut held = all.chains.clone();
        if cut_off {
            held.extend(all.manifests.iter().map(ToString::to_string));
        }
        let lists = self
            .ask::<NamedList>(path::LEASES, &Filtered::default())
            .await?;
        for lease in lists.into_iter().flat_map(|list| list.items) {
            let resources = match self.ask::<NamedList>(path::LEASED, &lease).await {
                Err(error) if error.is_over() => continue,
                resources => resources?,
            };
            let mut resources = resources.iter().flat_map(|list| &list.items);
            if resources.any(|resource| held.contains(&resource.name)) {
                let delete = Delete {
                    name: lease.name,
                    sync: true,
                };
                self.end(path::DELETE_LEASE, &delete).await?;
            }
        }
        Ok(())
    }
}
