//! Each break of the chain from key to key, and what a thief of an old key can and cannot do.

use serde_json::json;

use super::super::super::{
    CheckpointSigner, checkpoint_line, entry_line, handover_line, header_line,
};
use super::super::tests::{bodies, head, signer};
use super::super::{ExportTrust, VerifiedExport, verify_export};
use super::*;

/// The body of an entry that exchanges one key for another.
fn exchanges(old: &CheckpointSigner, new: &CheckpointSigner) -> String {
    json!({
        "kind": KIND,
        "checkpoint_key": new.verifier_key().to_string(),
        "replaced": old.verifier_key().to_string(),
    })
    .to_string()
}

/// Entry bodies of a log whose key is exchanged, after three entries, for each of `keys` after the first.
fn bodies_by(keys: &[u8]) -> Vec<String> {
    let mut log = bodies(3);
    for pair in keys.windows(2) {
        log.push(exchanges(&signer(pair[0]), &signer(pair[1])));
        log.extend(bodies(3));
    }
    log
}

/// An honest export of such a log. Exchanges are entries 3, 7, 11 …; lines 5, 10, 15 … are their handovers.
fn log(keys: &[u8]) -> Vec<String> {
    let bodies = bodies_by(keys);
    let last = signer(*keys.last().unwrap());
    let mut lines = vec![header_line(last.verifier_key())];
    let mut pairs = keys.windows(2);
    for (index, body) in (0..).zip(&bodies) {
        lines.push(entry_line(index, body));
        if exchange(body).is_some() {
            let pair = pairs.next().unwrap();
            let head = head(&bodies[..=usize::try_from(index).unwrap()]);
            lines.push(handover_line(
                &signer(pair[0]).hand_over(&head, &signer(pair[1])),
            ));
        }
    }
    lines.push(checkpoint_line(&last.sign(&head(&bodies))));
    lines
}

fn verify(lines: &[String], seed: u8) -> Result<VerifiedExport, ExportError> {
    let key = signer(seed);
    let trust = ExportTrust::Key(key.verifier_key());
    verify_export(lines.join("\n").as_bytes(), trust, &[])
}

/// The exchange, from 1, and what is wrong with it.
fn broken(lines: &[String], seed: u8) -> (usize, HandoverError) {
    match verify(lines, seed).unwrap_err() {
        ExportError::Handover {
            exchange, source, ..
        } => (exchange, source),
        other => panic!("{other}"),
    }
}

/// The export with another handover in a line, counted from 0.
fn with_note(line: usize, note: &str) -> Vec<String> {
    let mut lines = log(&[1, 2, 3]);
    assert!(lines[line].starts_with("{\"handover\""));
    lines[line] = handover_line(note);
    lines
}

#[test]
fn every_key_that_the_log_had_verifies_all_of_it() {
    let lines = log(&[1, 2, 3]);
    let whole = head(&bodies_by(&[1, 2, 3]));
    for seed in [1, 2, 3] {
        let verified = verify(&lines, seed).unwrap();
        assert_eq!(verified.head(), &whole);
        assert_eq!(verified.signer(), signer(3).verifier_key());
        let keys = verified.keys().iter();
        let keys: Vec<_> = keys.map(|held| (held.key().clone(), held.from())).collect();
        let expected = [(1, 0), (2, 4), (3, 8)];
        let expected = expected.map(|(seed, from)| (signer(seed).verifier_key().clone(), from));
        assert_eq!(keys, expected);
    }
    let in_file = verify_export(lines.join("\n").as_bytes(), ExportTrust::KeyInFile, &[]);
    assert_eq!(in_file.unwrap().signer(), signer(3).verifier_key());
    // A head from before an exchange is met by the log after it.
    let key = signer(1);
    let kept = [head(&bodies(3)), head(&bodies_by(&[1, 2]))];
    let trust = ExportTrust::Key(key.verifier_key());
    assert!(verify_export(lines.join("\n").as_bytes(), trust, &kept).is_ok());
}

#[test]
fn a_key_that_the_log_never_had_verifies_none_of_it() {
    let error = verify(&log(&[1, 2]), 9).unwrap_err();
    assert!(matches!(&error, ExportError::StrangeKey { first, .. }
        if *first == signer(1).verifier_key().to_string()));
    assert!(error.to_string().contains("never was the key of this log"));
}

