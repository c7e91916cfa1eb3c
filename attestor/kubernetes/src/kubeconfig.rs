//! How an API server is reached from outside of its cluster: a kubeconfig, which is a secret as any key is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::error::ClusterError;

/// What a file's mode lets group and others do.
const OTHERS: u32 = 0o077;

/// Others than its owner may use the file.
#[derive(Debug, thiserror::Error)]
#[error(
    "others may use the kubeconfig `{path}` (mode {mode:04o}), and with it whatever the attestor may do in the cluster; \
     run `chmod 600 {path}`, and make another credential if somebody may have read it"
)]
pub struct OpenToOthers {
    path: PathBuf,
    mode: u32,
}

/// What the file says of the API server and of the credential. A file that others than its owner may use is refused.
pub(crate) async fn read(path: &Path) -> Result<kube::Config, ClusterError> {
    let unusable = |why| ClusterError::Kubeconfig {
        path: path.to_owned(),
        why,
    };
    check_mode(path)?;
    let file = Kubeconfig::read_from(path).map_err(unusable)?;
    let options = KubeConfigOptions::default();
    let settings = kube::Config::from_custom_kubeconfig(file, &options).await;
    settings.map_err(unusable)
}

/// A file that cannot be looked at is left to whoever reads it.
fn check_mode(path: &Path) -> Result<(), OpenToOthers> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & OTHERS != 0 {
        return Err(OpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_kubeconfig_is_its_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        fs::write(&path, "").unwrap();
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for private in [0o600, 0o400, 0o700] {
            set(private);
            assert!(check_mode(&path).is_ok(), "{private:o}");
        }
        for open in [0o640, 0o604, 0o620, 0o644, 0o666] {
            set(open);
            let said = check_mode(&path).unwrap_err().to_string();
            let advice = format!("run `chmod 600 {}`", path.display());
            assert!(said.contains(&advice), "{said}");
            assert!(said.contains(&format!("(mode {open:04o})")), "{said}");
        }
    }

    #[test]
    fn a_link_is_as_open_as_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("kubeconfig"), folder.path().join("link"));
        fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for (mode, good) in [(0o644, false), (0o600, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_mode(&link).is_ok(), good, "{mode:o}");
        }
    }
}
