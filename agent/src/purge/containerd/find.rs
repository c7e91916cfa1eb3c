//! What there is of our images in a namespace: manifests, names, and the snapshots that hold layers in clear.

use std::collections::{BTreeMap, BTreeSet};

use touchstone_evidence::oci_digest::OciDigest;

use super::Namespace;
use super::call::Error;
use super::messages::{
    BlobList, Chunk, Filtered, ImageList, Named, PluginList, SnapshotList, path,
};
use crate::purge::Which;
use crate::purge::manifest::{Clear, DOCUMENT_MAX, Document, chain_ids};

/// How labels begin by which a manifest keeps its blobs, and an index its manifests.
const KEEPS: &str = "containerd.io/gc.ref.content";

/// Our images.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) manifests: BTreeSet<OciDigest>,
    /// Under which they are kept; one may be the id.
    pub(super) names: BTreeSet<String>,
    /// Chain ids of the snapshots in clear.
    pub(super) chains: BTreeSet<String>,
    /// Others, which stay where an image has them that stays.
    pub(super) shared: BTreeSet<String>,
    /// Those of them that hold a whole image: what rests on one runs of it.
    pub(super) tops: BTreeSet<String>,
    /// Images of which no snapshot can be told, since their configuration is not there.
    pub(super) unclear: BTreeSet<String>,
}

impl Found {
    pub(super) fn is_nothing(&self) -> bool {
        self.manifests.is_empty() && self.names.is_empty()
    }

    /// Adds an image, and the snapshots that hold it, if they can be told.
    fn add(&mut self, manifest: OciDigest, clear: Option<Clear<String>>) {
        self.manifests.insert(manifest);
        match clear {
            Some(Clear { shared, decrypted }) => {
                self.tops.extend(decrypted.last().cloned());
                self.chains.extend(decrypted);
                self.shared.extend(shared);
            }
            None => drop(self.unclear.insert(manifest.to_string())),
        }
    }

    /// Leaves snapshots alone that an image claims which stays, but for what was decrypted: containerd takes a snapshot
    /// for a layer by the `diff_ids` of a configuration, and looks at no blob, so anybody's image can claim it.
    fn leave(&mut self, others: &BTreeSet<String>) {
        let shared = std::mem::take(&mut self.shared).into_iter();
        self.chains
            .extend(shared.filter(|chain| !others.contains(chain)));
    }

    /// Adds what another look found.
    pub(super) fn extend(&mut self, other: &Self) {
        self.manifests.extend(&other.manifests);
        for (all, more) in [
            (&mut self.names, &other.names),
            (&mut self.chains, &other.chains),
            (&mut self.tops, &other.tops),
            (&mut self.unclear, &other.unclear),
        ] {
            all.extend(more.iter().cloned());
        }
    }
}

/// A snapshot, in its snapshotter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layer {
    pub(super) snapshotter: String,
    pub(super) key: String,
}

