//! The agent's TPM calls against real swtpm processes, and the swtpm harness itself.
//!
//! Each test has its own authority and TPM in a temporary folder. Nothing sleeps, nothing is mocked.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod credential;
mod host;
mod keys;
mod power;
mod release;
mod rounds;
mod signed;
