//! What lies in a storage of podman's (containers/storage): `DRIVER-images/images.json` names images and their top
//! layers, `DRIVER-images/ID/` holds their manifests, `DRIVER-layers/layers.json` says what rests on what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use touchstone_evidence::oci_digest::OciDigest;

use crate::purge::Which;
use crate::purge::manifest::{DOCUMENT_MAX, Document, Layers, digest};

/// How the file of a manifest is called: by its name, or by base64 of `manifest-sha256:…` behind `=`.
const MANIFEST: [&str; 2] = ["manifest", "=bWFuaWZlc3Qt"];
/// Largest list of images or layers that is read, bytes.
const LIST_MAX: usize = 64 << 20;

/// Why a storage does not read.
#[derive(Debug, thiserror::Error)]
pub(in crate::purge) enum Error {
    #[error(
        "cannot read `{path}`; see that it is of podman's storage, and that the agent may read it"
    )]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is no list of podman's that this agent knows")]
    Malformed {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("`{0}` is not there; name podman's storage with `--podman-root`")]
    Missing(PathBuf),
    #[error("`{0}` is larger than is read")]
    TooLarge(PathBuf),
}

/// Our images.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Their ids.
    pub(super) images: BTreeSet<String>,
    pub(super) names: BTreeSet<String>,
    pub(super) manifests: BTreeSet<OciDigest>,
    /// Ids of the layers that hold what was encrypted.
    pub(super) layers: BTreeSet<String>,
}

impl Found {
    /// Adds what another look found.
    pub(super) fn extend(&mut self, other: &Self) {
        self.manifests.extend(&other.manifests);
        for (all, more) in [
            (&mut self.images, &other.images),
            (&mut self.names, &other.names),
            (&mut self.layers, &other.layers),
        ] {
            all.extend(more.iter().cloned());
        }
    }
}

#[derive(Deserialize)]
struct Image {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    layer: String,
}

#[derive(Deserialize)]
struct Layer {
    id: String,
    #[serde(default)]
    parent: String,
}

/// Images that are to go. A storage that is empty has none; one that is not there may be misspelt.
pub(super) fn find(root: &Path, which: &Which) -> Result<Found, Error> {
    if !root.is_dir() {
        return Err(Error::Missing(root.to_owned()));
    }
    let parents = layers(root)?;
    let mut found = Found::default();
    let (mut shared, mut others) = (BTreeSet::new(), BTreeSet::new());
    for folder in folders(root, "-images")? {
        for image in list::<Image>(&folder.join("images.json"))? {
            let chain = chain(&image.layer, &parents);
            let ours = manifests(&folder.join(&image.id), which)?;
            if ours.is_empty() {
                others.extend(chain);
                continue;
            }
            for (manifest, layers) in ours {
                found.manifests.insert(manifest);
                let clear = layers.clear(chain.clone(), which);
                found.layers.extend(clear.decrypted);
                shared.extend(clear.shared);
                found.images.insert(image.id.clone());
                found.names.extend(image.names.iter().flatten().cloned());
            }
        }
    }
    // Never what was decrypted: podman takes a layer that is there for one that a manifest in clear names by its digest.
    found.layers.extend(shared.difference(&others).cloned());
    Ok(found)
}

/// Each layer, and the one below it.
pub(super) fn layers(root: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut parents = BTreeMap::new();
    for folder in folders(root, "-layers")? {
        for name in ["layers.json", "volatile-layers.json"] {
            let layers = list::<Layer>(&folder.join(name))?;
            parents.extend(layers.into_iter().map(|layer| (layer.id, layer.parent)));
        }
    }
    Ok(parents)
}

/// From the lowest up to `top`.
fn chain(top: &str, parents: &BTreeMap<String, String>) -> Vec<String> {
    let mut chain = Vec::new();
    let mut at = top;
    while let Some(parent) = parents.get(at).filter(|_| chain.len() < parents.len()) {
        chain.push(at.to_owned());
        at = parent;
    }
    chain.reverse();
    chain
}

/// The manifests that an image is kept with for which it is to go: the encrypted one, beside one in clear.
fn manifests(folder: &Path, which: &Which) -> Result<Vec<(OciDigest, Layers)>, Error> {
    let mut ours = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !MANIFEST.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let Some(bytes) = read(&path, DOCUMENT_MAX)? else {
            continue;
        };
        if let Document::Image(layers) = Document::read(&bytes)
            && layers.is_of(which)
        {
            ours.push((digest(&bytes), layers));
        }
    }
    Ok(ours)
}

