//! An image that was encrypted where it was built, with a key of the policy `payments`, and how a host's tools ask its
//! agent for that key.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_tests::containers::containerd::Containerd;
use touchstone_tests::containers::image::Image;
use touchstone_tests::containers::keys::{Key, Provider};
use touchstone_tests::containers::registry::Registry;
use touchstone_tests::containers::skopeo;
use touchstone_tests::containers::tool::Said;
use touchstone_tests::host::{self, Host};
use touchstone_tests::programs;
use touchstone_tests::server::Server;
use touchstone_tests::world::World;

use crate::layer_keys::publisher;

/// What the image says where it is read.
pub(crate) const SECRET: &str = "read by a healthy host";

/// The image.
pub(crate) struct Built {
    pub(crate) registry: Registry,
    /// Its name there.
    pub(crate) name: String,
    /// Its manifest, as it was pushed.
    pub(super) manifest: String,
    /// The credential that it was encrypted with.
    pub(super) publisher: String,
    /// Its layers in clear, the lowest first.
    layers: Vec<String>,
}

/// Encrypts an image with a new key of the policy `payments`.
pub(super) fn built(world: &World, more: &[&str]) -> Built {
    built_by(world, more, skopeo::encrypt)
}

pub(super) fn built_by(
    world: &World,
    more: &[&str],
    encrypt: impl FnOnce(&Image, &str, &Key) -> Said,
) -> Built {
    Built::new(&world.server, Registry::start(), more, encrypt)
}

impl Built {
    /// Encrypts an image into a registry that is there, with a new key of the policy `payments`.
    pub(crate) fn into(registry: Registry, server: &Server) -> Self {
        Self::new(server, registry, &[], skopeo::encrypt)
    }

    fn new(
        server: &Server,
        registry: Registry,
        more: &[&str],
        encrypt: impl FnOnce(&Image, &str, &Key) -> Said,
    ) -> Self {
        let create = ["key", "create", "payments", "--policy", "payments"];
        server.command(&[&create[..], more].concat());
        let publisher = publisher(server, "ci");
        let arguments = ["keyprovider", "--credential", &publisher];
        let provider = Provider::program(&programs::path("touchstone"), &arguments);
        let name = registry.image("payments:v1");
        let image = Image::saying(SECRET);
        let _said = encrypt(&image, &name, &provider.key("payments")).good();
        Self {
            manifest: skopeo::raw_manifest(&name),
            layers: image.layers.clone(),
            registry,
            name,
            publisher,
        }
    }

    pub(crate) fn digest(&self) -> OciDigest {
        OciDigest(Sha256Digest::of(self.manifest.as_bytes()))
    }

    /// Its name by its digest, as pods are to have it.
    pub(crate) fn by_digest(&self) -> String {
        self.registry.image(&format!("payments@{}", self.digest()))
    }

    /// Whether containerd has a layer of it decrypted, or what only it holds anywhere on its disk.
    pub(crate) fn lies_open_on(&self, containerd: &Containerd) -> bool {
        let there = containerd.snapshots();
        let decrypted = self.snapshots().iter().any(|chain| there.contains(chain));
        decrypted || containerd.keeps(SECRET)
    }

    /// The names that containerd gives to its layers once they are decrypted: chain ids (OCI image specification,
    /// "Layer ChainID").
    fn snapshots(&self) -> Vec<String> {
        let mut chains: Vec<String> = Vec::new();
        for layer in &self.layers {
            let chain = chains.last().map(|below| {
                let both = format!("{below} {layer}");
                format!("sha256:{}", Sha256Digest::of(both.as_bytes()))
            });
            chains.push(chain.unwrap_or_else(|| layer.clone()));
        }
        chains
    }
}

/// How the tools of a host reach its agent: by its socket, and through its program.
pub(super) struct Node {
    pub(super) socket: Provider,
    program: Provider,
}

impl Node {
    pub(super) fn of(host: &Host, world: &World) -> Self {
        let socket = host::keyprovider(&host.settings(&world.server));
        let arguments = ["keyprovider", "--socket", socket.to_str().unwrap()];
        Self {
            program: Provider::program(&programs::path("touchstone-agent"), &arguments),
            socket: Provider::socket(&socket),
        }
    }

    pub(super) fn keys(&self) -> [Key; 2] {
        [&self.socket, &self.program].map(|provider| provider.key("node"))
    }
}
