//! Judgement: manifests, reference values, regions, and what follows from them.
//!
//! [`appraise`](appraise::appraise) makes a tier of a host's proven claims; [`admit`](admit::admit)
//! decides about a pod on a host. Both are total, pure and deterministic.
//!
//! Invariant: no I/O, no clock, no unproven byte: a host is seen only through
//! [`Claims`](touchstone_evidence::claims::Claims).

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
        reason = "tests stop at the first surprise"
    )
)]

pub mod admit;
pub mod advice;
pub mod appraise;
pub mod explain;
pub mod manifest;
pub mod placement;
pub mod plan;
pub mod prose;
pub mod release;
