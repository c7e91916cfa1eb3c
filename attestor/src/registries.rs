//! Registries of images: which may be asked without TLS, with which credential, and for what.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::Reference;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keys::{self, KeyError};

/// What is asked of a registry: manifests, and indexes of them.
pub(crate) const MEDIA_TYPES: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// Whether a registry, `HOST` or `HOST:PORT`, is on this machine: only such a one is asked without TLS.
pub(crate) fn is_here(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Credentials for registries, as `skopeo login` and `docker login` write them (containers-auth.json(5)).
#[derive(Default)]
pub(crate) struct Credentials {
    path: PathBuf,
    auths: BTreeMap<String, Entry>,
}

/// Name and password at one registry.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Login {
    /// The value of `Authorization` (RFC 7617).
    pub(crate) fn basic(&self) -> Zeroizing<String> {
        let pair = Zeroizing::new(format!("{}:{}", self.name, self.password));
        Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }
}

/// Why a file of credentials is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    File(#[from] KeyError),
    #[error("`{0}` is no file of credentials as `skopeo login` writes it")]
    Malformed(PathBuf),
    #[error("the credential for `{registry}` in `{path}` is no name and password")]
    Entry { registry: String, path: PathBuf },
}

#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Entry {
    auth: Option<String>,
}

impl Credentials {
    /// Reads a file that its owner alone may read.
    pub(crate) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let content = Zeroizing::new(keys::read_private(path)?);
        let file: AuthFile = serde_json::from_str(&content)
            .map_err(|_| CredentialsError::Malformed(path.to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            auths: file.auths,
        })
    }

    /// Adds what a pull secret holds; what is there already stays. `false`: it holds no credentials.
    pub(crate) fn add_secret(&mut self, content: &[u8]) -> bool {
        let Ok(file) = serde_json::from_slice::<AuthFile>(content) else {
            return false;
        };
        self.path = PathBuf::from("pull secret");
        for (registry, entry) in file.auths {
            // docker and kubectl write the URL of its interface too.
            let host = registry
                .split_once("://")
                .map_or(&*registry, |(_, host)| host);
            let host = host.trim_end_matches('/');
            let host = host
                .strip_suffix("/v1")
                .or(host.strip_suffix("/v2"))
                .unwrap_or(host);
            self.auths.entry(host.to_owned()).or_insert(entry);
        }
        true
    }

    /// What to show to the registry of `image`; `None`: nothing is there for it.
    pub(crate) fn of(&self, image: &Reference) -> Result<Option<Login>, CredentialsError> {
        // Docker's own has two names.
        let names = [image.resolve_registry(), image.registry()];
        let found = names
            .into_iter()
            .find_map(|name| Some((name, self.auths.get(name)?.auth.as_ref()?)));
        let Some((registry, auth)) = found else {
            return Ok(None);
        };
        let login = login(auth).ok_or_else(|| CredentialsError::Entry {
            registry: registry.to_owned(),
            path: self.path.clone(),
        })?;
        Ok(Some(login))
    }
}

/// `NAME:PASSWORD` in base64.
fn login(auth: &str) -> Option<Login> {
    let pair = STANDARD.decode(auth.as_bytes()).map(Zeroizing::new).ok()?;
    let (name, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Login {
        name: name.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_a_registry_on_this_machine_is_here() {
        for here in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
        ] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in [
            "registry.example",
            "localhost.example:5000",
            "10.0.0.1:5000",
            "127.0.0.1.example",
        ] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_credential_is_for_its_registry_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        let write = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        // `ci:hush`, and text without a colon.
        let text = r#"{"auths": {"registry.example": {"auth": "Y2k6aHVzaA=="}, "docker.io": {"auth": "Y2k6aHVzaA=="},
            "broken.example": {"auth": "aHVzaA=="}, "empty.example": {}}}"#;
        write(text, 0o600);
        let credentials = Credentials::read(&path).unwrap();
        let of = |image: &str| credentials.of(&image.parse().unwrap());
        for image in ["registry.example/a", "nginx"] {
            let login = of(image).unwrap().unwrap();
            assert_eq!((&*login.name, &*login.password), ("ci", "hush"));
            assert_eq!(*login.basic(), "Basic Y2k6aHVzaA==");
        }
        for image in [
            "registry.example.org/a",
            "registry.example:5000/a",
            "empty.example/a",
        ] {
            assert!(of(image).unwrap().is_none(), "{image}");
        }
        let said = of("broken.example/a").err().unwrap().to_string();
        assert!(
            said.contains("`broken.example`") && !said.contains("hush"),
            "{said}"
        );
        let mut secret = Credentials::default();
        assert!(!secret.add_secret(b"hush"));
        let urls = r#"{"auths": {"https://registry.example/v2/": {"auth": "Y2k6aHVzaA=="}, "https://index.docker.io/v1/": {"auth": "Y2k6aHVzaA=="}}}"#;
        assert!(secret.add_secret(urls.as_bytes()));
        assert!(secret.add_secret(br#"{"auths": {"registry.example": {"auth": "YTpi"}}}"#));
        for image in ["registry.example/a", "nginx"] {
            let login = secret.of(&image.parse().unwrap()).unwrap().unwrap();
            assert_eq!(&*login.name, "ci", "{image}");
        }
        write(text, 0o644);
        assert!(matches!(
            Credentials::read(&path),
            Err(CredentialsError::File(_))
        ));
        write("hush", 0o600);
        let said = Credentials::read(&path).err().unwrap().to_string();
        assert!(said.contains("as `skopeo login` writes it"), "{said}");
    }
}
