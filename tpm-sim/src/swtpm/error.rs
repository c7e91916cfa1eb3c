//! What goes wrong with simulated TPMs, and what to do about it.

use std::io;
use std::path::PathBuf;

use tss_esapi::Error as TssError;

use super::Bank;

/// Why a simulated TPM could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error("`{program}` is not on the PATH; on Debian: apt install swtpm swtpm-tools util-linux")]
    Missing {
        /// Its name.
        program: &'static str,
    },

    /// A program could not be started, or its end not awaited.
    #[error("`{program}` could not be run")]
    Run {
        /// Its name.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },

    /// A program ran and failed.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// The end of what it said.
        said: String,
    },

    /// A file of the authority or of a TPM's state.
    #[error("`{}` cannot be used", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// No two adjacent loopback ports were free, each time we looked.
    #[error("no two adjacent free ports on 127.0.0.1 after {attempts} attempts")]
    Ports {
        /// How often we looked.
        attempts: usize,
    },

    /// The TPM does not answer on its sockets.
    #[error("the simulated TPM on port {port} does not answer")]
    Silent {
        /// The TPM's port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },

    /// The TPM answered with an error code (TPM 2.0 Part 2 §6.6, or swtpm's control channel).
    #[error("the simulated TPM refuses {command} with {code:#x}")]
    Refused {
        /// What it was told.
        command: &'static str,
        /// Its response code.
        code: u32,
    },

    /// A PCR that does not exist, or that the TSS does not name.
    #[error("there is no PCR {0}: 0 to 23 are expected")]
    Pcr(u8),

    /// A digest that its bank cannot take.
    #[error("a digest for bank {} has {expected} bytes, not {given}", bank.name())]
    Digest {
        /// The bank.
        bank: Bank,
        /// Bytes of that algorithm.
        expected: usize,
        /// Bytes given.
        given: usize,
    },

    /// The TSS failed to change or read what the maker left in the TPM.
    #[error("the simulated TPM's endorsement could not be changed")]
    Endorsement(#[source] TssError),
}
