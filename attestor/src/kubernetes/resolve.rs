//! Tags to digests, as registries have them now. What a registry does not say in time stays a tag.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::join_all;
use oci_client::client::ClientConfig;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use touchstone_evidence::oci_digest::OciDigest;

/// How long registries may take together: an API server waits three seconds for us, and for other things too.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most images that are asked for at once.
const ASKED_AT_ONCE: usize = 32;

/// Asks registries, over TLS and without a credential.
pub(crate) struct Resolver {
    /// Made when it is first asked: until then nobody needs this machine's certificates.
    client: OnceLock<Option<Client>>,
    asking: Semaphore,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            client: OnceLock::new(),
            asking: Semaphore::new(ASKED_AT_ONCE),
        }
    }
}

impl Resolver {
    /// The digest that each of these images has now, within [`PATIENCE`]; of one that is not there in time, none.
    pub(crate) async fn digests(&self, images: &BTreeSet<&str>) -> BTreeMap<String, String> {
        let all = images.iter().map(async |image| {
            let asked = timeout(PATIENCE, self.digest(image)).await;
            let digest = asked.inspect_err(|_| {
                tracing::warn!(image, "the registry did not say in time what the tag means");
            });
            Some(((*image).to_owned(), digest.ok()??))
        });
        join_all(all).await.into_iter().flatten().collect()
    }

    async fn digest(&self, image: &str) -> Option<String> {
        let _place = self.asking.acquire().await.ok()?;
        let reference: Reference = image.parse().ok()?;
        let client = self.client.get_or_init(client).as_ref()?;
        let asked = client.fetch_manifest_digest(&reference, &RegistryAuth::Anonymous);
        match asked.await {
            // What a registry sends goes into a pod, so it must be a digest and nothing else.
            Ok(digest) => digest.parse::<OciDigest>().ok().map(|it| it.to_string()),
            Err(error) => {
                tracing::warn!(image, %error, "the registry does not say what the tag means");
                None
            }
        }
    }
}

/// One that trusts the certificates that this machine trusts.
fn client() -> Option<Client> {
    let made = Client::try_from(ClientConfig {
        connect_timeout: Some(PATIENCE),
        read_timeout: Some(PATIENCE),
        ..ClientConfig::default()
    });
    made.inspect_err(|error| tracing::error!(%error, "no registry can be asked what tags mean"))
        .ok()
}

/// Registry and repository of an image in full, as a policy names them: `docker.io/library/nginx` for `nginx`.
pub(crate) fn full_name(image: &str) -> Option<String> {
    let reference: Reference = image.parse().ok()?;
    Some(format!(
        "{}/{}",
        reference.registry(),
        reference.repository()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_in_full() {
        let full = |image| full_name(image).unwrap_or_default();
        assert_eq!(full("nginx:1"), "docker.io/library/nginx");
        assert_eq!(full("r.example:5000/a/b:1"), "r.example:5000/a/b");
        assert_eq!(full("No Image"), "");
    }
}
