//! The programs of a control plane: where they are, and of which version.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Result};

/// Names the folder of the programs, as setup-envtest and controller-runtime have it.
pub const VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// All four programs.
#[derive(Clone, Debug)]
pub struct Assets {
    folder: PathBuf,
    pub(super) etcd: PathBuf,
    pub(super) api_server: PathBuf,
    pub(super) scheduler: PathBuf,
    pub(super) controller_manager: PathBuf,
    /// Whether scheduler and controller-manager know `--port`, and serve HTTP on all interfaces unless it is 0. The
    /// flag went with 1.24.
    pub(super) insecure_port: bool,
    /// That of the API server, as it has it: `v1.36.1`, or something else for a build that nobody stamped.
    pub version: String,
}

impl Assets {
    /// Looks into the folder that [`VARIABLE`] names, then into `PATH`.
    ///
    /// # Errors
    /// [`Error::NoAssets`] without the variable; [`Error::Missing`] names the first program that is not there;
    /// [`Error::Version`].
    pub fn find() -> Result<Self> {
        let folder = env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
        Self::in_folder(Path::new(&folder.ok_or(Error::NoAssets)?))
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let path = |program| find(program, folder);
        let (api_server, scheduler) = (path("kube-apiserver")?, path("kube-scheduler")?);
        Ok(Self {
            etcd: path("etcd")?,
            controller_manager: path("kube-controller-manager")?,
            insecure_port: knows_port(&said("kube-scheduler", &scheduler, "--help")?),
            version: version(&said("kube-apiserver", &api_server, "--version")?)?,
            folder: folder.to_owned(),
            api_server,
            scheduler,
        })
    }

    /// Another program of the same folder, or of `PATH`, that no control plane needs.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn also(&self, program: &'static str) -> Result<PathBuf> {
        find(program, &self.folder)
    }
}

fn find(program: &'static str, folder: &Path) -> Result<PathBuf> {
    let others = env::var_os("PATH").unwrap_or_default();
    [folder.to_owned()]
        .into_iter()
        .chain(env::split_paths(&others))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Missing {
            program,
            folder: folder.to_owned(),
        })
}

/// What a program prints when it is asked about itself.
fn said(program: &'static str, path: &Path, flag: &str) -> Result<String> {
    let output = Command::new(path).arg(flag).output();
    let output = output.map_err(|source| Error::Run { program, source })?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// Of `Kubernetes v1.36.1`.
fn version(said: &str) -> Result<String> {
    match said.strip_prefix("Kubernetes ") {
        Some(version) => Ok(version.to_owned()),
        None => Err(Error::Version {
            said: said.to_owned(),
        }),
    }
}

fn knows_port(help: &str) -> bool {
    help.lines()
        .any(|line| line.trim().starts_with("--port int"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn versions_and_flags_are_read() {
        assert_eq!(version("Kubernetes v1.36.0-rc.1").unwrap(), "v1.36.0-rc.1");
        assert!(version("etcd Version: 3.4.23").is_err());
        assert!(knows_port(
            "Insecure flags:\n      --port int   DEPRECATED\n"
        ));
        assert!(!knows_port("      --secure-port int   (default 10259)\n"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = find("kube-scheduler-of-nobody", folder.path()).unwrap_err();
        let said = missing.to_string();
        assert!(
            said.starts_with("`kube-scheduler-of-nobody` is neither in"),
            "{said}"
        );
    }
}
