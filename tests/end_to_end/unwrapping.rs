//! Keys of encrypted layers on a host: the agent's key provider, from the call of a runtime to the answer.

mod attestors;
pub(crate) mod built;
mod calls;
mod containers;
mod leases;
pub(crate) mod machine;
mod pods;

use std::fs;

use touchstone_tests::host::Host;
use touchstone_tests::proxy::Proxy;
use touchstone_tests::world::{Maker, World, healthy_host};

use crate::layer_keys::{annotation, publisher, wrap};

/// A healthy host, and the annotation of a layer that it may read: of the sample's policy `payments`.
async fn scene() -> (World, Host, Maker, Vec<u8>) {
    let (world, host, maker) = healthy_host().await;
    let create = ["key", "create", "payments", "--policy", "payments"];
    world.server.command(&create);
    let wrapped = another(&world, "ci").await;
    (world, host, maker, wrapped)
}

/// The annotation of the same layer, wrapped by a new publisher.
async fn another(world: &World, name: &str) -> Vec<u8> {
    let publisher = publisher(&world.server, name);
    annotation(&wrap(&world.server, &publisher, "payments").await.unwrap())
}

/// A way from the host to its attestor that can be cut.
pub(crate) fn way(host: &Host, world: &World) -> Proxy {
    let (_, port) = world.server.url.rsplit_once(':').unwrap();
    let way = Proxy::to(port.parse().unwrap());
    tell(host, world, port, &way.port.to_string());
    way
}

/// Has the host go elsewhere from its next start on.
fn tell(host: &Host, world: &World, from: &str, to: &str) {
    let identity = host.settings(&world.server).state.join("identity.json");
    let kept = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, kept.replace(from, to)).unwrap();
}
