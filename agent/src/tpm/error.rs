//! What goes wrong between the agent and its TPM, and what to do about it.

use std::io;

use touchstone_evidence::sealed_release::NotTheObject;
use touchstone_evidence::tpm::reader::TpmFormatError;
use tss_esapi::Error as TssError;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind};

/// `TSS2_TCTI_RC_GENERAL_FAILURE`, `…_NO_CONNECTION` and `…_IO_ERROR` (`tss2_common.h`).
const CONNECTION: [u32; 3] = [0x000a_0001, 0x000a_0008, 0x000a_000a];

/// Why a call to the TPM gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of the TPM cannot be read.
    #[error(
        "`{tcti}` is not a TPM's address; write `device:/dev/tpmrm0`, `tabrmd` or `swtpm:host=127.0.0.1,port=2321`"
    )]
    Tcti {
        /// What was given.
        tcti: String,
    },

    /// Nothing answers there.
    #[error(
        "no TPM 2.0 answers at `{tcti}`; see that it is switched on in the firmware, that the device or daemon is there, and that this user may open it (group `tss`)"
    )]
    Unreachable {
        /// Where it was looked for.
        tcti: String,
        /// What the TSS said.
        source: TssError,
    },

    /// The connection broke in the middle of a command. The next call opens it again.
    #[error("the connection to the TPM broke during {during}; try again")]
    Disconnected {
        /// The TPM command.
        during: &'static str,
        /// What the TSS said.
        source: TssError,
    },

    /// `TPM_RC_LOCKOUT` (0x921).
    #[error(
        "the TPM is in dictionary-attack lockout and refuses {during} (0x921); wait for its recovery time, or run `tpm2_dictionarylockout --clear-lockout`; hosts that lose power without a TPM2_Shutdown get here"
    )]
    Lockout {
        /// The TPM command.
        during: &'static str,
    },

    /// A hierarchy or index that the agent uses with an empty authorization value has one.
    #[error(
        "{during} needs an authorization value that the agent does not have; clear it with `tpm2_changeauth` for the owner and endorsement hierarchies"
    )]
    Authorization {
        /// The TPM command.
        during: &'static str,
        /// What the TPM said.
        source: TssError,
    },

    /// There is no EK certificate at any index that we know.
    #[error(
        "the TPM holds no endorsement certificate at {indices}; ask its maker for one (some firmware fetches it), or enrol this host by its EK digest"
    )]
    NoEndorsement {
        /// The NV indices looked at.
        indices: String,
    },

    /// The certificate's index holds something else.
    #[error("NV index {index:#010x} holds no DER certificate")]
    NotACertificate {
        /// The NV index.
        index: u32,
    },

    /// The certificate is for another key.
    #[error(
        "the endorsement certificate at NV index {index:#010x} is for another key than the TPM derives; ask the TPM's maker for the right one"
    )]
    OtherEndorsementKey {
        /// The NV index.
        index: u32,
    },

    /// The EK is none that is known.
    #[error("the TPM derives an endorsement key that cannot be read")]
    OddEndorsementKey(#[source] TpmFormatError),

    /// The AK does not load: it is of another TPM, or this one was cleared since.
    #[error(
        "the TPM does not load the attestation key: it was made by another TPM or before a TPM2_Clear; have an operator run `touchstone host reenrol HOST`, then run `touchstone-agent enrol --again --join-token FILE`"
    )]
    AkLost(#[source] TssError),

    /// The credential is for another EK or AK.
    #[error(
        "the credential does not open with this EK and attestation key; ask for another challenge"
    )]
    Credential(#[source] TssError),

    /// The PCRs asked for are no selection.
    #[error(
        "{0:?} is no PCR selection: different indices from 0 to 23, at least one, are expected"
    )]
    Selection(Vec<u8>),

    /// The SHA-256 bank is off.
    #[error(
        "the TPM's SHA-256 PCR bank is not active; switch it on in the firmware set-up or with `tpm2_pcrallocate sha256:all`, and reboot"
    )]
    NoBank,

    /// PCRs or counters moved between the commands of every attempt.
    #[error(
        "PCRs or boot counters changed during each of {attempts} attempts to attest; try again when the host is quieter"
    )]
    Unsteady {
        /// Rounds begun.
        attempts: usize,
    },

    /// A location tag of a size that we do not store.
    #[error("a location tag has 1 to {max} bytes, not {size}", max = super::LOCATION_TAG_MAX)]
    TagSize {
        /// Bytes given.
        size: usize,
    },

    /// The TPM was reset since the round began: its release key is another one.
    #[error(
        "the TPM was reset since the round began, and its release key is another one; begin the round anew"
    )]
    ReleaseKeyLost,

    /// The sealed object would open in other ways than it should.
    #[error(
        "what came as a sealed release is none for this boot and this lease; it was not opened: see that the attestor is the right one, and ask again"
    )]
    NotTheObject(#[source] NotTheObject),

    /// It is for another release key: of another TPM, or of an earlier boot of this one.
    #[error("the release is sealed to another TPM or to an earlier boot; ask for another release")]
    OtherRelease(#[source] TssError),

    /// The PCRs that it is sealed to have other values.
    #[error(
        "the boot PCRs are not those that the attestor saw when it made the release; ask for another release"
    )]
    OtherPcrs(#[source] TssError),

    /// A TPM Restart came between.
    #[error("the TPM was restarted since the release was made; ask for another release")]
    OtherBoot(#[source] TssError),

    /// The clock has reached the lease's end.
    #[error("the lease of the release is over; ask for another release")]
    LeaseOver(#[source] TssError),

    /// PCRs were extended between policy and use, in every attempt.
    #[error(
        "PCRs were extended during each of {attempts} attempts to open the release; try again when the host is quieter"
    )]
    PcrsChanged {
        /// Attempts made.
        attempts: usize,
    },

    /// The secret has another size than that of a release.
    #[error("the sealed release holds no secret of 32 bytes; ask for another release")]
    SecretSize,

    /// Any other answer of the TPM or the TSS.
    #[error("{during} failed")]
    Refused {
        /// The TPM command, or the step before it.
        during: &'static str,
        /// What the TPM or TSS said.
        source: TssError,
    },

    /// The operating system would not start the thread.
    #[error("the thread that owns the TPM did not start")]
    Thread(#[source] io::Error),

    /// The thread has ended.
    #[error("the thread that owned the TPM has ended; restart the agent")]
    Gone,
}

impl Error {
    /// Stable code, of what stands between a sealed release and its secret; `None` for all else.
    #[must_use]
    pub fn release_code(&self) -> Option<&'static str> {
        Some(match self {
            Self::ReleaseKeyLost => "release-key-lost",
            Self::NotTheObject(_) | Self::SecretSize => "release-object-mismatch",
            Self::OtherRelease(_) => "release-foreign",
            Self::OtherPcrs(_) => "release-pcrs-differ",
            Self::OtherBoot(_) => "release-restarted",
            Self::LeaseOver(_) => "release-lease-over",
            Self::PcrsChanged { .. } => "release-pcrs-unsteady",
            _ => return None,
        })
    }
}

