//! The attestor: verifies evidence, keeps verdicts, answers relying parties, writes the audit log;
//! and the commands of operators and auditors, which talk to it over HTTP and open no database.
//!
//! Imports point one way: `http | kubernetes | console → enrollment | appraisal | location | policy |
//! credentials | leases | images → layer_keys | workloads → audit → store`. Nothing below `http` names axum; nothing above `store`
//! names sqlx.
//!
//! Invariant: this crate knows no TPM; it sees only bytes and what `evidence` proves of them.

mod appraisal;
mod attestor;
mod audit;
mod budgets;
mod clock;
mod cluster_file;
mod commits;
pub mod console;
mod credentials;
mod data_keys;
pub mod duty;
mod enrollment;
mod explain;
mod follower;
mod heads;
mod housekeeping;
pub mod http;
mod images;
mod keys;
mod kill_points;
mod kubernetes;
mod layer_keys;
mod leases;
mod location;
mod log_key;
mod logs;
mod metrics;
mod operator_file;
mod other_clusters;
mod policy;
mod process;
mod random;
mod references;
mod refusals;
mod registries;
mod releases;
mod result_keys;
pub mod role;
pub mod serve;
mod server_ca;
pub mod settings;
mod store;
mod tls;
mod trust_index;
mod webhook_secret;
mod workloads;
