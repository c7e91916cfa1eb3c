//! Signed tree heads and verifier keys: what is verified is what the signer would have written.

#![no_main]

use ed25519_dalek::SigningKey;
use touchstone_evidence::transparency::{Checkpoint, CheckpointSigner, VerifierKey};
use touchstone_evidence_fuzz::SECRET;

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    note(data) | verifier_key(data)
}

fn note(data: &[u8]) -> bool {
    let Ok(checkpoint) = Checkpoint::parse(data) else {
        return false;
    };
    let (origin, head) = (checkpoint.untrusted_origin(), checkpoint.untrusted_head());
    // Not every origin can be the name of a key.
    let Ok(signer) = CheckpointSigner::new(origin, SigningKey::from_bytes(&SECRET)) else {
        return true;
    };
    let written = signer.sign(&head);
    let text = std::str::from_utf8(data).unwrap();
    let (body, _) = written.rsplit_once("\n\n").unwrap();
    assert!(text.starts_with(body), "one head, two texts");
    let verified = Checkpoint::parse(written.as_bytes())
        .unwrap()
        .verify(signer.verifier_key())
        .unwrap();
    assert_eq!((verified.origin(), *verified.head()), (origin, head));
    let stranger = CheckpointSigner::new(origin, SigningKey::from_bytes(&[9; 32])).unwrap();
    assert!(checkpoint.verify(stranger.verifier_key()).is_err());
    if checkpoint.verify(signer.verifier_key()).is_ok() {
        // Ed25519 as it is verified here has one signature a message, so its line is in the note.
        let line = written.lines().last().unwrap();
        assert!(text.lines().any(|other| other == line));
    }
    true
}

fn verifier_key(data: &[u8]) -> bool {
    let key = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse().ok());
    let Some(key): Option<VerifierKey> = key else {
        return false;
    };
    assert_eq!(key.to_string().parse(), Ok(key));
    true
}
