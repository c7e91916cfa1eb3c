//! One event of a recorded boot removed, added, moved or altered (attacks L1): each lie is refused
//! under its own code, or the event no longer proves what it did.

use std::collections::BTreeMap;
use std::ops::Range;

use super::*;

/// Where each event of the recorded log lies, the Spec ID left out. SHA-256 is its only bank.
fn spans(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut at = 65;
    while at < bytes.len() {
        let size = u32::from_le_bytes(bytes[at + 46..at + 50].try_into().unwrap());
        let end = at + 50 + usize::try_from(size).unwrap();
        spans.push(at..end);
        at = end;
    }
    spans
}

/// What comes of a log where the TPM holds what the recorded boot extended: codes of findings, each
/// with the PCRs that it names.
fn refusal(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::<String, Vec<u8>>::new();
    let log = BootLog::parse(bytes).unwrap();
    let good = BootLog::parse(&recorded()).unwrap();
    let [good, mine] = [&good, &log].map(|log| log.replay(Bank::Sha256).unwrap());
    for pcr in BOOT_PCRS {
        if good.get(&pcr) != mine.get(&pcr) {
            let code = "boot-log-replay-mismatch".to_owned();
            found.entry(code).or_default().push(pcr);
        }
    }
    for breach in log.disorder(Bank::Sha256) {
        let code = breach.finding().code;
        found.entry(code).or_default().push(breach.pcr());
    }
    found
}

#[test]
fn an_event_removed_added_or_moved_does_not_replay() {
    let bytes = recorded();
    assert!(refusal(&bytes).is_empty());
    let mismatch = |parts: &[&[u8]]| refusal(&parts.concat()).remove("boot-log-replay-mismatch");
    let digest = |span: &Range<usize>| bytes[span.start + 14..span.start + 46].to_vec();
    let spans = spans(&bytes);
    let (mut moved, mut same) = (0, 0);
    for (at, span) in spans.iter().enumerate() {
        let pcr = bytes[span.start];
        let (before, event, after) = (
            &bytes[..span.start],
            &bytes[span.clone()],
            &bytes[span.end..],
        );
        assert_eq!(mismatch(&[before, after]), Some(vec![pcr]), "removed {at}");
        let added = mismatch(&[before, event, event, after]);
        assert_eq!(added, Some(vec![pcr]), "doubled {at}");
        let Some(next) = spans.get(at + 1) else {
            continue;
        };
        let swapped = mismatch(&[before, &bytes[next.clone()], event, &bytes[next.end..]]);
        if bytes[next.start] == pcr && digest(span) != digest(next) {
            assert_eq!(swapped, Some(vec![pcr]), "moved {at}");
            moved += 1;
        } else {
            // Between two PCRs the order of events is not proven, and nothing rests on it.
            assert_eq!(swapped, None);
            same += 1;
        }
    }
    let count = spans.len();
    eprintln!("{count} events removed and doubled, {moved} moved, {same} moved to no effect");
}

#[test]
fn a_changed_digest_does_not_replay() {
    let bytes = recorded();
    for span in spans(&bytes) {
        let mut changed = bytes.clone();
        changed[span.start + 20] ^= 1;
        let found = refusal(&changed);
        assert_eq!(found["boot-log-replay-mismatch"], [bytes[span.start]]);
    }
}

