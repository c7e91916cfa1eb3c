//! Whether containers can run here: by trying what they need, not by asking who we are.

use std::process::Command;

use tempfile::TempDir;

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

/// Containers can run here. Where not, this says that the test is skipped, and which probe failed.
#[must_use]
pub fn allow_containers() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let failed = PROBES
        .iter()
        .find_map(|(right, script)| Some((right, failure(script, &folder)?)));
    let Some((right, reason)) = failed else {
        return true;
    };
    eprintln!(
        "SKIPPED: no container can run here, the probe of `{right}` failed: {}; next: run the tests as root, \
         in a container only if it is privileged",
        reason.trim()
    );
    false
}

fn failure(script: &str, folder: &TempDir) -> Option<String> {
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", script, "sh"]).arg(folder.path()).output();
    let output = output.unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
