//! Whether two digests are of one image. A container runtime keeps an image once, under the digest of its configuration,
//! and calls it by any manifest that it was ever pulled by: of another repository, or packed otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_kubernetes::image::ImageName;

use super::Images;
use super::images::{Content, Wait};
use super::pull_secrets::PullSecrets;
use crate::store::{Store, StoreError};

/// Most manifests of an index that are looked at.
const PARTS_MAX: usize = 64;

/// What a node says that it runs.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Runs {
    /// A manifest, by its digest, under a name.
    Manifest { name: String, digest: OciDigest },
    /// The digest by which the runtime keeps the image.
    Id(OciDigest),
}

/// Everything by which a runtime may call one image, or one of an index.
#[derive(Debug, Default, Eq, PartialEq)]
struct Names {
    manifests: BTreeSet<OciDigest>,
    configs: BTreeSet<OciDigest>,
}

/// Why it is not known what a digest stands for.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnknownImage {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what `{0}` stands for was not learned")]
    Unread(OciDigest),
    #[error("the index names another index")]
    Nested,
    #[error("the index names more than {PARTS_MAX} manifests")]
    TooMany,
    #[error("the image's name cannot be read")]
    Name,
    #[error("it was not found out in time")]
    Slow,
}

impl Runs {
    /// Out of an `imageID`: `NAME@sha256:…` or `sha256:…`, with or without a scheme before it, or digits alone (CRI-O).
    /// `None`: it says nothing of what runs.
    pub(super) fn read(image_id: &str) -> Option<Self> {
        let text = image_id
            .split_once("://")
            .map_or(image_id, |(_, text)| text);
        if let Some((name, digest)) = text.rsplit_once('@') {
            let name = name.to_owned();
            let digest = digest.parse().ok()?;
            return Some(Self::Manifest { name, digest });
        }
        let digest = text.parse().or_else(|_| format!("sha256:{text}").parse());
        digest.ok().map(Self::Id)
    }

    /// Whichever it is of.
    pub(super) fn digest(&self) -> &OciDigest {
        match self {
            Self::Manifest { digest, .. } | Self::Id(digest) => digest,
        }
    }
}

impl Names {
    fn has(&self, digest: &OciDigest) -> bool {
        self.manifests.contains(digest) || self.configs.contains(digest)
    }
}

impl Images {
    /// Whether what `runs` on a node is what a pod of `namespace` asks for by `reference`, with its `digest`; found out
    /// until `deadline`.
    pub(super) async fn is_same(
        &self,
        store: &Store,
        (namespace, deadline): (&str, Instant),
        (reference, digest): (&str, &OciDigest),
        runs: &Runs,
    ) -> Result<bool, UnknownImage> {
        let wait = Wait {
            deadline,
            namespace: namespace.into(),
            // What a pod may show to its registry is read for its reviews alone.
            secrets: Arc::new(PullSecrets::none()),
        };
        let asked = self.names(store, &wait, reference, digest).await?;
        if asked.has(runs.digest()) {
            return Ok(true);
        }
        let Runs::Manifest { name, digest } = runs else {
            return Ok(false);
        };
        let runs = self.names(store, &wait, name, digest).await?;
        Ok(!asked.configs.is_disjoint(&runs.configs))
    }

