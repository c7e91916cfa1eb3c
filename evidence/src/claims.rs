//! Claims: what a round proved about a host. The only thing that policy sees.
//!
//! Invariant: each part is either proven, by a proof type, or carries the findings that say why it
//! is not. Nothing here can be made from unproven bytes.

use std::sync::Arc;

use crate::boot_log::ReplayedLog;
use crate::continuity::Continuity;
use crate::endorsement::{RootClass, TpmName};
use crate::finding::Finding;
use crate::host_id::HostId;
use crate::ima::ProvenRuntime;
use crate::location::VerifiedPlace;
use crate::pcr::PcrValues;
use crate::quote::VerifiedQuote;
use crate::release_key::VerifiedReleaseKey;

/// A part of the evidence after verification.
#[derive(Clone, Debug)]
pub enum Proof<T> {
    /// Positively verified.
    Proven(T),
    /// Verification failed, or there was nothing to verify; never empty.
    Refuted(Vec<Finding>),
}

impl<T> Proof<T> {
    /// The proven value.
    pub fn proven(&self) -> Option<&T> {
        match self {
            Self::Proven(value) => Some(value),
            Self::Refuted(_) => None,
        }
    }

    /// Why it is not proven; empty when it is.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Proven(_) => &[],
            Self::Refuted(findings) => findings,
        }
    }
}

/// What one authentic round proved.
#[derive(Clone, Debug)]
pub struct Claims {
    host: HostId,
    endorsement: RootClass,
    tpm: Option<TpmName>,
    quote: Proof<VerifiedQuote>,
    continuity: Proof<Continuity>,
    boot: Proof<Arc<ReplayedLog>>,
    runtime: Proof<ProvenRuntime>,
    place: Proof<VerifiedPlace>,
    release_key: Option<Proof<VerifiedReleaseKey>>,
}

impl Claims {
    /// Puts the proofs of one round together. `endorsement` is the class of the root that the EK
    /// chained to when this host was enrolled.
    #[must_use]
    pub fn new(
        host: HostId,
        endorsement: RootClass,
        quote: Proof<VerifiedQuote>,
        continuity: Proof<Continuity>,
        boot: Proof<Arc<ReplayedLog>>,
        runtime: Proof<ProvenRuntime>,
        place: Proof<VerifiedPlace>,
    ) -> Self {
        Self {
            host,
            endorsement,
            tpm: None,
            quote,
            continuity,
            boot,
            runtime,
            place,
            release_key: None,
        }
    }

    /// Says what the EK certificate named, when this host was enrolled.
    #[must_use]
    pub fn with_tpm(mut self, tpm: Option<TpmName>) -> Self {
        self.tpm = tpm;
        self
    }

    /// Adds the release key of a round that carried one.
    #[must_use]
    pub fn with_release_key(mut self, key: Option<Proof<VerifiedReleaseKey>>) -> Self {
        self.release_key = key;
        self
    }

    /// The TPM's manufacturer and model; `None` for a host of which they were not kept.
    #[must_use]
    pub fn tpm(&self) -> Option<&TpmName> {
        self.tpm.as_ref()
    }

    /// Who it is about.
    #[must_use]
    pub fn host(&self) -> &HostId {
        &self.host
    }

    /// Class of the TPM's root.
    #[must_use]
    pub fn endorsement(&self) -> RootClass {
        self.endorsement
    }

    /// The quote.
    #[must_use]
    pub fn quote(&self) -> &Proof<VerifiedQuote> {
        &self.quote
    }

    /// Whether the quote goes on where the last one ended.
    #[must_use]
    pub fn continuity(&self) -> &Proof<Continuity> {
        &self.continuity
    }

    /// The PCR values, if the quote is proven.
    #[must_use]
    pub fn pcrs(&self) -> Option<&PcrValues> {
        self.quote.proven().map(VerifiedQuote::values)
    }

    /// The boot log.
    #[must_use]
    pub fn boot(&self) -> &Proof<Arc<ReplayedLog>> {
        &self.boot
    }

    /// What the kernel measured since it began.
    #[must_use]
    pub fn runtime(&self) -> &Proof<ProvenRuntime> {
        &self.runtime
    }

    /// The place.
    #[must_use]
    pub fn place(&self) -> &Proof<VerifiedPlace> {
        &self.place
    }

    /// The release key; `None`: the round carried none. It is nothing that a host is judged by: only a release
    /// needs it.
    #[must_use]
    pub fn release_key(&self) -> Option<&Proof<VerifiedReleaseKey>> {
        self.release_key.as_ref()
    }
}
