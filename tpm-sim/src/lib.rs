//! Simulated hosts for developers: TPMs that are processes or only keys, and recorded boots to measure into them.
//!
//! The commands `tpm-sim` and `tpm-sim-load` are built on it, and so are tests that need a TPM to talk to.
//! Without the feature `swtpm` there is nothing here that needs the agent or libtss2.

#[cfg(feature = "swtpm")]
pub mod containers;
#[cfg(feature = "swtpm")]
pub mod kubernetes;
#[cfg(feature = "swtpm")]
pub mod lies;
#[cfg(feature = "swtpm")]
pub mod mortal;
pub mod profile;
pub mod review;
#[cfg(feature = "swtpm")]
pub mod runtime_list;
pub mod six_nodes;
pub mod software;
#[cfg(feature = "swtpm")]
pub mod swtpm;