impl Namespace<'_> {
    pub(super) async fn find(&self) -> Result<Found, Error> {
        let images = self.images().await?;
        let documents = self.documents(images.values().copied()).await?;
        let mut found = Found::default();
        let mut others = BTreeSet::new();
        for (digest, document) in &documents {
            let Document::Image(layers) = document else {
                continue;
            };
            let ours = layers.is_of(self.which);
            // Where all are to go, what another image has too is named as left.
            if !ours && *self.which == Which::All {
                continue;
            }
            let config = match layers.config {
                Some(config) => self.blob(config).await?,
                None => None,
            };
            let chain = config.and_then(|config| chain_ids(&config));
            let chain: Option<Vec<_>> =
                chain.map(|chain| chain.iter().map(ToString::to_string).collect());
            match ours {
                true => found.add(*digest, chain.map(|chain| layers.clear(chain, self.which))),
                false => others.extend(chain.unwrap_or_default()),
            }
        }
        found.leave(&others);
        let ours = with_indexes(&found.manifests, &documents);
        let named = images
            .into_iter()
            .filter(|(_, target)| ours.contains(target));
        found.names = named.map(|(name, _)| name).collect();
        Ok(found)
    }

    /// Each name, and the digest of what it names.
    async fn images(&self) -> Result<BTreeMap<String, OciDigest>, Error> {
        let lists = self
            .ask::<ImageList>(path::IMAGES, &Filtered::default())
            .await?;
        let images = lists.into_iter().flat_map(|list| list.images);
        let named = images.filter_map(|image| {
            let target = image.target?.digest.parse().ok()?;
            Some((image.name, target))
        });
        Ok(named.collect())
    }

    /// Manifests and indexes: what images name, what is marked as one though no image names it any more, and what
    /// indexes among them name.
    async fn documents(
        &self,
        targets: impl Iterator<Item = OciDigest>,
    ) -> Result<BTreeMap<OciDigest, Document>, Error> {
        let mut documents = BTreeMap::new();
        let mut unread: Vec<_> = targets.chain(self.keepers().await?).collect();
        while let Some(digest) = unread.pop() {
            if documents.contains_key(&digest) {
                continue;
            }
            let document = match self.blob(digest).await? {
                Some(bytes) => Document::read(&bytes),
                None => Document::Other,
            };
            if let Document::Index(manifests) = &document {
                unread.extend(manifests);
            }
            documents.insert(digest, document);
        }
        Ok(documents)
    }

    /// Blobs that keep others.
    async fn keepers(&self) -> Result<Vec<OciDigest>, Error> {
        let lists = self
            .ask::<BlobList>(path::BLOBS, &Filtered::default())
            .await?;
        let blobs = lists.into_iter().flat_map(|list| list.blobs);
        let keepers = blobs.filter(|blob| blob.labels.keys().any(|label| label.starts_with(KEEPS)));
        Ok(keepers
            .filter_map(|blob| blob.digest.parse().ok())
            .collect())
    }

    /// `None`: it is not there, or too large for a manifest.
    async fn blob(&self, digest: OciDigest) -> Result<Option<Vec<u8>>, Error> {
        let wanted = Named {
            name: digest.to_string(),
        };
        let chunks = match self.ask::<Chunk>(path::READ_BLOB, &wanted).await {
            Ok(chunks) => chunks,
            Err(error) if error.is_over() => return Ok(None),
            Err(Error::TooLarge(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = chunks.into_iter().flat_map(|chunk| chunk.data).collect();
        Ok(Some(bytes).filter(|bytes: &Vec<u8>| bytes.len() <= DOCUMENT_MAX))
    }

    /// Snapshots with these chain ids, and all that rest on them: the uppermost first.
    pub(super) async fn snapshots(&self, chains: &BTreeSet<String>) -> Result<Vec<Layer>, Error> {
        let mut all = Vec::new();
        for snapshotter in self.snapshotters().await? {
            // Snapshots are listed by snapshotter, where others are listed by filters.
            let wanted = Named {
                name: snapshotter.clone(),
            };
            let lists = self.ask::<SnapshotList>(path::SNAPSHOTS, &wanted).await?;
            let listed = lists.into_iter().flat_map(|list| list.snapshots);
            let parents = listed
                .map(|snapshot| (snapshot.name, snapshot.parent))
                .collect();
            let layers = resting_on(chains, &parents).into_iter();
            all.extend(layers.map(|key| Layer {
                snapshotter: snapshotter.clone(),
                key,
            }));
        }
        Ok(all)
    }

    async fn snapshotters(&self) -> Result<Vec<String>, Error> {
        let only = Filtered {
            filters: vec!["type==io.containerd.snapshotter.v1".to_owned()],
        };
        let lists = self.ask::<PluginList>(path::PLUGINS, &only).await?;
        let plugins = lists.into_iter().flat_map(|list| list.plugins);
        let works = plugins.filter(|plugin| plugin.failure.is_none());
        Ok(works.map(|plugin| plugin.id).collect())
    }
}

/// These manifests, and the indexes that lead to one of them.
fn with_indexes(
    manifests: &BTreeSet<OciDigest>,
    documents: &BTreeMap<OciDigest, Document>,
) -> BTreeSet<OciDigest> {
    let mut ours = manifests.clone();
    loop {
        let before = ours.len();
        for (digest, document) in documents {
            if let Document::Index(manifests) = document
                && manifests.iter().any(|one| ours.contains(one))
            {
                ours.insert(*digest);
            }
        }
        if ours.len() == before {
            return ours;
        }
    }
}

/// Those of `chains` that are among `parents` (snapshot → what it rests on), and what rests on them: the uppermost
/// first.
fn resting_on(chains: &BTreeSet<String>, parents: &BTreeMap<String, String>) -> Vec<String> {
    let mut above = Vec::new();
    for name in parents.keys() {
        let (mut at, mut depth, mut rests) = (name, 0_usize, None);
        // No deeper than there are snapshots, should they go round in circles.
        while depth < parents.len() {
            if chains.contains(at) {
                rests = rests.or(Some(()));
            }
            let Some(parent) = parents.get(at) else { break };
            at = parent;
            depth += 1;
        }
        if rests.is_some() {
            above.push((depth, name.clone()));
        }
    }
    above.sort_by(|(a, _), (b, _)| b.cmp(a));
    above.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decrypted_is_left_alone_for_nobody() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let mut found = Found::default();
        let manifest = crate::purge::manifest::digest(b"manifest");
        let clear = Clear {
            shared: names(&["base", "own"]),
            decrypted: names(&["secret", "top"]),
        };
        found.add(manifest, Some(clear));
        // A tenant's image claims every layer, and has none.
        found.leave(&names(&["base", "secret", "top"]).into_iter().collect());
        let ours = names(&["own", "secret", "top"]).into_iter().collect();
        assert_eq!(found.chains, ours);
        assert_eq!(found.tops, names(&["top"]).into_iter().collect());
    }

    #[test]
    fn what_rests_on_a_layer_goes_before_it() {
        let parents = [
            ("base", ""),
            ("secret", "base"),
            ("above", "secret"),
            ("running", "above"),
            ("other", "base"),
        ];
        let parents = parents.map(|(name, parent)| (name.to_owned(), parent.to_owned()));
        let mut parents = BTreeMap::from(parents);
        let chains = BTreeSet::from(["secret".to_owned()]);
        assert_eq!(
            resting_on(&chains, &parents),
            ["running", "above", "secret"]
        );
        parents.insert("base".to_owned(), "base".to_owned());
        assert_eq!(resting_on(&chains, &parents).len(), 3);
        assert!(resting_on(&BTreeSet::new(), &parents).is_empty());
    }
}
