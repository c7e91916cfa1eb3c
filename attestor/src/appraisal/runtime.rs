//! The runtime list: proven by the quoted PCRs, from where the last round of the same boot left off.

use touchstone_evidence::claims::Proof;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::ima::{IMA_PCR, ImaPart, ImaState, ProvenRuntime, QuotedPcrs, Replay};
use touchstone_evidence::quote::VerifiedQuote;
use touchstone_evidence::wire::RuntimePart;

/// What a round says of the list, and what is kept for the next one.
pub(super) struct Runtime {
    pub(super) proof: Proof<ProvenRuntime>,
    pub(super) kept: Option<ImaState>,
}

/// Proves `part` onto what is `kept` of this host's list. Where it does not bear that out, what was proven
/// before stands, and what was not is forgotten.
pub(super) fn prove(
    part: Option<&RuntimePart>,
    kept: Option<&ImaState>,
    quote: &VerifiedQuote,
) -> Runtime {
    let refuted = |finding| Runtime {
        proof: Proof::Refuted(vec![finding]),
        kept: kept.copied().map(ImaState::proven),
    };
    let Some(part) = part else {
        return refuted(left_out(quote));
    };
    let part = ImaPart {
        offset_bytes: part.offset,
        bytes: &part.entries,
        more: part.more,
    };
    match QuotedPcrs::of(quote).and_then(|quoted| part.verify(kept, &quoted)) {
        Ok(Replay::Proven(replayed)) => Runtime {
            proof: Proof::Proven(ProvenRuntime::from(&replayed)),
            kept: Some(*replayed.state()),
        },
        Ok(Replay::Unfinished(state)) => Runtime {
            proof: Proof::Refuted(vec![unfinished(&state)]),
            kept: Some(state),
        },
        Err(error) => refuted(error.finding()),
    }
}

/// A kernel that extended PCR 10 has a list of what it extended.
fn left_out(quote: &VerifiedQuote) -> Finding {
    match quote.values().value(IMA_PCR) {
        Some(value) if *value != Sha256Digest::ZERO => Finding::new("ima-list-withheld")
            .about(format_args!("PCR {IMA_PCR}"))
            .expected(Sha256Digest::ZERO)
            .observed(value),
        _ => Finding::new("ima-list-absent"),
    }
}

fn unfinished(state: &ImaState) -> Finding {
    Finding::new("ima-list-unfinished")
        .observed(format_args!("{} bytes so far", state.wanted_bytes()))
}
