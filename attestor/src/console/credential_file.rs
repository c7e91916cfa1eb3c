//! The file of a credential: whom to ask, whom to believe, what to show.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::keys::{self, KeyError};

/// A credential as its holder keeps it, mode 0600.
#[derive(Serialize, Deserialize)]
pub struct CredentialFile {
    /// Base URL of the attestor.
    pub server: String,
    /// The attestor's CA, PEM.
    pub ca: String,
    /// What is shown.
    #[serde(flatten)]
    pub shown: Shown,
    /// URL of the webhook with its secret, for the cluster's webhook configuration; in the operator's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

/// What a credential shows.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shown {
    /// A bearer token.
    Token {
        /// The secret.
        token: String,
    },
    /// A TLS client certificate; its key is what is known of it.
    Certificate {
        /// PEM.
        certificate: String,
        /// The private key, PEM.
        key: String,
    },
}

impl CredentialFile {
    /// Reads a credential that nobody but its owner may read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = keys::read_private(path).map_err(|error| match error {
            KeyError::File { source, .. } => unreadable(path, source),
            error => error.into(),
        })?;
        serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not a credential", path.display()))
    }

    /// Writes it whole, mode 0600.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(keys::write_private(
            path,
            &serde_json::to_vec_pretty(self)?,
        )?)
    }
}

/// Only where there is none is making one good advice: beside one that is merely out of reach, it
/// would be another attestor's.
fn unreadable(path: &Path, error: io::Error) -> anyhow::Error {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "there is no credential `{shown}`; name it with --operator or TOUCHSTONE_OPERATOR, \
             or start the attestor with `touchstone serve`, which makes one"
        ),
        ErrorKind::PermissionDenied => anyhow!(
            "this user may not read the credential `{shown}`; ask as its owner, or name one \
             of yours with --operator or TOUCHSTONE_OPERATOR"
        ),
        ErrorKind::IsADirectory => anyhow!(
            "`{shown}` is a folder; name the credential in it, `operator.json`, with --operator \
             or TOUCHSTONE_OPERATOR"
        ),
        _ => anyhow::Error::new(error).context(format!("cannot read the credential `{shown}`")),
    }
}

impl Drop for CredentialFile {
    fn drop(&mut self) {
        self.webhook.zeroize();
        match &mut self.shown {
            Shown::Token { token } => token.zeroize(),
            Shown::Certificate { key, .. } => key.zeroize(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    /// Permissions cannot be tried as root, so the kinds are.
    #[test]
    fn why_a_credential_cannot_be_read_is_told_apart() {
        for (kind, part, advice) in [
            (ErrorKind::NotFound, "there is no", true),
            (ErrorKind::PermissionDenied, "may not read", false),
            (ErrorKind::IsADirectory, "is a folder", false),
            (ErrorKind::InvalidData, "cannot read", false),
        ] {
            let said = format!("{:#}", unreadable(Path::new("x"), kind.into()));
            assert!(said.contains(part), "{said}");
            assert_eq!(said.contains("touchstone serve"), advice, "{said}");
        }
    }

    #[test]
    fn a_folder_is_no_credential() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder.path(), private).unwrap();
        let said = CredentialFile::read(folder.path())
            .err()
            .unwrap()
            .to_string();
        assert!(said.contains("is a folder"), "{said}");
    }

    #[test]
    fn a_credential_shows_one_thing() {
        let common = json!({ "server": "https://a", "ca": "pem", "webhook": "https://a/b" });
        let with = |more: serde_json::Value| {
            let mut file = common.clone();
            file.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value::<CredentialFile>(file)
        };
        let token = with(json!({ "token": "t" })).unwrap();
        assert!(matches!(&token.shown, Shown::Token { token } if token == "t"));
        let key = with(json!({ "certificate": "c", "key": "k" })).unwrap();
        assert!(matches!(&key.shown, Shown::Certificate { .. }));
        for wrong in [
            json!({}),
            json!({ "certificate": "c" }),
            json!({ "key": "k" }),
        ] {
            assert!(with(wrong).is_err());
        }
    }
}
