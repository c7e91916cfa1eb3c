//! A machine that may be a node: containerd as a kubelet wants it, and the host's agent, which has keys for it and takes
//! images off it.

use rustix::process::Signal;
use touchstone_tests::containers::containerd::Containerd;
use touchstone_tests::containers::image::Image;
use touchstone_tests::containers::keys::Provider;
use touchstone_tests::containers::registry::Registry;
use touchstone_tests::containers::skopeo;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::host::{self, Host};
use touchstone_tests::server::Server;

/// What containers run here to be seen: they say what the image holds, and go on.
pub(crate) const RUNS: [&str; 4] = [
    "/bin/busybox",
    "sh",
    "-c",
    "echo $(/bin/busybox cat /secret); exec /bin/busybox sleep 1000",
];

/// The machine; what runs on it ends with it.
pub(crate) struct Machine {
    pub(crate) agent: Daemon,
    pub(crate) containerd: Containerd,
    _keys: Provider,
}

impl Machine {
    /// The machine of an enrolled host, after its first round. No other is due today: each may purge, and what a purge
    /// takes from a pull under way keeps that from its reason.
    pub(crate) fn of(host: &Host, server: &Server, registry: &Registry) -> Self {
        let socket = host::keyprovider(&host.settings(server));
        let keys = Provider::socket(&socket);
        let pause = registry.image("pause:v1");
        let _said = skopeo::push(&Image::waiting(), &pause).good();
        let containerd = Containerd::for_pods(&keys.key("node"), &pause);
        let mut command = host.agent_command(server, &["run", "--interval", "86400"]);
        command
            .arg("--containerd")
            .arg(containerd.socket())
            .arg("--content-store")
            .arg(containerd.content_store());
        let mut agent = Daemon::start(command);
        agent.wait_for("the key provider listens");
        agent.wait_for(": attested ");
        Self {
            agent,
            containerd,
            _keys: keys,
        }
    }

    /// A round at once, as an operator asks for it; what becomes of it is to be waited for.
    pub(crate) fn attest(&self) {
        self.agent.signal(Signal::HUP);
    }
}
