//! Why a call gets no key, in the words that whoever pulls an image reads.

use std::time::Duration;

use touchstone_evidence::annotation::AnnotationError;
use touchstone_evidence::keyprovider::MessageError;
use touchstone_evidence::keyprovider::grpc::{FrameError, Status};
use touchstone_evidence::sealed_release::PcrNotQuoted;
use touchstone_evidence::sealed_release::payload::NotThePayload;

use super::lease::NotTheLease;
use crate::trouble::{Trouble, chain};
use crate::{attest, client, state, tpm};

/// What every text begins with.
const OURS: &str = "touchstone: ";
/// A round that was answered before brings no key.
const ANSWERED: &str = "release-key-absent";

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Calls that came before.
    Turn,
    /// The attestor's answer.
    Attestor,
    /// The TPM.
    Tpm,
}

/// Why a call gets no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// More than any message has, or half of one.
    #[error("the message is too large, or broke off")]
    Body,
    /// It is not one gRPC message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is none of the protocol.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// What is to be unwrapped is none of ours.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// Nothing of that name is done here.
    #[error("there is no call `{0}` here")]
    Call(String),
    /// Encrypting.
    #[error(
        "this key provider only decrypts; encrypt where images are built, with `touchstone keyprovider` and a \
         publisher's credential"
    )]
    Wrap,
    /// Neither root nor the agent's user.
    #[error("user {0} may not ask for keys; ask as root")]
    Stranger(u32),
    /// Too many ask.
    #[error("{0} calls wait for their keys already; ask for less at once, or again later")]
    Busy(usize),
    /// There is no identity yet, or no TPM.
    #[error(
        "this host cannot ask for keys yet: it is not enrolled, or its TPM does not answer; `touchstone-agent check` \
         says which"
    )]
    NotReady,
    /// It took longer than it may.
    #[error("{}", slow(.waiting, .patience))]
    Slow {
        /// What was waited for.
        waiting: Waiting,
        /// How long a call may take.
        patience: Duration,
    },
    /// The runtime list grows faster than it is sent.
    #[error("the kernel measures more than this host could send; try again when it is quieter")]
    Unsteady,
    /// The round of evidence, or the attestor's refusal.
    #[error(transparent)]
    Round(#[from] attest::Error),
    /// The challenge asks for too little.
    #[error("the attestor asks for another set of PCRs than releases rest on; bring it up to date")]
    Pcrs(#[from] PcrNotQuoted),
    /// The lease is not what was asked for.
    #[error(transparent)]
    Lease(#[from] NotTheLease),
    /// The payload is not the lease's.
    #[error(
        "the attestor's answer does not hang together, so nothing was decrypted; see that it is the right one and of \
         this version"
    )]
    Payload(#[from] NotThePayload),
    /// The key is another layer's.
    #[error("the attestor released the key of another layer; encrypt the image again")]
    OtherLayer,
    /// The data key is another one.
    #[error(
        "the attestor released another data key than was granted, so nothing was done with it; see that it is the right one"
    )]
    OtherDataKey,
    /// What was released could not be written down, so that nobody could take it away again.
    #[error("the lease cannot be kept, so the key is not given out")]
    Kept(#[source] state::Error),
}

impl From<client::Error> for Refusal {
    fn from(error: client::Error) -> Self {
        attest::Error::from(error).into()
    }
}

impl From<tpm::Error> for Refusal {
    fn from(error: tpm::Error) -> Self {
        attest::Error::from(error).into()
    }
}

