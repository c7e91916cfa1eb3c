//! End to end: each seam with a lie that it must catch, over HTTP, on real swtpm, and on SQLite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod access;
mod admission;
mod attacks;
mod audit;
mod boots;
mod break_command;
mod charts;
mod clocks;
mod clusters;
mod console;
mod container_tools;
mod corpus;
mod crashes;
mod daemon;
mod data_keys;
mod databases;
mod demo;
mod disks;
mod docs;
mod endorsement_keys;
mod endorsements;
mod enrolment;
mod explain;
mod extender;
mod fleet;
mod heads;
mod identity;
mod images;
mod inspect;
mod keyprovider;
mod kubernetes;
mod late_bodies;
mod layer_keys;
mod leases;
mod ledger;
mod load;
mod location;
mod log_key;
mod mutation;
mod openapi;
mod plan;
mod platforms;
mod policies;
mod pressure;
mod purges;
mod references;
mod release_keys;
mod releases;
mod replicas;
mod result_keys;
mod results;
mod revocations;
mod rounds;
mod runtime;
mod schemas;
mod server_ca;
mod suites;
mod transit;
mod unwrapping;
mod webhook_secret;
