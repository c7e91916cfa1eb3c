//! Tags to digests, as registries have them now. What a registry does not say in time stays a tag.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use touchstone_kubernetes::image::ImageName;

use super::pull_secrets::PullSecrets;
use super::registry::{Registries, Source};

/// How long registries may take together: an API server waits three seconds for us, and for other things too.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The digest that each of these images of a pod of `namespace` has now, within [`PATIENCE`]; of one that is not there in time, none.
pub(super) async fn digests(
    registries: &Registries,
    namespace: &str,
    images: &BTreeSet<&str>,
    secrets: &PullSecrets,
) -> BTreeMap<String, String> {
    let all = images.iter().map(async |image| {
        let asked = timeout(PATIENCE, digest(registries, namespace, image, secrets)).await;
        let digest = asked.inspect_err(|_| {
            tracing::warn!(image, "the registry did not say in time what the tag means");
        });
        Some(((*image).to_owned(), digest.ok()??))
    });
    join_all(all).await.into_iter().flatten().collect()
}

async fn digest(
    registries: &Registries,
    namespace: &str,
    image: &str,
    secrets: &PullSecrets,
) -> Option<String> {
    let name = ImageName::parse(image)?;
    let _turn = registries.turn(namespace).await?;
    let image_at = Source {
        image: name.reference(),
        secrets,
    };
    match registries.digest(image_at).await {
        Ok(digest) => Some(digest.to_string()),
        Err(error) => {
            tracing::warn!(image, %error, "the registry does not say what the tag means");
            None
        }
    }
}