/// One for each driver that the storage was used with.
fn folders(root: &Path, end: &str) -> Result<Vec<PathBuf>, Error> {
    let all = entries(root)?.into_iter();
    let ends = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(end)
    };
    Ok(all.filter(ends).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unread = |source| Error::Read {
        path: folder.to_owned(),
        source,
    };
    match fs::read_dir(folder) {
        Ok(entries) => {
            let paths = entries.map(|entry| Ok(entry?.path()));
            paths.collect::<io::Result<_>>().map_err(unread)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unread(error)),
    }
}

fn list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let Some(bytes) = read(path, LIST_MAX)? else {
        return Ok(Vec::new());
    };
    serde_json::from_slice(&bytes).map_err(|source| Error::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// `None`: it is not there, since podman works at the same time.
fn read(path: &Path, max: usize) -> Result<Option<Vec<u8>>, Error> {
    let unread = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(error)),
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unread)?;
    match bytes.len() > max {
        true => Err(Error::TooLarge(path.to_owned())),
        false => Ok(Some(bytes)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::purge::manifest::tests::{annotation, lease};

    const ANNOTATION: &str = "org.opencontainers.image.enc.keys.provider.touchstone";
    const ENCRYPTED: &str = "application/vnd.oci.image.layer.v1.tar+encrypted";

    #[test]
    fn our_images_are_found_with_their_layers() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, json: serde_json::Value| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, json.to_string()).unwrap();
        };
        assert!(find(root.path(), &Which::All).unwrap().images.is_empty());
        let names = json!(["a:v1"]);
        let images =
            json!([{ "id": "1", "layer": "top", "names": names }, { "id": "2", "layer": "base" }]);
        write("overlay-images/images.json", images);
        let layers = json!([{ "id": "base" }, { "id": "top", "parent": "base" }]);
        write("overlay-layers/layers.json", layers);
        write("overlay-images/2/manifest", json!({ "layers": [{}] }));
        write("overlay-images/1/manifest", json!({ "layers": [{}, {}] }));
        let ours = json!({ ANNOTATION: "x" });
        let wrapped = json!({ "mediaType": ENCRYPTED, "annotations": ours });
        let encrypted = json!({ "layers": [{}, wrapped] });
        let file = "overlay-images/1/=bWFuaWZlc3Qtc2hhMjU2OmE=";
        write(file, encrypted.clone());
        let found = find(root.path(), &Which::All).unwrap();
        assert_eq!(found.images, BTreeSet::from(["1".to_owned()]));
        assert_eq!(found.names, BTreeSet::from(["a:v1".to_owned()]));
        assert_eq!(found.layers, BTreeSet::from(["top".to_owned()]));
        let manifest = digest(encrypted.to_string().as_bytes());
        assert_eq!(found.manifests, BTreeSet::from([manifest]));
        write("overlay-images/images.json", json!({}));
        let refused = find(root.path(), &Which::All).unwrap_err();
        assert!(matches!(refused, Error::Malformed { .. }), "{refused}");
    }

    #[test]
    fn a_storage_that_is_not_there_was_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let refused = find(&folder.path().join("misspelt"), &Which::All).unwrap_err();
        assert!(matches!(refused, Error::Missing(_)), "{refused}");
    }

    #[test]
    fn what_was_decrypted_is_found_though_an_image_in_clear_has_it_too() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, json: serde_json::Value| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, json.to_string()).unwrap();
        };
        let images = json!([{ "id": "1", "layer": "top" }, { "id": "2", "layer": "top" }]);
        write("overlay-images/images.json", images);
        let layers = ["base", "key", "secret", "top"];
        let parents = ["", "base", "key", "secret"];
        let layers = layers.iter().zip(parents);
        let layers = layers.map(|(id, parent)| json!({ "id": id, "parent": parent }));
        let layers = layers.collect::<Vec<_>>().into();
        write("overlay-layers/layers.json", layers);
        let by = |key| {
            let annotations = BTreeMap::from([(ANNOTATION, annotation(key))]);
            json!({ "mediaType": ENCRYPTED, "annotations": annotations })
        };
        let encrypted = json!({ "layers": [{}, by("other"), by("a"), {}] });
        write("overlay-images/1/manifest", encrypted);
        let plain = json!({ "layers": [{}, {}, {}, {}] });
        write("overlay-images/2/manifest", plain);
        let revoked = Which::Leases([lease("a")].into());
        let found = find(root.path(), &revoked).unwrap();
        assert_eq!(found.images, BTreeSet::from(["1".to_owned()]));
        let ours = ["secret", "top"].map(ToOwned::to_owned);
        assert_eq!(found.layers, BTreeSet::from(ours));
    }
}
