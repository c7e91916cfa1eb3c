//! The operator's credential as a file of the data folder: made at the first start, kept up to date after it.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use zeroize::Zeroizing;

use crate::attestor::Attestor;
use crate::console::{CredentialFile, Shown};
use crate::credentials;
use crate::keys::ServerKeys;
use crate::webhook_secret;

/// Its name in the data folder.
pub(crate) const FILE: &str = "operator.json";

/// Why the file is not up to date.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be brought up to date; start the attestor again once that is mended")]
pub(crate) struct OperatorFileError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// At the first start makes the operator's token and keeps its hash; at each start brings the file up
/// to date with the URL. A token whose file was taken away is not made again: that would hand
/// everything to whoever can delete a file. A file whose token no database knows belongs to this
/// folder's owner all the same, and opens a database that is new.
pub(crate) async fn refresh(attestor: &Attestor) -> anyhow::Result<()> {
    let path = attestor.keys.folder.join(FILE);
    let mut tx = attestor.store.write().await?;
    let new_database = tx.credentials().await?.is_empty();
    let token = match path.exists() {
        true => kept_token(&path)?,
        false if new_database => credentials::new_token()?,
        false => {
            tracing::warn!(
                "the operator's file `{}` was taken away; its token still works until it is revoked",
                path.display()
            );
            return Ok(());
        }
    };
    // The file first: a token that is in the database alone would lock everybody out.
    write(&attestor.keys, &path, &token)?;
    if new_database {
        credentials::begin(tx, &token).await?;
    }
    tracing::info!("the operator's credential is in `{}`", path.display());
    Ok(())
}

/// Writes what the file says of the attestor anew, where the file still is; one after the other, whatever changed.
pub(crate) fn update(keys: &ServerKeys) -> Result<(), OperatorFileError> {
    let _alone = keys.file.lock().unwrap_or_else(PoisonError::into_inner);
    let path = keys.folder.join(FILE);
    if !path.exists() {
        return Ok(());
    }
    let written = kept_token(&path).and_then(|token| write(keys, &path, &token));
    written.map_err(|error| OperatorFileError {
        path,
        source: error.into(),
    })
}

fn kept_token(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    match &CredentialFile::read(path)?.shown {
        Shown::Token { token } => Ok(Zeroizing::new(token.clone())),
        Shown::Certificate { .. } => anyhow::bail!(
            "`{}` holds a certificate where a token was written; put that credential elsewhere, and bring \
             the file of the first start back",
            path.display()
        ),
    }
}

fn write(keys: &ServerKeys, path: &Path, token: &str) -> anyhow::Result<()> {
    let secret = webhook_secret::path_segment(&keys.folder)?;
    let url = &keys.server_url;
    let file = CredentialFile {
        server: url.clone(),
        ca: keys.ca.bundle().pem.clone(),
        shown: Shown::Token {
            token: token.to_owned(),
        },
        webhook: Some(format!("{url}/kubernetes/v1/validate/{}", *secret)),
    };
    file.write(path)
}
