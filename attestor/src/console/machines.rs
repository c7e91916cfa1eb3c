//! The life of a machine at the command line: inventory, join tokens, quarantine, out of service.
//!
//! Here is what several of its commands take: the keys of a TPM, and a reason.

mod ek_certificate;
mod ek_prefix;
mod file;
mod import;
mod inventory;
mod join_tokens;
mod oems;
mod service;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;

use super::answers::items;
use crate::audit::Reason;

pub use inventory::Inventory;
pub(super) use inventory::inventory;
pub use join_tokens::JoinToken;
pub(super) use join_tokens::join_token;
pub use service::Service;
pub(super) use service::service;

/// The endorsement keys of one TPM.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct Eks {
    /// EK certificate, DER or PEM, one a file; may be given several times
    #[arg(long, value_name = "FILE")]
    ek_certificate: Vec<PathBuf>,
    /// SHA-256 of an EK's DER SubjectPublicKeyInfo; may be given several times
    #[arg(long, value_name = "HEX")]
    ek_digest: Vec<Sha256Digest>,
}

/// A reason.
#[derive(Args, Debug)]
pub struct Why {
    /// Why, in a few words, for the audit log: one line of at most 200 characters
    #[arg(long)]
    pub(super) reason: Option<Reason>,
}

impl Eks {
    fn digests(&self) -> anyhow::Result<Vec<Sha256Digest>> {
        let mut digests = self.ek_digest.clone();
        for certificate in &self.ek_certificate {
            digests.push(ek_certificate::digest(certificate)?);
        }
        Ok(digests)
    }
}

impl Why {
    fn body(&self) -> Value {
        json!({ "reason": self.reason })
    }
}

fn keys_of(answer: &Value) -> String {
    match items(answer, "ek_digests").count() {
        1 => "1 endorsement key".to_owned(),
        count => format!("{count} endorsement keys"),
    }
}
