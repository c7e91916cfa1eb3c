//! Each thing that can be done to an export, and the error that names it.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::super::{CheckpointError, CheckpointSigner};
use super::*;

const AWKWARD: &str = "{\"who\": \"\\u00e9\u{2028}😀\",\t\"a\":  1.0e0 }\n";

pub(super) fn signer(seed: u8) -> CheckpointSigner {
    CheckpointSigner::new("log.example/audit", SigningKey::from_bytes(&[seed; 32])).unwrap()
}

pub(super) fn bodies(count: usize) -> Vec<String> {
    let body = |index| format!("{{\"number\":{index},\"text\":{AWKWARD:?}}}");
    (0..count).map(body).collect()
}

pub(super) fn head(bodies: &[String]) -> TreeHead {
    let mut tree = Frontier::empty();
    for body in bodies {
        tree.append(LeafHash::of(body.as_bytes())).unwrap();
    }
    tree.head()
}

/// The lines of an honest export of these entries under this head.
fn lines(bodies: &[String], head: &TreeHead) -> Vec<String> {
    let signer = signer(1);
    let mut lines = vec![header_line(signer.verifier_key())];
    lines.extend(
        (0..)
            .zip(bodies)
            .map(|(index, body)| entry_line(index, body)),
    );
    lines.push(checkpoint_line(&signer.sign(head)));
    lines
}

fn honest(count: usize) -> Vec<String> {
    let bodies = bodies(count);
    lines(&bodies, &head(&bodies))
}

fn verify(lines: &[String]) -> Result<VerifiedExport, ExportError> {
    verify_knowing(lines, &[])
}

fn verify_knowing(lines: &[String], known: &[TreeHead]) -> Result<VerifiedExport, ExportError> {
    let trust = signer(1);
    let export = lines.join("\n") + "\n";
    verify_export(
        export.as_bytes(),
        ExportTrust::Key(trust.verifier_key()),
        known,
    )
}

#[test]
fn an_honest_export_gives_back_the_exact_bytes() {
    for count in [0, 1, 2, 7, 20] {
        let verified = verify(&honest(count)).unwrap();
        assert_eq!(verified.head(), &head(&bodies(count)));
        let read: Vec<&str> = verified.entries().iter().map(Entry::body).collect();
        assert_eq!(read, bodies(count));
        assert!(
            verified
                .entries()
                .iter()
                .map(Entry::index)
                .eq(0..count as u64)
        );
    }
    let one = [AWKWARD.to_owned()];
    let verified = verify(&lines(&one, &head(&one))).unwrap();
    assert_eq!(verified.entries()[0].body(), AWKWARD);
}

#[test]
fn an_edited_entry_is_named() {
    let mut lines = honest(9);
    lines[4] = lines[4].replace("1.0e0", "2.0e0");
    let error = verify(&lines).unwrap_err();
    assert!(matches!(error, ExportError::Edited { index: 3, line: 5 }));
    assert_eq!(error.to_string(), "entry 3 (line 5) was edited");
}

#[test]
fn an_entry_edited_with_its_leaf_hash_misses_the_root() {
    let mut lines = honest(9);
    lines[4] = entry_line(3, "{}");
    assert!(matches!(verify(&lines), Err(ExportError::Root { .. })));
}

#[test]
fn a_removed_entry_is_named() {
    let mut lines = honest(9);
    lines.remove(4);
    assert!(matches!(
        verify(&lines),
        Err(ExportError::Removed { index: 3, line: 5 })
    ));
}

#[test]
fn a_removed_entry_is_missed_after_renumbering_and_at_the_end() {
    let short = [&bodies(9)[..3], &bodies(9)[4..]].concat();
    for short in [&short[..], &bodies(8)] {
        assert!(matches!(
            verify(&lines(short, &head(&bodies(9)))),
            Err(ExportError::Missing {
                signed: 9,
                found: 8
            })
        ));
    }
}

#[test]
fn an_inserted_entry_is_named() {
    let mut lines = honest(9);
    lines.insert(4, entry_line(3, "{}"));
    assert!(matches!(
        verify(&lines),
        Err(ExportError::Inserted { index: 3, line: 6 })
    ));
    let mut lines = honest(9);
    lines.insert(4, lines[8].clone());
    assert!(matches!(
        verify(&lines),
        Err(ExportError::Inserted { index: 7, line: 5 })
    ));
}

#[test]
fn an_inserted_entry_is_surplus_after_renumbering_and_at_the_end() {
    let mut long = bodies(9);
    long.insert(3, "{}".to_owned());
    for long in [&long[..], &bodies(10)] {
        assert!(matches!(
            verify(&lines(long, &head(&bodies(9)))),
            Err(ExportError::Surplus {
                signed: 9,
                found: 10
            })
        ));
    }
}

#[test]
fn reordered_entries_are_named() {
    let mut moved = honest(9);
    moved.swap(3, 6);
    assert!(matches!(
        verify(&moved),
        Err(ExportError::Reordered {
            expected: 2,
            found: 5,
            line: 4
        })
    ));
    let mut renumbered = bodies(9);
    renumbered.swap(2, 5);
    assert!(matches!(
        verify(&lines(&renumbered, &head(&bodies(9)))),
        Err(ExportError::Root { .. })
    ));
}