#[test]
fn an_old_key_signs_nothing_after_its_handover() {
    for (keys, seed) in [(&[1, 2][..], 1), (&[1, 2, 3], 1), (&[1, 2, 3], 2)] {
        let mut lines = log(keys);
        let note = signer(seed).sign(&head(&bodies_by(keys)));
        *lines.last_mut().unwrap() = checkpoint_line(&note);
        for trusted in keys {
            assert!(matches!(
                verify(&lines, *trusted),
                Err(ExportError::ExchangedKey { signer: named, .. })
                    if named == signer(seed).verifier_key().to_string()
            ));
        }
    }
    // Both at once are the new key's word: nothing is lost by the other line.
    let mut lines = log(&[1, 2]);
    let both = signer(1).hand_over(&head(&bodies_by(&[1, 2])), &signer(2));
    *lines.last_mut().unwrap() = checkpoint_line(&both);
    assert!(verify(&lines, 1).is_ok());
}

#[test]
fn a_log_that_hides_its_exchange_does_not_verify() {
    let continued = |lines: &mut Vec<String>| {
        let note = signer(1).sign(&head(&bodies_by(&[1, 2])));
        *lines.last_mut().unwrap() = checkpoint_line(&note);
    };
    // The thief of the old key goes on with the log, without the handover …
    let mut lines = log(&[1, 2]);
    continued(&mut lines);
    lines.remove(5);
    assert_eq!(broken(&lines, 1), (1, HandoverError::Missing));
    // … or as if exchanges were not known yet.
    lines[0] = lines[0].replace("audit-v2", "audit-v1");
    assert_eq!(broken(&lines, 1), (1, HandoverError::Missing));
}

#[test]
fn a_handover_needs_both_signatures_and_names_the_exchange() {
    let head = head(&bodies_by(&[1, 2, 3])[..8]);
    let unsigned =
        |seed: u8| CheckpointError::Unsigned(signer(seed).verifier_key().name().to_owned());
    let by_old_alone = with_note(10, &signer(2).sign(&head));
    let by_new_alone = with_note(10, &signer(3).sign(&head));
    let by_a_thief = with_note(10, &signer(9).hand_over(&head, &signer(3)));
    let to_a_thief = with_note(10, &signer(2).hand_over(&head, &signer(9)));
    for seed in [1, 2, 3] {
        let old = (2, HandoverError::Old(unsigned(2)));
        let new = (2, HandoverError::New(unsigned(3)));
        assert_eq!(broken(&by_old_alone, seed), new);
        assert_eq!(broken(&by_new_alone, seed), old);
        assert_eq!(broken(&by_a_thief, seed), old);
        assert_eq!(broken(&to_a_thief, seed), new);
    }
    let said = verify(&by_old_alone, 1).unwrap_err().to_string();
    assert_eq!(said, "exchange 2 of the log's key (entry 7) does not hold");
    let (_, malformed) = broken(&with_note(5, "no note"), 1);
    assert_eq!(malformed, HandoverError::Note(CheckpointError::NotANote));
    let altered = signer(2)
        .hand_over(&head, &signer(3))
        .replace("\n8\n", "\n9\n");
    let (exchange, altered) = broken(&with_note(10, &altered), 1);
    assert!(matches!(
        altered,
        HandoverError::Old(CheckpointError::Forged(_))
    ));
    assert_eq!(exchange, 2);
}

#[test]
fn a_handover_is_the_head_whose_last_entry_is_the_exchange() {
    let bodies = bodies_by(&[1, 2, 3]);
    for other in [&bodies[..3], &bodies[..5], &[]] {
        let note = signer(1).hand_over(&head(other), &signer(2));
        let (exchange, error) = broken(&with_note(5, &note), 1);
        assert_eq!(exchange, 1);
        assert!(matches!(error, HandoverError::Head { signed, computed }
            if signed == head(other) && computed == head(&bodies[..4])));
    }
    // An entry before it was altered with its leaf hash: both keys signed other entries.
    let mut lines = log(&[1, 2, 3]);
    lines[2] = entry_line(1, "{}");
    assert!(matches!(broken(&lines, 1), (1, HandoverError::Head { .. })));
}

