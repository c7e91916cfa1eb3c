//! Silences tpm2-tss, which writes its own errors to stderr beside ours.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const VARIABLE: &str = "TSS2_LOG";

/// Starts this program over with `TSS2_LOG=all+none`, unless the variable says something already.
///
/// tpm2-tss reads it from the environment of the process, which safe code cannot change: replacing the
/// process (same pid, same arguments, once) can. Where that fails, the noise stays and nothing else.
pub fn silence_the_tss() {
    if env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
        let _ = Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(VARIABLE, "all+none")
            .exec();
    }
}
