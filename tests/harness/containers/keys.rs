//! Keys for tools, in folders that go with them: in files, by ocicrypt's own JWE, or of a key provider.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use touchstone_tpm_sim::containers::{self, keys};

use super::tool;

pub use touchstone_tpm_sim::containers::keys::{CONFIG, Key};

/// A pair of RSA keys in files.
pub struct Pair {
    folder: TempDir,
}

impl Pair {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = Self { folder };
        // In a folder of its own: containerd's decoder takes a folder, and fails over anything else in it.
        std::fs::create_dir(pair.path("private")).unwrap();
        let (private, public) = (pair.path("private/key.pem"), pair.path("public.pem"));
        openssl(&["genrsa", "-out", &private, "2048"]);
        openssl(&["rsa", "-in", &private, "-pubout", "-out", &public]);
        pair
    }

    /// Encrypts.
    #[must_use]
    pub fn public(&self) -> Key {
        Key::File(self.path("public.pem").into())
    }

    /// Decrypts.
    #[must_use]
    pub fn private(&self) -> Key {
        Key::File(self.path("private/key.pem").into())
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

fn openssl(arguments: &[&str]) {
    let _said = tool::run(Command::new("openssl").args(arguments)).good();
}

/// A key provider's configuration, which goes with this value.
pub struct Provider {
    provider: keys::Provider,
    _folder: TempDir,
}

impl Provider {
    /// One that is a program: a request on its standard input, an answer on its output.
    #[must_use]
    pub fn program(path: &Path, arguments: &[&str]) -> Self {
        Self::in_folder(|config| keys::Provider::program(config, path, arguments))
    }

    /// One that serves gRPC on a unix socket.
    #[must_use]
    pub fn socket(path: &Path) -> Self {
        Self::in_folder(|config| keys::Provider::socket(config, path))
    }

    fn in_folder(configure: impl FnOnce(PathBuf) -> containers::Result<keys::Provider>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            provider: configure(folder.path().join("ocicrypt.json")).unwrap(),
            _folder: folder,
        }
    }

    /// The key that it has, or knows of, by this parameter.
    #[must_use]
    pub fn key(&self, parameter: &str) -> Key {
        self.provider.key(parameter)
    }
}
