//! The corpus of real machines, for tests: `TOUCHSTONE_CORPUS` names its folder.

use std::path::PathBuf;

/// Our own boots, each a folder below `vm/`.
pub(crate) const MACHINES: [&str; 6] = [
    "base",
    "t_cmdline",
    "t_root",
    "shim_sb",
    "shim_sb_evil",
    "uki",
];

/// The folder; without it, says that it is skipped and what was not done therefore.
pub(crate) fn folder(undone: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TOUCHSTONE_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: TOUCHSTONE_CORPUS is not set, so {undone}");
    }
    folder
}
