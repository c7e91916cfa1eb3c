//! Whether containers can run here: by trying what they need, not by asking who we are.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Each right, and how it is tried. `$1` is an empty folder.
const PROBES: [(&str, &str); 4] = [
    (
        "user",
        r#"test "$(id -u)" = 0 || { echo "$(id -un) is not root" >&2; exit 1; }"#,
    ),
    (
        "mount",
        r#"exec unshare --mount sh -c 'mount -t tmpfs tmpfs "$1" && mkdir "$1/a" "$1/b" && mount --bind "$1/a" "$1/b"' sh "$1""#,
    ),
    (
        "namespaces",
        "exec unshare --mount --pid --fork --mount-proc --ipc --uts --net true",
    ),
    (
        // With version 2 the hierarchy is the folder itself.
        "cgroup",
        r#"cd /sys/fs/cgroup && { test -e cgroup.controllers || cd pids; } && mkdir "touchstone-$$" && rmdir "touchstone-$$""#,
    ),
];

/// A right that containers need and that is not had here.
#[derive(Debug, thiserror::Error)]
#[error("no container can run here, the probe of `{right}` failed: {reason}")]
pub struct Lacking {
    right: &'static str,
    reason: String,
}

/// Tries them in `folder`, which is empty.
///
/// # Errors
/// The first right that is lacking.
pub fn probe(folder: &Path) -> Result<(), Lacking> {
    for (right, script) in PROBES {
        if let Err(reason) = passes(script, folder) {
            return Err(Lacking { right, reason });
        }
    }
    Ok(())
}

fn passes(script: &str, folder: &Path) -> Result<(), String> {
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script, "sh"]).arg(folder);
    let output = shell.stdin(Stdio::null()).output();
    let output = output.map_err(|error: io::Error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
