//! A TPM as its maker ships it: endorsement seed, EK certificates, active PCR banks; switched off.

use std::path::{Path, PathBuf};

use super::authority::make_dir;
use super::{Authority, Bank, Error, Result, RunningTpm, child};

/// A simulated TPM that lies in a folder: its NVRAM is a file of 6 kB. Copying the folder clones the TPM.
#[derive(Clone, Debug)]
pub struct Swtpm {
    dir: PathBuf,
}

impl Swtpm {
    /// Makes a TPM in `dir` with only the SHA-256 bank active. See [`Swtpm::manufacture_with_banks`].
    ///
    /// # Errors
    /// As there.
    pub fn manufacture(dir: &Path, authority: &Authority, host_name: &str) -> Result<Self> {
        Self::manufacture_with_banks(dir, authority, host_name, &[Bank::Sha256])
    }

    /// Makes a TPM in `dir`, which is created and must hold none: EKs RSA-2048 and P-384, a certificate
    /// for each and for the platform in NV, locked; `banks` active. The certificates are also left in
    /// `dir` as `ek-rsa2048.crt` and `ek-secp384r1.crt` (DER), with `host_name` as subject.
    ///
    /// One to two seconds, of which most is searching primes; TPMs can be made in parallel.
    ///
    /// # Errors
    /// [`Error::Failed`] with what `swtpm_setup` said, for example that there is a TPM already.
    pub fn manufacture_with_banks(
        dir: &Path,
        authority: &Authority,
        host_name: &str,
        banks: &[Bank],
    ) -> Result<Self> {
        Self::make(dir, authority, host_name, banks, &[])
    }

    /// Makes a TPM in `dir` as [`Swtpm::manufacture`] does, but with EKs RSA-3072 and P-384. Searching the
    /// larger primes takes a few seconds more.
    ///
    /// # Errors
    /// As there.
    pub fn manufacture_with_rsa_3072(
        dir: &Path,
        authority: &Authority,
        host_name: &str,
    ) -> Result<Self> {
        let larger = ["--rsa-keysize", "3072"];
        Self::make(dir, authority, host_name, &[Bank::Sha256], &larger)
    }

    fn make(
        dir: &Path,
        authority: &Authority,
        host_name: &str,
        banks: &[Bank],
        more: &[&str],
    ) -> Result<Self> {
        let swtpm = Self::open(dir)?;
        make_dir(&swtpm.dir)?;
        let banks: Vec<_> = banks.iter().map(|bank| bank.name()).collect();
        let mut setup = child::mortal("swtpm_setup");
        setup
            .args(["--tpm2", "--create-ek-cert", "--create-platform-cert"])
            .args(["--lock-nvram", "--vmid", host_name])
            .args(["--pcr-banks", &banks.join(",")])
            .arg("--config")
            .arg(authority.setup_config())
            .arg("--tpmstate")
            .arg(&swtpm.dir)
            .arg("--write-ek-cert-files")
            .arg(&swtpm.dir)
            .args(more);
        child::run("swtpm_setup", setup)?;
        Ok(swtpm)
    }

    /// Names a TPM that was made in `dir` before.
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

    /// Switches it on and does TPM2_Startup(CLEAR). About 20 ms. A folder serves one at a time.
    ///
    /// # Errors
    /// [`Error::Failed`] if swtpm ends at once, [`Error::Silent`] if it does not answer.
    pub fn start(&self) -> Result<RunningTpm> {
        RunningTpm::start(&self.dir)
    }

    /// Where it lies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
