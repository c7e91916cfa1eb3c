//! What the attestor knows of a cluster, and does there: pods, nodes, tokens, labels, taints and evictions.
//!
//! Invariant: this crate knows no database, no HTTP route and no verdict: who uses it says which node deserves what.

pub mod cluster;
pub mod cluster_name;
pub mod config;
mod error;
pub mod host_trust;
pub mod image;
mod kubeconfig;
pub mod leader;
mod lenient;
pub mod marks;
pub mod names;
mod namespaces;
pub mod node;
pub mod node_marks;
pub mod notice;
mod object_name;
pub mod objects;
pub mod pod;
pub mod pods;
mod pull_secrets;
mod reach;
pub mod tokens;
mod watched;
pub mod webhooks;
pub mod workload;
