//! The three hosts: what each boots, where it stands, and the answers that are due.

use anyhow::Context as _;
use touchstone_tpm_sim::profile::Profile;

use super::expectation::{Due, Why};

/// One host of the demo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Its name in the inventory.
    pub(super) name: &'static str,
    /// The Kubernetes node that it is.
    pub(super) node: &'static str,
    /// Name of the boot that it replays.
    boot: &'static str,
    /// What the location authority says: country, subdivision and site.
    pub(super) country: &'static str,
    pub(super) subdivision: &'static str,
    pub(super) site: &'static str,
    /// What must come out of it.
    pub(super) due: Due,
}

const FLEET: [Plan; 3] = [
    Plan {
        name: "de-1",
        node: "worker-de-1",
        boot: "shim_sb",
        country: "DE",
        subdivision: "DE-HE",
        site: "fra1",
        due: Due {
            country: "DE",
            tier: "affirming",
            boot_admits: true,
            place_admits: true,
            why: Why::Nothing,
        },
    },
    Plan {
        name: "us-1",
        node: "worker-us-1",
        boot: "shim_sb",
        country: "US",
        subdivision: "US-VA",
        site: "iad1",
        due: Due {
            country: "US",
            tier: "affirming",
            boot_admits: true,
            place_admits: false,
            why: Why::Region("germany"),
        },
    },
    Plan {
        name: "de-2",
        node: "worker-de-2",
        boot: "shim_sb_evil",
        country: "DE",
        subdivision: "DE-BE",
        site: "ber1",
        due: Due {
            country: "DE",
            tier: "contraindicated",
            boot_admits: false,
            place_admits: false,
            why: Why::CommandLine {
                expected: "shim_sb",
                seen: "shim_sb_evil",
            },
        },
    },
];

/// The fleet; `swap` exchanges what de-1 and de-2 boot, and not what is due.
pub(super) fn plans(swap: bool) -> [Plan; 3] {
    let [mut first, abroad, mut altered] = FLEET;
    if swap {
        std::mem::swap(&mut first.boot, &mut altered.boot);
    }
    [first, abroad, altered]
}

impl Plan {
    /// What it boots.
    pub(super) fn profile(&self) -> anyhow::Result<&'static Profile> {
        Profile::named(self.boot).with_context(|| format!("no profile is called `{}`", self.boot))
    }
}
