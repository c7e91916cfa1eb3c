//! `touchstone inspect`: looks into a piece of evidence without a server, as the attestor would.
//!
//! Exit code 1: it does not verify or replay; 2: it cannot be parsed.

mod boot_log;
mod certificate;
mod ima;
mod paper;
mod pcr_file;
mod quote;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use touchstone_evidence::endorsement::RootClass;

use super::output;
use crate::clock;

const EXIT_CODES: &str = "\
Exit codes: 0 it verifies or replays, 1 it does not, 2 it cannot be read or parsed.";

const BOOT_LOG_HELP: &str = "\
PCR values are JSON, {\"pcrs\":{\"sha256\":{\"0\":\"HEX\"}}}, or what tpm2_pcrread prints.

Examples:
  # What booted here, and is it what the TPM holds?
  tpm2_pcrread > pcrs
  touchstone inspect boot-log /sys/kernel/security/tpm0/binary_bios_measurements --pcrs pcrs

  # Why does this host not match any more? What changed since the boot that was good?
  touchstone inspect boot-log today.bin --against good.bin

Exit codes: 0 it replays (and equals the other log), 1 it does not, 2 it cannot be read or parsed.";

const IMA_HELP: &str = "\
PCR values are JSON, {\"pcrs\":{\"sha256\":{\"10\":\"HEX\"}}}, or what tpm2_pcrread prints; PCRs 0 to 10 are needed.

Example:
  tpm2_pcrread > pcrs
  touchstone inspect ima /sys/kernel/security/ima/binary_runtime_measurements --pcrs pcrs

Exit codes: 0 it replays, 1 it does not, 2 it cannot be read or parsed.";

const QUOTE_HELP: &str = "\
Example, of a quote made by tpm2-tools:
  tpm2_createak -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -f tss
  tpm2_quote -c ak.ctx -l sha256:0,1,2,3,4,5,6,7 -q 0011aabb -m quote.msg -s quote.sig
  tpm2_pcrread sha256:0,1,2,3,4,5,6,7 > pcrs
  touchstone inspect quote --ak ak.pub --message quote.msg --signature quote.sig \\
      --nonce 0011aabb --pcrs pcrs

Exit codes: 0 every check passes, 1 one does not, 2 something cannot be read or parsed.";

const CERTIFICATE_HELP: &str = "\
Example, of the RSA-2048 certificate that a TPM brings along:
  tpm2_nvread 0x1c00002 > ek.der
  touchstone inspect ek-certificate ek.der --roots vendor-roots.pem --roots vendor-intermediates.pem

Exit codes: 0 it leads to a root given, 1 it does not, 2 it cannot be read or parsed.";

/// `touchstone inspect …`
#[derive(Subcommand, Debug)]
#[command(after_help = EXIT_CODES)]
pub enum Inspect {
    /// Show a boot as its firmware measured it: replayed onto PCR values, or beside another boot
    #[command(after_help = BOOT_LOG_HELP)]
    BootLog {
        /// `binary_bios_measurements`
        file: PathBuf,
        /// PCR values to replay onto
        #[arg(long)]
        pcrs: Option<PathBuf>,
        /// Another log: show what this one measured otherwise
        #[arg(long, value_name = "OTHER")]
        against: Option<PathBuf>,
    },
    /// Look at an endorsement certificate, and follow it to a root
    #[command(after_help = CERTIFICATE_HELP)]
    EkCertificate {
        /// The certificate, DER or PEM
        file: PathBuf,
        /// PEM bundle of roots and intermediates; may be given several times
        #[arg(long, required = true)]
        roots: Vec<PathBuf>,
        /// What you take the roots for, as at `touchstone endorsement import`
        #[arg(long)]
        class: Option<Class>,
        /// Judge validity at this time (RFC 3339, e.g. 2027-01-15T08:00:00Z) and not now
        #[arg(long, value_parser = seconds)]
        at: Option<i64>,
    },
    /// Verify a quote: who signed it, over which PCRs, when in the life of the TPM
    #[command(after_help = QUOTE_HELP)]
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
        /// PCR values that it must be over: JSON or what `tpm2_pcrread` prints
        #[arg(long)]
        pcrs: Option<PathBuf>,
    },
    /// Read the kernel's runtime measurement list, and replay it onto PCR 10
    #[command(after_help = IMA_HELP)]
    Ima {
        /// `binary_runtime_measurements`
        file: PathBuf,
        /// PCR values to replay onto
        #[arg(long)]
        pcrs: Option<PathBuf>,
    },
}

/// What roots vouch for, as an operator says.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Class {
    /// TPMs in hardware
    Manufacturer,
    /// Virtual TPMs of a cloud provider
    Cloud,
    /// Software TPMs
    Simulator,
}

impl From<Class> for RootClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Manufacturer => Self::Manufacturer,
            Class::Cloud => Self::Cloud,
            Class::Simulator => Self::Simulator,
        }
    }
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
    #[error("`{0}` is not hexadecimal; give the nonce as `tpm2_quote -q` takes it")]
    Nonce(String),
}

/// Runs one inspection and prints what it found.
pub(super) fn run(inspect: &Inspect, json: bool) -> anyhow::Result<ExitCode> {
    let inspected = match inspect {
        Inspect::Quote {
            ak,
            message,
            signature,
            nonce,
            pcrs,
        } => quote::inspect(ak, message, signature, nonce.as_deref(), pcrs.as_deref()),
        Inspect::BootLog {
            file,
            pcrs,
            against,
        } => boot_log::inspect(file, pcrs.as_deref(), against.as_deref()),
        Inspect::EkCertificate {
            file,
            roots,
            class,
            at,
        } => {
            let at = at.unwrap_or_else(clock::now);
            certificate::inspect(file, roots, class.map(RootClass::from), at)
        }
        Inspect::Ima { file, pcrs } => ima::inspect(file, pcrs.as_deref()),
    };
    match inspected {
        Ok(inspected) => {
            output::line(json, &inspected.json, || inspected.text.clone())?;
            Ok(match inspected.verified {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(1),
            })
        }
        Err(error) => {
            eprintln!("touchstone: {:#}", anyhow::Error::from(error));
            Ok(ExitCode::from(2))
        }
    }
}

/// Unix time of an RFC 3339 moment.
fn seconds(text: &str) -> Result<i64, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339).map(OffsetDateTime::unix_timestamp)
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
