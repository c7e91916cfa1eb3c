//! What end-to-end tests stand on: attestors, databases and hosts, all of them real processes that
//! die with the test. Nothing here is a stand-in for a part of ours.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "tests stop at the first surprise"
)]

pub mod authority;
pub mod cluster;
pub mod containers;
pub mod daemon;
pub mod database;
pub mod disk;
pub mod host;
pub mod impostor;
pub mod keyprovider;
pub mod kubelet;
pub mod liar;
pub mod many_banks;
pub mod memory;
pub mod programs;
pub mod proxy;
pub mod registry;
pub mod review;
pub mod rows;
pub mod server;
pub mod slow;
pub mod token;
pub mod tpm2_tools;
pub mod transit;
pub mod world;
