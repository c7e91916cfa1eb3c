//! The lies of a host with a real TPM, told over the wire to a verifier that speaks the protocol.
//!
//! Each is a row of `tests/attacks.toml`; what comes back must be the code that stands there. A group of
//! lies shares a scene: machines whose TPM and keys are in our hands, and whose names the verifier knows.
//! Invariant: nothing here looks into the verifier; what an operator would have to do for a lie, tests do.

mod applicant;
mod cast;
mod catalogue;
mod endorsements;
mod index;
mod liar;
mod logs;
mod places;
mod quotes;
mod runtime_lists;

use std::collections::BTreeMap;

use touchstone_agent::{attest, client, enrol, state, tls, tpm};

use crate::profile::Profile;
use crate::runtime_list::{self, RuntimeList};
use crate::swtpm::{self, RunningTpm};

pub use applicant::Applicant;
pub use cast::{Cast, Part, RUNTIME, Role};
pub use catalogue::{Attack, CatalogueError, catalogue};
pub use endorsements::Enrolling;
pub use liar::{Liar, Said, code, codes};

/// What became of each lie that was told: id → code.
pub type Told = BTreeMap<&'static str, String>;

/// What came of groups of lies.
#[derive(Debug, Default)]
pub struct Answers {
    /// What became of each.
    pub told: Told,
    /// What the honest round of [`RUNTIME`] said, where lies about runtime lists were left out for it.
    pub runtime_unjudged: Option<String>,
}

/// Why a lie could not be told. What the verifier makes of a lie is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The liar's own TPM.
    #[error(transparent)]
    Tpm(#[from] tpm::Error),
    /// A simulated TPM cannot be run.
    #[error(transparent)]
    Swtpm(#[from] swtpm::Error),
    /// A runtime list cannot be read.
    #[error(transparent)]
    ReadList(#[from] touchstone_agent::runtime_list::Error),
    /// A runtime list cannot be kept.
    #[error(transparent)]
    RuntimeList(#[from] runtime_list::Error),
    /// The connection cannot be set up, or a challenge was not to be had.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The liar's TLS key.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The liar's state folder.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The honest enrolment before the lies was refused.
    #[error("`{host}` does not get enrolled")]
    Enrol {
        /// Who.
        host: String,
        /// Why.
        source: enrol::Error,
    },
    /// The honest round before the lies was refused.
    #[error("the honest round of `{host}` is not accepted")]
    Honest {
        /// Who.
        host: String,
        /// Why.
        source: attest::Error,
    },
    /// An honest round was not judged well, so that no lie would show.
    #[error(
        "the honest round of `{host}` is `{tier}`, not affirming: {findings}; a lie would not show"
    )]
    NotAffirming {
        /// Who.
        host: String,
        /// What the verifier said.
        tier: String,
        /// Why.
        findings: String,
    },
    /// Policy does not demand the runtime of the host that lies about it, so that no lie would show.
    #[error("the honest round of `{RUNTIME}` says {0}: its runtime is not judged")]
    RuntimeUnjudged(String),
    /// The liar's TPM does not let its owner change an index.
    #[error("the liar's TPM refuses a change of its NV indices")]
    Index(#[source] tss_esapi::Error),
    /// What should have been accepted between two lies was not.
    #[error("an honest round between the lies is refused with `{0}`")]
    Refused(String),
    /// A connection of our own cannot be set up.
    #[error("cannot set up the connection")]
    Http(#[from] reqwest::Error),
    /// A message cannot be written.
    #[error("cannot write the message")]
    Message(#[from] serde_json::Error),
    /// A file of the cast.
    #[error("`{}` cannot be used", path.display())]
    File {
        /// Where it is.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was recorded is not as it should be.
    #[error("the scene is not set: {0}")]
    Scene(&'static str),
}

/// What calls here give.
pub type Result<T> = std::result::Result<T, Error>;

/// A machine under power whose boot can be repeated.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Its TPM.
    pub tpm: &'a RunningTpm,
    /// What it boots.
    pub profile: &'static Profile,
    /// What its kernel measures from then on.
    pub runtime_list: &'a RuntimeList,
}

impl Machine<'_> {
    /// A new boot of the same logs.
    ///
    /// # Errors
    /// [`Error::Swtpm`] or [`Error::RuntimeList`].
    pub fn reboot(&self) -> Result<()> {
        self.reboot_to(self.profile.runtime_list)
    }

    /// A new boot after which the kernel measures the entries of another list.
    ///
    /// # Errors
    /// As [`Machine::reboot`].
    pub fn reboot_to(&self, runtime_list: &[u8]) -> Result<()> {
        self.tpm.reboot()?;
        self.measure(runtime_list)
    }

    /// What the recorded machine measured, into a TPM that has just started.
    fn measure(&self, runtime_list: &[u8]) -> Result<()> {
        let events = self.profile.events();
        let events = events.map_err(|_| Error::Scene("a recorded log does not parse"))?;
        self.tpm.replay(&events)?;
        Ok(self.runtime_list.begin(self.tpm, runtime_list)?)
    }
}

/// Two enrolled hosts of one maker, both healthy and both carrying the tag of their place.
#[derive(Clone, Copy, Debug)]
pub struct Enrolled<'a> {
    /// Who lies.
    pub liar: &'a Liar,
    /// The liar's machine.
    pub machine: Machine<'a>,
    /// A healthy host, whose words are borrowed.
    pub other: &'a Liar,
}

/// A group of lies: their ids, in the order of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Q: quotes, nonces, selections, order.
    Quotes,
    /// L: boot logs.
    Logs,
    /// G: location tags.
    Places,
    /// E, and what of Q is about keys: enrolment.
    Endorsements,
    /// L: runtime lists. They show only where policy demands `runtime` of the liar and refuses violations.
    RuntimeLists,
}

impl Group {
    /// All of them. Places come last of the enrolled host's: its TPM carries a false tag afterwards.
    pub const ALL: [Self; 5] = [
        Self::Quotes,
        Self::Logs,
        Self::Places,
        Self::Endorsements,
        Self::RuntimeLists,
    ];

    /// The ids of its lies.
    #[must_use]
    pub fn ids(self) -> &'static [&'static str] {
        match self {
            Self::Quotes => quotes::TOLD,
            Self::Logs => logs::TOLD,
            Self::Places => places::TOLD,
            Self::Endorsements => endorsements::TOLD,
            Self::RuntimeLists => runtime_lists::TOLD,
        }
    }
}

impl Enrolled<'_> {
    /// Tells the lies of one group; those about enrolment are [`Enrolling::tell`]'s.
    ///
    /// # Errors
    /// Why a lie could not be told.
    pub async fn tell(&self, group: Group) -> Result<Told> {
        match group {
            Group::Quotes => quotes::tell(self).await,
            Group::Logs => logs::tell(self).await,
            Group::Places => places::tell(self).await,
            Group::Endorsements => Ok(Told::new()),
            Group::RuntimeLists => runtime_lists::tell(self).await,
        }
    }
}
