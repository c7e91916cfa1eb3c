//! What a cluster's webhook configurations are made of, as a file of the data folder of `touchstone kubernetes`.

use serde::Serialize;

use crate::keys::{self, ServerKeys};
use crate::webhook_secret;

/// Its name in the data folder.
const FILE: &str = "cluster.json";

/// The same as `operator.json` says, without an operator's credential. The secret in the webhook's URL lets API servers in.
#[derive(Serialize)]
struct ClusterFile<'a> {
    server: &'a str,
    ca: &'a str,
    webhook: String,
}

/// Writes it as it is now.
pub(crate) fn write(keys: &ServerKeys) -> anyhow::Result<()> {
    let secret = webhook_secret::path_segment(&keys.folder)?;
    let url = &keys.server_url;
    let file = ClusterFile {
        server: url,
        ca: &keys.ca.bundle().pem,
        webhook: format!("{url}/kubernetes/v1/validate/{}", *secret),
    };
    let path = keys.folder.join(FILE);
    keys::write_private(&path, &serde_json::to_vec_pretty(&file)?)?;
    tracing::info!(
        "the URL for this cluster's webhooks is in `{}`",
        path.display()
    );
    Ok(())
}
