//! skopeo, which encrypts images and moves them. A registry's image is `127.0.0.1:PORT/NAME` here.

use std::process::Command;

use super::keys::Key;
use super::{Result, tool};

/// Encrypts every layer of an image (`oci:…`) on its way to a registry.
///
/// # Errors
/// skopeo is missing, as with every command here.
pub fn encrypt(image: &str, to: &str, key: &Key) -> Result<Command> {
    let mut command = copy()?;
    command
        .arg("--encryption-key")
        .arg(key.encrypting())
        .arg(image)
        .arg(docker(to));
    key.tell(&mut command);
    Ok(command)
}

/// Pushes an image to a registry as it is.
///
/// # Errors
/// skopeo is missing.
pub fn push(image: &str, to: &str) -> Result<Command> {
    let mut command = copy()?;
    command.arg(image).arg(docker(to));
    Ok(command)
}

/// Decrypts an image of a registry on its way to `to`. Without a key it copies what is encrypted, and that goes well.
///
/// # Errors
/// skopeo is missing.
pub fn decrypt(from: &str, to: &str, key: &Key) -> Result<Command> {
    let mut command = copy()?;
    command
        .arg("--decryption-key")
        .arg(key.decrypting())
        .arg(docker(from))
        .arg(to);
    key.tell(&mut command);
    Ok(command)
}

/// Shows the manifest of an image of a registry, byte for byte.
///
/// # Errors
/// skopeo is missing.
pub fn manifest(image: &str) -> Result<Command> {
    let mut command = tool::command("skopeo")?;
    command.args(["inspect", "--raw", "--tls-verify=false"]);
    command.arg(docker(image));
    Ok(command)
}

fn copy() -> Result<Command> {
    let mut command = tool::command("skopeo")?;
    // No image here is signed.
    command.args(["--insecure-policy", "copy", "--quiet"]);
    command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
    Ok(command)
}

fn docker(image: &str) -> String {
    format!("docker://{image}")
}
