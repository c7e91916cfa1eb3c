//! What kind of trouble an error is. One place decides from it how the program exits and whether the
//! daemon goes on.
//!
//! Invariant: nothing else in this crate sorts errors into those that pass and those that do not.

use std::error::Error as StdError;
use std::io;

use crate::keyprovider::{self, Refusal};
use crate::transit::{self, Refused};
use crate::{attest, client, enrol, private_file, run, state, status, tls, tpm};

/// Codes with which the attestor says that the identity of a TLS key has ended. Old keys are never taken
/// again, so no later round can do better.
const ENDED: [&str; 4] = [
    "host-retired",
    "host-removed",
    "host-replaced",
    "host-reenrolled",
];

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass: the attestor or the TPM does not answer, the disk is full, an operator has yet to act.
    Passing,
    /// The command line, or a file that it names.
    Usage,
    /// There is no identity, and no join token to get one with.
    NotEnrolled,
    /// The TPM has lost the attestation key, or has not got what enrolment takes.
    Tpm,
    /// The state folder is damaged, open to others, or not ours to write.
    State,
    /// The attestor takes this host's keys no more.
    Ended,
    /// What answers shows no certificate of the CA that the join token named.
    OtherCa,
}

impl Trouble {
    /// All of them, by exit code.
    pub const ALL: [Self; 7] = [
        Self::Passing,
        Self::Usage,
        Self::NotEnrolled,
        Self::Tpm,
        Self::State,
        Self::Ended,
        Self::OtherCa,
    ];

    /// The program's exit code: 1 to 7. 2 is also what the parser of the command line exits with.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passing => 1,
            Self::Usage => 2,
            Self::NotEnrolled => 3,
            Self::Tpm => 4,
            Self::State => 5,
            Self::Ended => 6,
            Self::OtherCa => 7,
        }
    }

    /// One line for help and documentation.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Passing => {
                "it may pass: attestor or TPM do not answer, the disk is full, an operator has yet to act"
            }
            Self::Usage => "the command line, or a file that it names",
            Self::NotEnrolled => "this host is not enrolled",
            Self::Tpm => "the TPM has lost the attestation key, or lacks what enrolment takes",
            Self::State => {
                "the state folder is damaged, open to others, or not the agent's to write"
            }
            Self::Ended => "the attestor takes this host's keys no more",
            Self::OtherCa => "what answers is of no CA that this host believes",
        }
    }

    /// Whether a daemon ends with it. Somebody in the middle goes away again, so another CA does not end it.
    #[must_use]
    pub fn ends_the_daemon(self) -> bool {
        !matches!(self, Self::Passing | Self::OtherCa)
    }
}

/// An error and its sources, without those that only say again what was said (as those of the TSS do).
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let link = error.to_string();
        if !text.ends_with(&link) {
            text = format!("{text}: {link}");
        }
        source = error.source();
    }
    text
}

/// Whether the daemon ends with `error`. A thread that is gone comes back with a new process only.
pub(crate) fn ends_the_daemon(error: &run::Error) -> bool {
    let gone = matches!(
        error,
        run::Error::Attest(attest::Error::Tpm(tpm::Error::Gone))
    );
    gone || Trouble::from(error).ends_the_daemon()
}

impl From<&run::Error> for Trouble {
    fn from(error: &run::Error) -> Self {
        match error {
            run::Error::State(error) => error.into(),
            run::Error::Enrol(error) => error.into(),
            run::Error::Attest(error) => error.into(),
        }
    }
}

impl From<&enrol::Error> for Trouble {
    fn from(error: &enrol::Error) -> Self {
        match error {
            enrol::Error::OtherServer { .. } => Self::Usage,
            // An operator may have let the TPM in by the next time.
            enrol::Error::Client(client::Error::Refused(_)) => Self::Passing,
            enrol::Error::State(error) => error.into(),
            enrol::Error::Tls(error) => error.into(),
            enrol::Error::Tpm(error) => error.into(),
            enrol::Error::Client(error) => error.into(),
        }
    }
}

impl From<&attest::Error> for Trouble {
    fn from(error: &attest::Error) -> Self {
        use attest::Error;
        match error {
            Error::NotEnrolled => Self::NotEnrolled,
            Error::Nonce(_)
            | Error::Quote(_)
            | Error::Evidence(_)
            | Error::Boot(_)
            | Error::Runtime(_)
            | Error::OtherBundle => Self::Passing,
            Error::Authority(_) => Self::Usage,
            Error::State(error) => error.into(),
            Error::Tls(error) => error.into(),
            Error::Tpm(error) => error.into(),
            Error::Client(error) => error.into(),
        }
    }
}

impl From<&Refusal> for Trouble {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Body
            | Refusal::Frame(_)
            | Refusal::Message(_)
            | Refusal::Annotation(_)
            | Refusal::Call(_)
            | Refusal::Wrap => Self::Usage,
            Refusal::Stranger(_)
            | Refusal::Busy(_)
            | Refusal::NotReady
            | Refusal::Slow { .. }
            | Refusal::Unsteady
            | Refusal::Pcrs(_)
            | Refusal::Lease(_)
            | Refusal::Payload(_)
            | Refusal::OtherLayer
            | Refusal::OtherDataKey => Self::Passing,
            Refusal::Round(error) => error.into(),
            Refusal::Kept(error) => error.into(),
        }
    }
}

impl From<&Refused> for Trouble {
    fn from(refused: &Refused) -> Self {
        match refused {
            Refused::Keys(refusal) => refusal.into(),
            Refused::Broke | Refused::Unwritable => Self::Passing,
            Refused::Route(_)
            | Refused::Method
            | Refused::TooLarge
            | Refused::Body(..)
            | Refused::Missing(_)
            | Refused::Unsupported(_)
            | Refused::KeyName(_)
            | Refused::OtherKey { .. }
            | Refused::KeyVersion { .. }
            | Refused::Secret(_) => Self::Usage,
        }
    }
}