#[test]
fn a_checkpoint_of_a_fork_misses_the_root() {
    let mut fork = bodies(9);
    fork[3] = "{}".to_owned();
    assert!(matches!(
        verify(&lines(&bodies(9), &head(&fork))),
        Err(ExportError::Root { .. })
    ));
}

#[test]
fn rewritten_history_is_caught_by_a_known_head() {
    let mut fork = bodies(9);
    fork[3] = "{}".to_owned();
    let forged = lines(&fork, &head(&fork));
    // Signed with the true key, the fork is consistent with itself …
    assert!(verify(&forged).is_ok());
    // … and a head from before the rewritten entry does not give it away; a later one does.
    assert!(verify_knowing(&forged, &[head(&bodies(3))]).is_ok());
    let known = head(&bodies(4));
    assert!(matches!(
        verify_knowing(&forged, &[head(&bodies(3)), known]),
        Err(ExportError::Forked { known: named }) if named == known
    ));
    assert!(verify_knowing(&honest(9), &[known, head(&bodies(9)), TreeHead::empty()]).is_ok());
}

#[test]
fn a_rolled_back_log_is_caught_by_a_known_head() {
    assert!(matches!(
        verify_knowing(&honest(9), &[head(&bodies(10))]),
        Err(ExportError::RolledBack {
            known: 10,
            found: 9
        })
    ));
}

#[test]
fn only_the_given_key_counts() {
    let other = signer(2);
    let export = honest(3).join("\n");
    assert!(matches!(
        verify_export(
            export.as_bytes(),
            ExportTrust::Key(other.verifier_key()),
            &[]
        ),
        Err(ExportError::Checkpoint(CheckpointError::Unsigned(_)))
    ));
    // A forger names his own key in the header: it helps only with who trusts the file.
    let mut forged = honest(3);
    forged[0] = header_line(other.verifier_key());
    *forged.last_mut().unwrap() = checkpoint_line(&other.sign(&head(&bodies(3))));
    assert!(matches!(
        verify(&forged),
        Err(ExportError::Checkpoint(CheckpointError::Unsigned(_)))
    ));
    let forged = forged.join("\n");
    let verified = verify_export(forged.as_bytes(), ExportTrust::KeyInFile, &[]).unwrap();
    assert_eq!(verified.signer(), other.verifier_key());
}

#[test]
fn a_forged_signature_is_refused() {
    let mut lines = honest(3);
    let last = lines.last_mut().unwrap();
    *last = last.replace("\\n3\\n", "\\n2\\n");
    assert!(matches!(
        verify(&lines),
        Err(ExportError::Checkpoint(CheckpointError::Forged(_)))
    ));
}

#[test]
fn a_cut_or_continued_file_is_refused() {
    let whole = honest(3);
    for length in 1..whole.len() {
        assert!(matches!(
            verify(&whole[..length]),
            Err(ExportError::Truncated { line }) if line == length
        ));
    }
    assert!(matches!(
        verify_export(b"", ExportTrust::KeyInFile, &[]),
        Err(ExportError::Empty)
    ));
    for extra in ["", "{}", &entry_line(3, "{}")] {
        let longer = [whole.clone(), vec![extra.to_owned()]].concat();
        assert!(matches!(
            verify(&longer),
            Err(ExportError::AfterCheckpoint { line: 6 })
        ));
    }
}

#[test]
fn malformed_lines_are_named() {
    let with = |line: usize, text: &str| {
        let mut lines = honest(3);
        lines[line - 1] = text.to_owned();
        verify(&lines).unwrap_err()
    };
    let malformed = |error: ExportError| match error {
        ExportError::Malformed { line, .. } => line,
        other => panic!("{other}"),
    };
    assert_eq!(malformed(with(1, "touchstone")), 1);
    assert_eq!(malformed(with(3, "")), 3);
    assert_eq!(malformed(with(3, r#"{"index":1,"index":1}"#)), 3);
    let more = entry_line(1, "{}").replacen('{', "{\"more\":1,", 1);
    assert_eq!(malformed(with(3, &more)), 3);
    assert!(matches!(
        with(1, r#"{"format":"touchstone-audit-v3","vkey":""}"#),
        ExportError::Format(_)
    ));
    assert!(matches!(
        with(3, &" ".repeat(MAX_LINE + 1)),
        ExportError::LongLine { line: 3 }
    ));
}

proptest! {
    #[test]
    fn any_body_survives(body in any::<String>()) {
        let one = [body];
        let verified = verify(&lines(&one, &head(&one))).unwrap();
        prop_assert_eq!(verified.entries()[0].body(), &one[0]);
    }

    #[test]
    fn no_changed_byte_changes_what_is_read(position: prop::sample::Index, byte: u8) {
        let trust = signer(1);
        let mut export = honest(4).join("\n").into_bytes();
        // The header's key is not used, so the header may differ.
        let start = export.iter().position(|byte| *byte == b'\n').unwrap();
        let at = start + position.index(export.len() - start);
        export[at] = byte;
        if let Ok(read) = verify_export(&export, ExportTrust::Key(trust.verifier_key()), &[]) {
            prop_assert_eq!(read, verify(&honest(4)).unwrap());
        }
    }
}
