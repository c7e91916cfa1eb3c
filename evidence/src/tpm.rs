//! TPM 2.0 structures as the TPM marshals them (Part 2): big-endian, length-prefixed.

pub mod attest;
pub mod hash;
pub mod name;
pub(crate) mod outer_wrap;
pub mod public;
pub mod reader;
pub(crate) mod shared_seed;
pub mod signature;
#[cfg(test)]
pub(crate) mod software;
pub(crate) mod spki;
pub mod template;
#[cfg(test)]
mod tests;