    async fn names(
        &self,
        store: &Store,
        wait: &Wait,
        reference: &str,
        digest: &OciDigest,
    ) -> Result<Names, UnknownImage> {
        let name = ImageName::parse(reference).ok_or(UnknownImage::Name)?;
        let one = BTreeMap::from([(*digest, name.clone())]);
        let parts = match self.look(store, wait, &one).await?.remove(digest) {
            None => return Err(UnknownImage::Unread(*digest)),
            Some(Content::Image(known)) => {
                return Ok(Names {
                    manifests: [*digest].into(),
                    configs: [known.config].into(),
                });
            }
            Some(Content::Index(parts)) => parts,
        };
        if parts.len() > PARTS_MAX {
            return Err(UnknownImage::TooMany);
        }
        let named = parts.iter().map(|part| (*part, name.clone()));
        let contents = self.look(store, wait, &named.collect()).await?;
        let mut names = Names::default();
        for part in &*parts {
            match contents.get(part) {
                Some(Content::Image(known)) => names.configs.insert(known.config),
                Some(Content::Index(_)) => return Err(UnknownImage::Nested),
                None => return Err(UnknownImage::Unread(*part)),
            };
        }
        names.manifests = parts.iter().copied().chain([*digest]).collect();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::collections::HashMap;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use serde_json::{Value, json};
    use touchstone_evidence::digest::Sha256Digest;

    use super::*;

    /// A registry with these manifests, by their digests; its name.
    fn registry(manifests: &[Value]) -> String {
        let held: HashMap<String, String> = manifests
            .iter()
            .map(|manifest| (digest(manifest).to_string(), manifest.to_string()))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap_or_default();
                let found = held.get(path.rsplit('/').next().unwrap_or_default());
                let (status, body) = found.map_or(("404 Not Found", ""), |body| ("200 OK", body));
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        name
    }

    fn digest(manifest: &Value) -> OciDigest {
        OciDigest(Sha256Digest::of(manifest.to_string().as_bytes()))
    }

    fn of(text: &str) -> OciDigest {
        OciDigest(Sha256Digest::of(text.as_bytes()))
    }

    /// A manifest of one layer, packed in this way.
    fn image(config: &str, packed: &str) -> Value {
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layer = json!({ "mediaType": kind, "digest": of(packed) });
        json!({ "schemaVersion": 2, "config": { "digest": of(config) }, "layers": [layer] })
    }

    #[tokio::test]
    async fn one_image_under_another_of_its_digests_is_the_same_and_another_image_is_not() {
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (gzip, zstd) = (image("a", "gzip"), image("a", "zstd"));
        let other = image("b", "gzip");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let index = json!({ "schemaVersion": 2, "manifests": [
            { "mediaType": kind, "digest": digest(&gzip) },
        ] });
        let all = [gzip.clone(), zstd.clone(), other.clone(), index.clone()];
        let name = registry(&all);
        let images = Images::new(None, vec![name.clone()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let store = store.unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let runs = async |asked: &Value, image_id: &str| {
            let reference = format!("{name}/a@{}", digest(asked));
            let asked = (&*reference, &digest(asked));
            let runs = Runs::read(image_id).unwrap();
            images.is_same(&store, ("n", deadline), asked, &runs).await
        };
        let elsewhere = |manifest: &Value| format!("{name}/other@{}", digest(manifest));
        for (asked, image_id) in [
            (&gzip, of("a").to_string()),
            (&gzip, elsewhere(&zstd)),
            (&index, elsewhere(&gzip)),
            (&index, elsewhere(&zstd)),
            (&index, of("a").to_string()),
            (&gzip, elsewhere(&index)),
        ] {
            assert!(runs(asked, &image_id).await.unwrap(), "{image_id}");
        }
        for (asked, image_id) in [
            (&gzip, of("b").to_string()),
            (&gzip, elsewhere(&other)),
            (&index, elsewhere(&other)),
        ] {
            assert!(!runs(asked, &image_id).await.unwrap(), "{image_id}");
        }
        // What is nowhere is not known.
        let gone = elsewhere(&image("a", "gone"));
        assert!(runs(&gzip, &gone).await.is_err());
        assert!(runs(&image("a", "gone"), &elsewhere(&other)).await.is_err());
    }

    #[test]
    fn what_nodes_report_is_read_in_each_of_its_forms() {
        let digits = "0a".repeat(32);
        let digest: OciDigest = format!("sha256:{digits}").parse().unwrap();
        for (image_id, name) in [
            (format!("r.example/a@sha256:{digits}"), "r.example/a"),
            (
                format!("docker-pullable://r.example/a@sha256:{digits}"),
                "r.example/a",
            ),
        ] {
            let name = name.to_owned();
            let read = Runs::read(&image_id);
            assert_eq!(read, Some(Runs::Manifest { name, digest }), "{image_id}");
        }
        for image_id in [
            format!("sha256:{digits}"),
            format!("docker://sha256:{digits}"),
            digits,
        ] {
            assert_eq!(Runs::read(&image_id), Some(Runs::Id(digest)), "{image_id}");
        }
        for nothing in ["", "r.example/a:1", "r.example/a@sha256:0"] {
            assert_eq!(Runs::read(nothing), None, "{nothing}");
        }
    }
}
