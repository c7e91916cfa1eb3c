//! Programs in a name space of mounts of their own: what they mount ends with them and what they started, and files of
//! the test stand where the machine's are.

use std::path::Path;
use std::process::Command;

use super::tool;

const BIND: &str = r#"
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit; shift 2; done
shift
exec "$@"
"#;

/// A command for `program`, which finds at the second path of each pair what is at the first.
#[must_use]
pub fn command(program: &Path, instead: &[(&Path, &Path)]) -> Command {
    let mut command = tool::command("unshare");
    command.args(["--mount", "sh", "-c", BIND, "sh"]);
    for (ours, machines) in instead {
        command.arg(ours).arg(machines);
    }
    command.arg("--").arg(program);
    command
}
