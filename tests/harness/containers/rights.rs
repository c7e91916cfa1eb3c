//! Whether containers can run here.

use touchstone_tpm_sim::containers::rights::probe;

/// Containers can run here. Where not, this says that the test is skipped, and which probe failed.
#[must_use]
pub fn allow_containers() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let Err(lacking) = probe(folder.path()) else {
        return true;
    };
    eprintln!(
        "SKIPPED: {lacking}; next: run the tests as root, in a container only if it is privileged"
    );
    false
}