/// How the program ends that asked a daemon for a secret.
#[must_use]
pub fn exit_code_of_transit(error: &transit::ask::Error) -> u8 {
    use transit::ask::Error;
    let trouble = match error {
        Error::Refused { exit_code, .. } => return *exit_code,
        Error::TooLarge(_) | Error::Empty | Error::NotText => Trouble::Usage,
        Error::Away { .. } | Error::Late { .. } | Error::BrokeOff { .. } | Error::Answer { .. } => {
            Trouble::Passing
        }
    };
    trouble.exit_code()
}

/// How the program ends that asked a daemon.
#[must_use]
pub fn exit_code(error: &keyprovider::ask::Error) -> u8 {
    use keyprovider::ask::Error;
    let trouble = match error {
        Error::Refused { exit_code, .. } => return *exit_code,
        Error::TooLarge => Trouble::Usage,
        Error::Away { .. } | Error::Late { .. } | Error::BrokeOff { .. } | Error::Answer { .. } => {
            Trouble::Passing
        }
    };
    trouble.exit_code()
}

impl From<&status::Error> for Trouble {
    fn from(error: &status::Error) -> Self {
        match error {
            status::Error::State(error) => error.into(),
            status::Error::Tls(error) => error.into(),
        }
    }
}

impl From<&state::Error> for Trouble {
    fn from(error: &state::Error) -> Self {
        match error {
            state::Error::Busy(_) => Self::Passing,
            state::Error::Folder { source, .. }
            | state::Error::File(private_file::Error::Write { source, .. }) => of_io(source),
            state::Error::File(_) | state::Error::Exposed { .. } | state::Error::Damaged { .. } => {
                Self::State
            }
        }
    }
}

/// A disk may have room again; that a folder belongs to somebody else does not pass.
fn of_io(error: &io::Error) -> Trouble {
    use io::ErrorKind::{FileTooLarge, Interrupted, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge | Interrupted => Trouble::Passing,
        _ => Trouble::State,
    }
}

impl From<&tls::Error> for Trouble {
    fn from(error: &tls::Error) -> Self {
        match error {
            tls::Error::Generate(_) => Self::Passing,
            tls::Error::Damaged(_) => Self::State,
        }
    }
}

impl From<&tpm::Error> for Trouble {
    fn from(error: &tpm::Error) -> Self {
        use tpm::Error;
        match error {
            Error::Tcti { .. } => Self::Usage,
            Error::AkLost(_)
            | Error::NoEndorsement { .. }
            | Error::NotACertificate { .. }
            | Error::OtherEndorsementKey { .. }
            | Error::OddEndorsementKey(_)
            | Error::NoBank => Self::Tpm,
            Error::Unreachable { .. }
            | Error::Disconnected { .. }
            | Error::Lockout { .. }
            | Error::Authorization { .. }
            | Error::Credential(_)
            | Error::Selection(_)
            | Error::Unsteady { .. }
            | Error::TagSize { .. }
            | Error::ReleaseKeyLost
            | Error::NotTheObject(_)
            | Error::OtherRelease(_)
            | Error::OtherPcrs(_)
            | Error::OtherBoot(_)
            | Error::LeaseOver(_)
            | Error::PcrsChanged { .. }
            | Error::SecretSize
            | Error::Refused { .. }
            | Error::Thread(_)
            | Error::Gone => Self::Passing,
        }
    }
}

impl From<&client::Error> for Trouble {
    fn from(error: &client::Error) -> Self {
        use client::Error;
        match error {
            Error::Server(_) | Error::Ca => Self::Usage,
            Error::Tls(_) => Self::State,
            Error::OtherCa { .. } => Self::OtherCa,
            Error::Refused(problem) if ENDED.contains(&problem.code.as_str()) => Self::Ended,
            Error::Refused(_)
            | Error::Setup(_)
            | Error::Request(_)
            | Error::Certificate { .. }
            | Error::Lost { .. }
            | Error::TooLarge(_)
            | Error::Answer { .. } => Self::Passing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_a_code_of_its_own() {
        let codes = Trouble::ALL.map(Trouble::exit_code);
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_source_that_repeats_is_said_once() {
        let error = anyhow::anyhow!("refused")
            .context("refused")
            .context("quote failed");
        assert_eq!(chain(error.as_ref()), "quote failed: refused");
    }

    #[test]
    fn a_full_disk_passes_and_a_folder_of_somebody_else_does_not() {
        let of = |kind: io::ErrorKind| {
            Trouble::from(&state::Error::File(private_file::Error::Write {
                path: "/s/identity.json".into(),
                source: kind.into(),
            }))
        };
        assert_eq!(of(io::ErrorKind::StorageFull), Trouble::Passing);
        assert_eq!(of(io::ErrorKind::PermissionDenied), Trouble::State);
    }

    #[test]
    fn a_refusal_ends_an_enrolled_host_and_not_one_that_asks_to_enrol() {
        for code in ENDED {
            let refused = || {
                client::Error::from(client::Problem {
                    status: 401,
                    code: code.to_owned(),
                    detail: String::new(),
                    retry_after: None,
                })
            };
            let attesting = Trouble::from(&attest::Error::from(refused()));
            assert!(attesting == Trouble::Ended && attesting.ends_the_daemon());
            let enrolling = Trouble::from(&enrol::Error::from(refused()));
            assert!(!enrolling.ends_the_daemon());
        }
    }
}
