//! The host's side: enrols the TPM once, then answers the attestor's challenges with evidence.
//!
//! [`enrol()`] and [`attest_once`] each do one thing over a [`Settings`]; [`Agent`] keeps TPM and
//! connection open between rounds; [`run()`] goes on for ever, and serves the [`keyprovider`] and [`transit`].
//! Invariant: nothing here judges. The agent knows no policy and believes no verdict but the attestor's.

pub mod attest;
mod authority;
pub mod boot;
mod changes;
pub mod check;
pub mod client;
mod clock;
pub mod enrol;
pub mod identity;
pub mod join_token;
pub mod keyprovider;
pub mod node_token;
pub mod private_file;
pub mod purge;
pub mod quiet;
mod round;
pub mod run;
pub mod runtime_list;
pub mod settings;
pub mod state;
pub mod status;
pub mod tls;
pub mod tpm;
pub mod transit;
pub mod trouble;
pub mod trust;

pub use attest::{Agent, attest_once};
pub use check::check;
pub use enrol::{Enrolment, enrol};
pub use purge::{Purged, Runtimes, purge};
pub use run::run;
pub use settings::Settings;
pub use state::Outcome;
pub use status::{Status, status};
pub use trouble::Trouble;
pub use trust::trust;
