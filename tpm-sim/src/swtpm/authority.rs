//! The maker of simulated TPMs: a private root and issuing CA, driven by `swtpm_localca`.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, Result, child};

/// The maker's name in platform certificates.
const OPTIONS: &str = "--platform-manufacturer Touchstone\n\
                       --platform-version 1.0\n\
                       --platform-model Simulated\n";

/// A TPM maker with a CA of its own, kept in a folder. Its keys are worth nothing: simulation only.
///
/// EK certificates chain to its issuer, and that to its root, which no other authority shares.
#[derive(Clone, Debug)]
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// Makes an authority in `dir`, which is created. About half a second.
    ///
    /// # Errors
    /// [`Error::File`] if `dir` cannot be written, [`Error::Failed`] if `swtpm_localca` does not like it.
    pub fn create(dir: &Path) -> Result<Self> {
        let authority = Self::open(dir)?;
        let ca = authority.dir.join("ca");
        make_dir(&ca)?;
        let path = |name: &str| ca.join(name).display().to_string();
        write(
            &authority.localca_config(),
            &format!(
                "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
                ca.display(),
                path("signkey.pem"),
                path("issuercert.pem"),
                path("certserial"),
            ),
        )?;
        write(&authority.localca_options(), OPTIONS)?;
        write(
            &authority.setup_config(),
            &format!(
                "create_certs_tool = {}\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
                child::find("swtpm_localca")?.display(),
                authority.localca_config().display(),
                authority.localca_options().display(),
            ),
        )?;
        authority.make_ca()?;
        Ok(authority)
    }

    /// Names an authority that was made in `dir` before.
    ///
    /// # Errors
    /// [`Error::File`] if `dir` has no absolute path.
    pub fn open(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(|source| Error::File {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self { dir })
    }

    /// The issuer's and the root's certificate, in PEM, in this order.
    ///
    /// # Errors
    /// [`Error::File`] if they cannot be read.
    pub fn ca_bundle(&self) -> Result<String> {
        let mut bundle = String::new();
        for name in ["issuercert.pem", "swtpm-localca-rootca-cert.pem"] {
            let path = self.dir.join("ca").join(name);
            let pem = fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
            bundle.push_str(pem.trim_end());
            bundle.push('\n');
        }
        Ok(bundle)
    }

    /// The configuration that `swtpm_setup` is to use.
    pub(super) fn setup_config(&self) -> PathBuf {
        self.dir.join("swtpm_setup.conf")
    }

    /// `swtpm_localca` makes its CA with the first certificate. We want it now, so that TPMs can be made
    /// in parallel and trusted before the first exists: it certifies a number that nobody factors.
    fn make_ca(&self) -> Result<()> {
        let first = self.dir.join("first");
        make_dir(&first)?;
        let mut localca = child::mortal("swtpm_localca");
        localca
            .args(["--type", "ek", "--tpm2", "--vmid", "first", "--ek"])
            .arg("c5".repeat(256))
            .args(["--tpm-spec-family", "2.0", "--tpm-spec-level", "0"])
            .args(["--tpm-spec-revision", "164", "--tpm-manufacturer"])
            .args(["id:00001014", "--tpm-model", "swtpm"])
            .args(["--tpm-version", "id:20191023", "--configfile"])
            .arg(self.localca_config())
            .arg("--optsfile")
            .arg(self.localca_options())
            .arg("--dir")
            .arg(&first);
        child::run("swtpm_localca", localca)
    }

    fn localca_config(&self) -> PathBuf {
        self.dir.join("swtpm-localca.conf")
    }

    fn localca_options(&self) -> PathBuf {
        self.dir.join("swtpm-localca.options")
    }
}

/// Creates a folder and those above it.
pub(super) fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}
