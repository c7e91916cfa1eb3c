//! Where a tool has keys from: a file, by ocicrypt's own JWE, or a key provider, by a path to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tool;

/// As ocicrypt calls it.
pub const CONFIG: &str = "OCICRYPT_KEYPROVIDER_CONFIG";
/// The provider's name in configurations, and in the annotation of each layer.
const NAME: &str = "touchstone";

/// What `--encryption-key` and `--decryption-key` take, and containerd's decoder.
#[derive(Clone)]
pub enum Key {
    /// A PEM file.
    File(PathBuf),
    /// A key provider.
    Provider {
        /// The file that names it.
        config: PathBuf,
        /// What it is told: at a build machine the key's name.
        parameter: String,
    },
}

impl Key {
    /// For `--encryption-key`.
    #[must_use]
    pub fn encrypting(&self) -> String {
        match self {
            Self::File(path) => format!("jwe:{}", path.display()),
            Self::Provider { parameter, .. } => format!("provider:{NAME}:{parameter}"),
        }
    }

    /// For `--decryption-key`.
    #[must_use]
    pub fn decrypting(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Provider { parameter, .. } => format!("provider:{NAME}:{parameter}"),
        }
    }

    /// Tells a command of the provider.
    pub fn tell(&self, command: &mut Command) {
        if let Self::Provider { config, .. } = self {
            command.env(CONFIG, config);
        }
    }
}

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
    folder: TempDir,
}

impl Provider {
    /// One that is a program: a request on its standard input, an answer on its output.
    #[must_use]
    pub fn program(path: &Path, arguments: &[&str]) -> Self {
        Self::configured(&json!({"cmd": {"path": path, "args": arguments}}))
    }

    /// One that serves gRPC on a unix socket.
    #[must_use]
    pub fn socket(path: &Path) -> Self {
        Self::configured(&json!({"grpc": format!("unix://{}", path.display())}))
    }

    fn configured(provider: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({"key-providers": {NAME: provider}});
        std::fs::write(folder.path().join("ocicrypt.json"), config.to_string()).unwrap();
        Self { folder }
    }

    /// The key that it has, or knows of, by this parameter.
    #[must_use]
    pub fn key(&self, parameter: &str) -> Key {
        Key::Provider {
            config: self.folder.path().join("ocicrypt.json"),
            parameter: parameter.to_owned(),
        }
    }
}
