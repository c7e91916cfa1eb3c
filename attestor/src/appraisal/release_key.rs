//! The release key of a round, where the round carries one.

use touchstone_evidence::claims::Proof;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::quote::{Authentic, VerifiedQuote};
use touchstone_evidence::release_key::{ReleaseKeyError, VerifiedReleaseKey};
use touchstone_evidence::wire::{Evidence, ReleaseKey};

/// `None`: the round carries no release key.
pub(super) fn prove(
    evidence: &Evidence,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    quote: &Proof<VerifiedQuote>,
) -> Option<Proof<VerifiedReleaseKey>> {
    let sent = evidence.release_key.as_ref()?;
    Some(match quote {
        Proof::Proven(quote) => match prove_sent(sent, key, qualifying, quote) {
            Ok(key) => Proof::Proven(key),
            Err(error) => Proof::Refuted(vec![error.finding()]),
        },
        Proof::Refuted(findings) => Proof::Refuted(findings.clone()),
    })
}

fn prove_sent(
    sent: &ReleaseKey,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    quote: &VerifiedQuote,
) -> Result<VerifiedReleaseKey, ReleaseKeyError> {
    let statement = Authentic::verify(&sent.certification, key, qualifying)
        .map_err(ReleaseKeyError::NotAuthentic)?;
    VerifiedReleaseKey::verify(&sent.public, &statement, quote)
}
