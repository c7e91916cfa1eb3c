//! Commands whose processes end with this one and hold nothing of it open.
//!
//! libtss2 opens its sockets without close-on-exec. A child that was started meanwhile would keep such a
//! connection alive, and a swtpm serves one connection at a time: the TPM would hang for everybody.

use std::ffi::OsStr;
use std::process::Command;

/// Closes what was inherited beyond the standard streams. bash, for its redirections of any number.
const CLOSE_INHERITED: &str = r#"
for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    if ((fd > 2)); then eval "exec $fd>&-"; fi
done
exec setpriv --pdeathsig KILL -- "$@"
"#;

/// A command for `program`. The kernel kills it (prctl(2) PR_SET_PDEATHSIG) when the *thread* that starts
/// it ends, so start it from one that lasts.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", CLOSE_INHERITED, "mortal"]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::net::TcpListener;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_child_holds_only_its_standard_streams() {
        // As libtss2 does it: a descriptor that execution does not close.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inherited = rustix::io::dup(&listener).unwrap();
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        let list = |mut command: Command| {
            let listed = command.stdin(Stdio::null()).output().unwrap();
            String::from_utf8(listed.stdout).unwrap().lines().count()
        };
        let mut plain = Command::new("ls");
        plain.arg("/proc/self/fd");
        let mut mortal = command("ls");
        mortal.arg("/proc/self/fd");
        // Three streams and the folder that `ls` reads.
        assert_eq!(list(mortal), 4);
        assert!(list(plain) > 4);
    }
}
