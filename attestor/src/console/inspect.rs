//! `touchstone inspect`: looks into a piece of evidence without a server, as the attestor would.
//!
//! Exit code 1: it does not verify or replay; 2: it cannot be parsed.

mod boot_log;
mod certificate;
mod ima;
mod pcr_file;
mod quote;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::output;

/// `touchstone inspect …`
#[derive(Subcommand, Debug)]
pub enum Inspect {
    /// Show a boot as its firmware measured it, and replay the log onto PCR values
    BootLog {
        /// `binary_bios_measurements`
        file: PathBuf,
        /// PCR values to replay onto: JSON `{"pcrs":{"sha256":{"0":"hex"}}}` or what `tpm2_pcrread` prints
        #[arg(long)]
        pcrs: Option<PathBuf>,
    },
    /// Look at an endorsement certificate, and follow it to a root
    EkCertificate {
        /// The certificate, DER
        file: PathBuf,
        /// PEM bundle of roots and intermediates; may be given several times
        #[arg(long, required = true)]
        roots: Vec<PathBuf>,
    },
    /// Verify a quote: who signed it, over which PCRs, when in the life of the TPM
    Quote {
        /// The attestation key: a `TPM2B_PUBLIC` or `TPMT_PUBLIC`
        #[arg(long)]
        ak: PathBuf,
        /// The `TPMS_ATTEST`
        #[arg(long)]
        message: PathBuf,
        /// The `TPMT_SIGNATURE`
        #[arg(long)]
        signature: PathBuf,
        /// The qualifying data that it must carry, hexadecimal
        #[arg(long)]
        nonce: Option<String>,
        /// PCR values that it must be over: JSON `{"pcrs":{"sha256":{"0":"hex"}}}` or what
        /// `tpm2_pcrread` prints
        #[arg(long)]
        pcrs: Option<PathBuf>,
    },
    /// Read the kernel's runtime measurement list, and replay it onto PCR 10
    Ima {
        /// `binary_runtime_measurements`
        file: PathBuf,
        /// PCR values to replay onto: JSON `{"pcrs":{"sha256":{"0":"hex"}}}` or what `tpm2_pcrread` prints
        #[arg(long)]
        pcrs: Option<PathBuf>,
    },
}

/// What an inspection found: shown in any case.
struct Inspected {
    /// Everything, for machines.
    json: Value,
    /// The picture, for people.
    text: String,
    /// Whether all that was asked for verified.
    verified: bool,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum InspectError {
    #[error("`{}` cannot be read", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is not {what}: {why}", path.display())]
    Parse {
        path: PathBuf,
        what: &'static str,
        why: String,
    },
}

/// Runs one inspection and prints what it found.
pub(super) fn run(inspect: &Inspect, json: bool) -> ExitCode {
    let inspected = match inspect {
        Inspect::Quote {
            ak,
            message,
            signature,
            nonce,
            pcrs,
        } => quote::inspect(ak, message, signature, nonce.as_deref(), pcrs.as_deref()),
        Inspect::BootLog { file, pcrs } => boot_log::inspect(file, pcrs.as_deref()),
        Inspect::EkCertificate { file, roots } => certificate::inspect(file, roots),
        Inspect::Ima { file, pcrs } => ima::inspect(file, pcrs.as_deref()),
    };
    match inspected {
        Ok(inspected) => {
            output::line(json, &inspected.json, || inspected.text.clone());
            match inspected.verified {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(1),
            }
        }
        Err(error) => {
            eprintln!("touchstone: {:#}", anyhow::Error::from(error));
            ExitCode::from(2)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, InspectError> {
    std::fs::read(path).map_err(|source| InspectError::Read {
        path: path.to_owned(),
        source,
    })
}

fn unparsed(path: &Path, what: &'static str, why: impl ToString) -> InspectError {
    InspectError::Parse {
        path: path.to_owned(),
        what,
        why: why.to_string(),
    }
}