impl Refusal {
    /// How the call ends: unavailable where trying again may help.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Body | Self::Frame(_) | Self::Message(_) | Self::Annotation(_) => {
                Status::InvalidArgument
            }
            Self::Call(_) | Self::Wrap => Status::Unimplemented,
            Self::Busy(_) => Status::ResourceExhausted,
            Self::Round(attest::Error::Client(error)) if is_final(error) => {
                Status::PermissionDenied
            }
            Self::Round(error) if !passes(error) => Status::PermissionDenied,
            Self::NotReady
            | Self::Slow { .. }
            | Self::Unsteady
            | Self::Round(_)
            | Self::Kept(_) => Status::Unavailable,
            Self::Stranger(_)
            | Self::Pcrs(_)
            | Self::Lease(_)
            | Self::Payload(_)
            | Self::OtherLayer
            | Self::OtherDataKey => Status::PermissionDenied,
        }
    }

    /// Whether a round of its own may bring what this one did not: the state moved under it.
    pub(super) fn wants_another_round(&self) -> bool {
        use tpm::Error as Tpm;
        match self {
            Self::Round(attest::Error::Tpm(
                Tpm::PcrsChanged { .. }
                | Tpm::OtherPcrs(_)
                | Tpm::OtherBoot(_)
                | Tpm::OtherRelease(_)
                | Tpm::ReleaseKeyLost,
            )) => true,
            // It may have been answered, and is answered once.
            Self::Round(attest::Error::Client(error)) if error.broke_off() => true,
            Self::Round(attest::Error::Client(error)) if error.is_problem(ANSWERED) => true,
            Self::Round(error) => error.wants_new_challenge(),
            _ => false,
        }
    }

    /// All of it on one line, with whose words they are. Of the attestor's refusals, its own words: they say why, and
    /// what to do.
    #[must_use]
    pub fn text(&self) -> String {
        let text = match self {
            Self::Round(attest::Error::Client(client::Error::Refused(problem)))
                if !problem.code.is_empty() =>
            {
                let detail = problem.detail.strip_prefix(OURS).unwrap_or(&problem.detail);
                format!("{detail} (`{}`)", problem.code)
            }
            other => chain(other),
        };
        format!("{OURS}{text}").replace(char::is_control, " ")
    }
}

/// Somebody has to act first: an operator, or who looks into a certificate that lies.
fn is_final(error: &client::Error) -> bool {
    match error {
        client::Error::Refused(problem) => {
            let passes = matches!(problem.status, 408 | 425 | 429) || problem.code.is_empty();
            (400..500).contains(&problem.status) && !passes
        }
        client::Error::Certificate { .. } => true,
        _ => false,
    }
}

fn passes(error: &attest::Error) -> bool {
    let lies = matches!(error, attest::Error::Tpm(tpm::Error::NotTheObject(_)));
    !lies && Trouble::from(error) == Trouble::Passing
}

fn slow(waiting: &Waiting, patience: &Duration) -> String {
    let (what, next) = match waiting {
        Waiting::Turn => ("other calls", "ask for less at once"),
        Waiting::Attestor => (
            "the attestor",
            "see that it is well and that this host reaches it (`touchstone-agent check`)",
        ),
        Waiting::Tpm => (
            "the TPM",
            "see what else uses it (`touchstone-agent check`)",
        ),
    };
    format!(
        "no key within {} s, because {what} took too long; {next}, then try again",
        patience.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Problem;

    fn refused(status: u16, code: &str) -> Refusal {
        let problem = Problem {
            status,
            code: code.to_owned(),
            detail: "touchstone: host de-1 is\ncontraindicated".to_owned(),
            retry_after: None,
        };
        client::Error::from(problem).into()
    }

    #[test]
    fn a_refusal_is_final_and_what_may_pass_is_not() {
        for (status, code, expected) in [
            (403, "host-not-eligible", Status::PermissionDenied),
            (401, "host-retired", Status::PermissionDenied),
            (429, "rounds-limited", Status::Unavailable),
            (503, "not-ready", Status::Unavailable),
            (404, "", Status::Unavailable),
        ] {
            assert_eq!(refused(status, code).status(), expected, "{status} {code}");
        }
        assert_eq!(Refusal::Busy(1).status(), Status::ResourceExhausted);
        assert_eq!(Refusal::Wrap.status(), Status::Unimplemented);
        let gone = Refusal::from(tpm::Error::Gone);
        assert_eq!(gone.status(), Status::Unavailable);
        assert_eq!(
            Refusal::from(tpm::Error::NoBank).status(),
            Status::PermissionDenied
        );
    }

    #[test]
    fn only_what_moved_is_asked_for_again() {
        assert!(refused(409, "round-overtaken").wants_another_round());
        assert!(refused(409, "challenge-expired").wants_another_round());
        assert!(Refusal::from(tpm::Error::PcrsChanged { attempts: 1 }).wants_another_round());
        assert!(!refused(403, "host-not-eligible").wants_another_round());
        assert!(!Refusal::OtherLayer.wants_another_round());
    }

    #[test]
    fn the_text_says_whose_words_they_are_on_one_line() {
        let text = refused(403, "x\ny").text();
        assert_eq!(text, "touchstone: host de-1 is contraindicated (`x y`)");
    }
}
