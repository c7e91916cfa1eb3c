//! A registry on a port of its own, and what clients must be told to believe it.

use std::path::Path;
use std::process::Command;

use super::error::write;
use super::{Result, tool};

/// What a registry logs once it listens, before its address.
pub const LISTENS: &str = "listening on ";

/// A registry that keeps its blobs in `folder`, on any free port. It is empty, and speaks HTTP.
///
/// # Errors
/// `docker-registry` is missing, or `folder` cannot be written to.
pub fn command(folder: &Path) -> Result<Command> {
    let config = folder.join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\n",
        folder.join("blobs").display()
    );
    write(&config, text)?;
    let mut command = tool::command("docker-registry")?;
    command.arg("serve").arg(config);
    Ok(command)
}

/// The address in a line with [`LISTENS`], `127.0.0.1:PORT`.
#[must_use]
pub fn address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(LISTENS)?;
    rest.split(['"', ' ']).next()
}

/// Whoever has this folder as home may use the registry without TLS, and takes images that nobody signed.
///
/// # Errors
/// The folder cannot be written to.
pub fn trust(home: &Path, registry: &str) -> Result<()> {
    let folder = home.join(".config/containers");
    let registries = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
    write(&folder.join("registries.conf"), registries)?;
    let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    write(&folder.join("policy.json"), policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_out_of_the_log() {
        let line = r#"time="2026-01-01" level=info msg="listening on 127.0.0.1:5000" version=2"#;
        assert_eq!(address(line), Some("127.0.0.1:5000"));
        assert_eq!(address("starting"), None);
    }
}