#[test]
fn changed_data_is_refused_or_no_longer_proven() {
    let bytes = recorded();
    let (mut refused, mut unproven) = (BTreeMap::<String, usize>::new(), 0);
    for (at, span) in spans(&bytes).into_iter().enumerate() {
        let data = span.start + 50..span.end;
        // The last byte before a terminating NUL, or of zeros the last.
        let zeros = bytes[data.clone()].iter().rev();
        let zeros = zeros.take_while(|byte| **byte == 0).count() % data.len();
        let mut changed = bytes.clone();
        changed[span.end - 1 - zeros] ^= 1;
        let found = refusal(&changed);
        let event = &BootLog::parse(&changed).unwrap().events[at];
        assert_eq!(event.proven_content(Bank::Sha256), None, "{event:?}");
        match found.into_iter().next() {
            Some((code, pcrs)) => {
                assert_eq!(pcrs, [bytes[span.start]]);
                *refused.entry(code).or_default() += 1;
            }
            None => unproven += 1,
        }
    }
    eprintln!("data changed: refused {refused:?}, unproven {unproven}");
    // The five variables of the Secure Boot policy; eight separators.
    let expected = [
        ("boot-log-data-mismatch", 5),
        ("boot-log-separator-invalid", 8),
    ];
    let expected = expected.map(|(code, count)| (code.to_owned(), count));
    assert_eq!(refused, BTreeMap::from(expected));
}

#[test]
fn a_changed_type_is_refused_or_no_longer_proven() {
    let bytes = recorded();
    let whole = BootLog::parse(&bytes).unwrap();
    let mut closed = Vec::new();
    let mut codes = BTreeMap::<String, usize>::new();
    for (event, span) in whole.events().iter().zip(spans(&bytes)) {
        let (pcr, kind) = (event.pcr, event.untrusted_kind);
        let of = |kind: u32| {
            let mut changed = bytes.clone();
            changed[span.start + 4..span.start + 8].copy_from_slice(&kind.to_le_bytes());
            changed
        };
        // Never extended, it says.
        let found = refusal(&of(kind::NO_ACTION));
        assert_eq!(found["boot-log-replay-mismatch"], [pcr]);
        if pcr < 8 && kind != kind::SEPARATOR {
            let found = refusal(&of(kind::SEPARATOR));
            assert_eq!(found["boot-log-separator-invalid"], [pcr]);
            assert_eq!(found["boot-log-separator-doubled"], [pcr]);
        }
        let found = refusal(&of(0x7777));
        if kind == kind::SEPARATOR {
            closed.push(pcr);
            assert_eq!(found["boot-log-separator-relabelled"], [pcr]);
            assert_eq!(found["boot-log-separator-missing"], [pcr]);
        } else if closed.contains(&pcr) {
            assert_eq!(found["boot-log-event-after-separator"], [pcr]);
        } else {
            assert!(found.is_empty(), "{found:?}");
        }
        for code in found.into_keys() {
            *codes.entry(code).or_default() += 1;
        }
        // What is left of the event is its data, at most.
        let relabelled = BootLog::parse(&of(0x7777)).unwrap();
        let relabelled = &relabelled.events[event.number - 1];
        let content = relabelled.proven_content(Bank::Sha256);
        assert!(matches!(content, None | Some(Content::Data(_))));
    }
    eprintln!("type changed to an unknown one: {codes:?}");
}

#[test]
fn what_policy_rests_on_fails_closed() {
    let bytes = recorded();
    let whole = BootLog::parse(&bytes).unwrap();
    let spans = spans(&bytes);
    let at = |wanted: fn(&Event) -> bool| whole.events.iter().position(wanted).unwrap();

    let secure_boot = at(|event| event.pcr == 7);
    let mut hidden = bytes.clone();
    hidden[spans[secure_boot].start + 4] = 2;
    let log = BootLog::parse(&hidden).unwrap();
    let policy = SecureBootPolicy::of(&log.events, Bank::Sha256);
    assert_eq!(policy.secure_boot, None);

    // A relabelled or altered command line is not lost from sight.
    let line = at(|event| matches!(event.proven_text(), Some(("kernel_cmdline", _))));
    for offset in [4, 50, spans[line].len() - 2] {
        let mut hidden = bytes.clone();
        hidden[spans[line].start + offset] ^= 1;
        let log = BootLog::parse(&hidden).unwrap();
        let lines = command_line::find(&log.events, Bank::Sha256);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].source(), CommandLineSource::Unknown);
        assert_eq!(lines[0].text(), None);
    }
}