#[test]
fn the_keys_follow_each_other_without_a_gap_and_none_comes_back() {
    // The second exchange says that it replaces another key than the first one named.
    let mut bodies = bodies_by(&[1, 2, 3]);
    bodies[7] = exchanges(&signer(4), &signer(3));
    let mut lines = log(&[1, 2, 3]);
    lines[9] = entry_line(7, &bodies[7]);
    lines[10] = handover_line(&signer(4).hand_over(&head(&bodies[..8]), &signer(3)));
    *lines.last_mut().unwrap() = checkpoint_line(&signer(3).sign(&head(&bodies)));
    let (exchange, error) = broken(&lines, 1);
    assert_eq!(exchange, 2);
    assert!(matches!(error, HandoverError::OtherKey { .. }), "{error}");

    let back = signer(1).verifier_key().to_string();
    assert_eq!(
        broken(&log(&[1, 2, 1]), 2),
        (2, HandoverError::Reused(back.clone()))
    );
    assert_eq!(broken(&log(&[1, 1]), 1), (1, HandoverError::Reused(back)));
}

#[test]
fn an_exchange_that_names_no_key_does_not_verify() {
    for body in [
        json!({ "kind": KIND }),
        json!({ "kind": KIND, "checkpoint_key": "x", "replaced": "y" }),
        json!({ "kind": KIND, "checkpoint_key": signer(2).verifier_key().to_string() }),
    ] {
        let mut lines = log(&[1, 2]);
        lines[4] = entry_line(3, &body.to_string());
        assert_eq!(broken(&lines, 1), (1, HandoverError::Entry));
    }
    // The word alone, in whatever another entry says, exchanges nothing.
    let said = json!({ "kind": "refused", "reason": KIND, "replaced": "x" }).to_string();
    assert!(exchange(&said).is_none() && exchange(KIND).is_none());
}

#[test]
fn another_log_is_no_successor() {
    let other = CheckpointSigner::new("other", ed25519_dalek::SigningKey::from_bytes(&[2; 32]));
    let other = other.unwrap();
    let mut bodies = bodies_by(&[1, 2]);
    bodies[3] = exchanges(&signer(1), &other);
    let mut lines = log(&[1, 2]);
    lines[4] = entry_line(3, &bodies[3]);
    lines[5] = handover_line(&signer(1).hand_over(&head(&bodies[..4]), &other));
    let (_, error) = broken(&lines, 1);
    assert!(
        matches!(error, HandoverError::New(CheckpointError::Origin { .. })),
        "{error}"
    );
}

#[test]
fn a_handover_at_another_place_is_no_handover() {
    let stray = |lines: &[String]| match verify(lines, 1).unwrap_err() {
        ExportError::StrayHandover { line } => line,
        other => panic!("{other}"),
    };
    let honest = log(&[1, 2]);
    let mut doubled = honest.clone();
    doubled.insert(6, honest[5].clone());
    assert_eq!(stray(&doubled), 7);
    let mut early = honest.clone();
    early.swap(4, 5);
    assert_eq!(stray(&early), 5);
    let mut late = honest.clone();
    late.swap(5, 6);
    assert_eq!(broken(&late, 1), (1, HandoverError::Missing));
    // The old format has none at all.
    let mut old = honest;
    old[0] = old[0].replace("audit-v2", "audit-v1");
    assert!(matches!(
        verify(&old, 1),
        Err(ExportError::Malformed { line: 6, .. })
    ));
}

#[test]
fn an_export_of_the_old_format_verifies() {
    let mut lines = log(&[1]);
    lines[0] = lines[0].replace("audit-v2", "audit-v1");
    assert_eq!(verify(&lines, 1).unwrap().keys().len(), 1);
}

#[test]
fn more_exchanges_than_are_followed_are_refused() {
    let mut lines = log(&[1, 2]);
    let note = lines[5].clone();
    lines.splice(5..5, std::iter::repeat_n(note, MAX_HANDOVERS));
    assert!(matches!(verify(&lines, 1), Err(ExportError::ManyHandovers)));
}

#[test]
fn a_second_chain_by_a_thief_of_the_old_key_is_told_by_the_new_key_or_a_head() {
    // The thief names a key of its own, in a log that is honest up to there.
    let forged = log(&[1, 8]);
    // By the old key alone it cannot be told from the true one …
    assert!(verify(&forged, 1).is_ok() && verify(&log(&[1, 2]), 1).is_ok());
    // … by the new key it can, and by any head of the true log from the exchange on.
    assert!(matches!(
        verify(&forged, 2),
        Err(ExportError::StrangeKey { .. })
    ));
    let (key, kept) = (signer(1), head(&bodies_by(&[1, 2])[..4]));
    let met = verify_export(
        forged.join("\n").as_bytes(),
        ExportTrust::Key(key.verifier_key()),
        &[kept],
    );
    assert!(matches!(met, Err(ExportError::Forked { .. })));
}
