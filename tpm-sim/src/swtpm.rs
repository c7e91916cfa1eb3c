//! Simulated hosts' TPMs: swtpm processes, made and run as a manufacturer and a machine would.
//!
//! [`Authority`] plays the TPM's maker and its CA, [`Swtpm`] is a TPM that lies in a folder, and
//! [`RunningTpm`] one under power. What talks to it cannot tell it from a device but by its certificate.
//! All calls block; several fleets may run at once.

mod authority;
mod child;
mod endorse;
mod error;
mod manufacture;
mod measure;
mod running;
mod wire;

pub use authority::Authority;
pub use error::Error;
pub use manufacture::Swtpm;
pub use measure::{Bank, Event};
pub use running::RunningTpm;

/// What every call here gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether the programs that simulated TPMs need are there.
///
/// # Errors
/// [`Error::Missing`] names the first that is not on the `PATH`.
pub fn available() -> Result<()> {
    for program in ["swtpm", "swtpm_setup", "swtpm_localca", "setpriv", "bash"] {
        child::find(program)?;
    }
    Ok(())
}
