//! End to end on PostgreSQL: the tests of `main.rs`, but for some of which `suites.rs` says why.

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
mod clocks;
mod console;
mod crashes;
mod data_keys;
mod endorsement_keys;
mod endorsements;
mod enrolment;
mod explain;
mod extender;
mod identity;
mod images;
mod keyprovider;
mod late_bodies;
mod layer_keys;
mod leases;
mod ledger;
mod location;
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
mod result_keys;
mod results;
mod revocations;
mod rounds;
mod runtime;
mod schemas;
mod server_ca;
mod suites;
mod webhook_secret;
