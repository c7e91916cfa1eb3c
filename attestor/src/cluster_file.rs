//! What a cluster's webhook configurations are made of, as a file of the data folder of `touchstone kubernetes`.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::keys;
use crate::webhook_secret;

/// Its name in the data folder.
const FILE: &str = "cluster.json";

/// The same as `operator.json` says, without an operator's credential. The secret in the webhook's URL lets API servers in.
#[derive(Deserialize, Serialize)]
struct ClusterFile {
    server: String,
    ca: String,
    webhook: String,
}

/// Brings it up to date at a start. That the webhook has another secret than the file says is an entry before the file
/// is written: a process for one cluster has no operator who could have it exchanged.
pub(crate) async fn refresh(attestor: &Attestor) -> anyhow::Result<()> {
    let keys = &attestor.keys;
    let secret = webhook_secret::path_segment(&keys.folder)?;
    let path = keys.folder.join(FILE);
    let is_other = |before: &ClusterFile| before.webhook.rsplit('/').next() != Some(&**secret);
    if read(&path)?.as_ref().is_some_and(is_other) {
        let cluster = Some(attestor.cluster.clone());
        let event = Event::WebhookRotated { cluster };
        audit::append_alone(&attestor.store, &event, &Actor::Attestor, clock::now()).await?;
    }
    let url = &keys.server_url;
    let file = ClusterFile {
        server: url.clone(),
        ca: keys.ca.bundle().pem.clone(),
        webhook: format!("{url}/kubernetes/v1/validate/{}", *secret),
    };
    keys::write_private(&path, &serde_json::to_vec_pretty(&file)?)?;
    tracing::info!(
        "the URL for this cluster's webhooks is in `{}`",
        path.display()
    );
    Ok(())
}

/// As the last start left it; `None`: there was none.
fn read(path: &Path) -> anyhow::Result<Option<ClusterFile>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = Zeroizing::new(keys::read_private(path)?);
    let read = serde_json::from_str(&text);
    let read = read.with_context(|| format!("`{}` does not read; remove it", path.display()))?;
    Ok(Some(read))
}
