//! What agent and attestor say to each other: what is read is written back to the same meaning.

#![no_main]

use serde::{Serialize, de::DeserializeOwned};
use touchstone_evidence::wire::{
    Activation, Challenge, Enrolled, EnrolmentChallenge, EnrolmentRequest, Evidence, RoundAnswer,
    SealedRelease, SignedAttest,
};

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    comes_back::<Evidence>(data)
        | comes_back::<EnrolmentRequest>(data)
        | comes_back::<EnrolmentChallenge>(data)
        | comes_back::<Activation>(data)
        | comes_back::<Enrolled>(data)
        | comes_back::<Challenge>(data)
        | comes_back::<RoundAnswer>(data)
        | comes_back::<SealedRelease>(data)
        | comes_back::<SignedAttest>(data)
}

fn comes_back<T: Serialize + DeserializeOwned>(data: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(data) else {
        return false;
    };
    let written = serde_json::to_vec(&value).unwrap();
    let again: T = serde_json::from_slice(&written).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    true
}
