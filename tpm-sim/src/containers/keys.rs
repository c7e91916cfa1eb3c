//! Where a tool has keys from: a file, by ocicrypt's own JWE, or a key provider, by a path to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::Result;
use super::error::write;

/// As ocicrypt calls it.
pub const CONFIG: &str = "OCICRYPT_KEYPROVIDER_CONFIG";
/// The provider's name in configurations, and in the annotation of each layer.
const NAME: &str = "touchstone";

/// What `--encryption-key` and `--decryption-key` take, and containerd's decoder.
#[derive(Clone, Debug)]
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

/// A key provider, as a file names it to tools.
#[derive(Debug)]
pub struct Provider {
    /// The file.
    pub config: PathBuf,
}

impl Provider {
    /// One that is a program: a request on its standard input, an answer on its output. Writes `config`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn program(config: PathBuf, path: &Path, arguments: &[&str]) -> Result<Self> {
        Self::configured(config, &json!({"cmd": {"path": path, "args": arguments}}))
    }

    /// One that serves gRPC on a unix socket. Writes `config`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn socket(config: PathBuf, path: &Path) -> Result<Self> {
        let address = format!("unix://{}", path.display());
        Self::configured(config, &json!({"grpc": address}))
    }

    fn configured(config: PathBuf, provider: &Value) -> Result<Self> {
        let providers = json!({"key-providers": {NAME: provider}});
        write(&config, providers.to_string())?;
        Ok(Self { config })
    }

    /// The key that it has, or knows of, by this parameter.
    #[must_use]
    pub fn key(&self, parameter: &str) -> Key {
        Key::Provider {
            config: self.config.clone(),
            parameter: parameter.to_owned(),
        }
    }
}
