//! Evidence of a host's state: wire formats, bounded parsers, and proofs.
//!
//! Bytes are parsed into types, and types are verified into proofs: `Quote` into
//! [`quote::VerifiedQuote`], `BootLog` into [`boot_log::ReplayedLog`], an EK certificate into
//! [`endorsement::VerifiedEndorsement`]. A proof has private fields and one constructor.
//!
//! Invariant: no I/O, no clock, no policy. Whether a proven fact is *good* is decided elsewhere.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "tests stop at the first surprise"
    )
)]

pub mod annotation;
pub mod banks;
pub mod boot_log;
pub mod claims;
pub mod continuity;
#[cfg(test)]
mod corpus;
pub mod credential;
pub mod data_key;
pub mod digest;
pub mod encoded;
pub mod endorsement;
pub mod finding;
pub mod host_id;
pub mod identity;
pub mod ima;
pub mod keyprovider;
mod label;
mod little_endian;
pub mod location;
pub mod nv;
pub mod oci_digest;
pub mod oci_manifest;
pub mod pcr;
pub mod publisher;
pub mod qualifying;
pub mod quote;
pub mod release_key;
pub mod result;
pub mod sealed_release;
pub mod secret;
pub mod tpm;
pub mod transparency;
pub mod wire;