/// Names the command that an error of tss-esapi came from, and sorts the error.
pub(super) fn during(during: &'static str) -> impl FnOnce(TssError) -> Error {
    move |source| match kind(source) {
        _ if is_connection(source) => Error::Disconnected { during, source },
        Some(Tss2ResponseCodeKind::Lockout) => Error::Lockout { during },
        Some(Tss2ResponseCodeKind::BadAuth | Tss2ResponseCodeKind::AuthFail) => {
            Error::Authorization { during, source }
        }
        _ => Error::Refused { during, source },
    }
}

/// As [`during`], but what the TPM says of the objects themselves becomes `refusal`.
pub(super) fn during_or(
    command: &'static str,
    refusal: impl FnOnce(TssError) -> Error,
) -> impl FnOnce(TssError) -> Error {
    move |source| match during(command)(source) {
        // Format-one codes blame a handle, session or parameter (TPM 2.0 Part 2 §6.6.3).
        Error::Refused { source, .. } if is_format_one(source) => refusal(source),
        other => other,
    }
}

fn is_connection(error: TssError) -> bool {
    let TssError::Tss2Error(code) = error else {
        return false;
    };
    CONNECTION
        .into_iter()
        .any(|known| code == Tss2ResponseCode::from(known))
}

fn is_format_one(error: TssError) -> bool {
    matches!(
        error,
        TssError::Tss2Error(Tss2ResponseCode::FormatOne(_)) | TssError::WrapperError(_)
    )
}

/// What the TPM or the TSS blames.
pub(super) fn kind(error: TssError) -> Option<Tss2ResponseCodeKind> {
    match error {
        TssError::Tss2Error(code) => code.kind(),
        TssError::WrapperError(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(code: u32) -> Error {
        during("TPM2_Quote")(TssError::Tss2Error(code.into()))
    }

    #[test]
    fn codes_become_what_to_do() {
        assert!(matches!(sorted(0x921), Error::Lockout { .. }));
        assert!(matches!(sorted(0x9a2), Error::Authorization { .. }));
        assert!(matches!(sorted(0x98e), Error::Authorization { .. }));
        assert!(matches!(sorted(0xa_000a), Error::Disconnected { .. }));
        // TPM_RC_INTEGRITY of parameter 1 is about the object only where the caller says so.
        assert!(matches!(sorted(0x1df), Error::Refused { .. }));
        let lost = during_or("TPM2_Load", Error::AkLost)(TssError::Tss2Error(0x1df.into()));
        assert!(matches!(lost, Error::AkLost(_)));
        let busy = during_or("TPM2_Load", Error::AkLost)(TssError::Tss2Error(0x902.into()));
        assert!(
            matches!(busy, Error::Refused { .. }),
            "out of slots is not a lost key"
        );
    }
}
