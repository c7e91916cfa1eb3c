//! The build machine: a publisher's credential, skopeo with `touchstone keyprovider`, and a registry to push to.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use tokio::process::Child;
use touchstone_tpm_sim::containers::image::Image;
use touchstone_tpm_sim::containers::keys::Provider;
use touchstone_tpm_sim::containers::{registry, skopeo};

use crate::attestor::Console;
use crate::process;

/// A build machine and its registry.
pub(in crate::demo) struct Workshop {
    /// Where skopeo finds that it may use the registry.
    pub(in crate::demo) home: PathBuf,
    /// The publisher's.
    pub(in crate::demo) credential: PathBuf,
    /// What skopeo has keys wrapped by.
    pub(in crate::demo) provider: Provider,
    /// The registry, `127.0.0.1:PORT`.
    pub(in crate::demo) address: String,
    registry: Child,
}

impl Workshop {
    /// Makes a publisher, and starts a registry on any free port.
    pub(super) async fn open(console: &Console, demo: &Path) -> anyhow::Result<Self> {
        let home = demo.join("build");
        let shelf = demo.join("registry");
        let command = registry::command(&shelf)?;
        let log = shelf.join("registry.log");
        let registry = process::quiet(command)
            .stderr(Stdio::from(File::create(&log)?))
            .spawn()
            .context("cannot start the registry")?;
        let line = process::line_in(&log, registry::LISTENS).await?;
        let address = registry::address(&line).context("the registry says no address")?;
        registry::trust(&home, address)?;
        let credential = home.join("publisher.json");
        console
            .run(&[
                &"credential",
                &"create",
                &"build",
                &"--role",
                &"publisher",
                &"--out",
                &credential,
            ])
            .await?;
        let shown = credential.to_str().context("a path that is no text")?;
        let arguments = ["keyprovider", "--credential", shown];
        let config = home.join("ocicrypt.json");
        Ok(Self {
            provider: Provider::program(config, &console.touchstone, &arguments)?,
            address: address.to_owned(),
            home,
            credential,
            registry,
        })
    }

    /// Encrypts every layer of an image under a key, on its way to the registry; its name there.
    pub(super) async fn encrypt(
        &self,
        image: &Image,
        name: &str,
        key: &str,
    ) -> anyhow::Result<String> {
        let name = format!("{}/{name}", self.address);
        let key = self.provider.key(key);
        let command = skopeo::encrypt(&image.reference(), &name, &key)?;
        process::printed(process::quiet(command)).await?;
        Ok(name)
    }

    /// Pushes an image in clear, for whoever wants to encrypt one.
    pub(in crate::demo) async fn offer(&self) -> anyhow::Result<()> {
        let says = (
            "hello",
            b"hello from your first encrypted image\n".as_slice(),
        );
        let image = Image::running(&self.home.join("hello"), &["cat", "/hello"], says)?;
        let name = format!("{}/hello:v1", self.address);
        let command = skopeo::push(&image.reference(), &name)?;
        process::printed(process::quiet(command)).await?;
        Ok(())
    }

    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        // It knows no orderly end.
        self.registry
            .kill()
            .await
            .context("cannot stop the registry")
    }
}
