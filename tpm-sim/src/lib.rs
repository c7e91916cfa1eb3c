//! Simulated hosts for developers: TPMs that are processes, and recorded boots to measure into them.
//!
//! The command `tpm-sim` is built on it, and so are tests that need a real TPM to talk to.

pub mod lies;
pub mod mortal;
pub mod profile;
pub mod runtime_list;
pub mod swtpm;
