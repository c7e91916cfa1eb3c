//! Secrets of this host, by the shapes of Vault's transit engine (HTTP/1.1 on a unix socket): encrypted and decrypted here,
//! each under a data key that the attestor releases to this host while it is trusted, as it does the key of a layer.
//!
//! Invariant: a secret leaves the host nowhere, and is kept, logged and written nowhere. `X-Vault-Token` is not looked at:
//! what counts is the host's evidence, a fresh round for each call, and that the caller is root or the agent's user.

pub mod ask;
mod data_key;
mod lease;
mod message;
mod refusal;
mod service;

pub(crate) use refusal::Refused;
pub(crate) use service::serve;
