//! Lists in parts: what a part proves, what it leaves open, and how a host may not go on.

use super::workshop::*;
use super::*;
use crate::digest::Sha256Digest;

/// A boot whose list does not fit into one message.
fn large(extension: Extension) -> Boot {
    let mut records: Vec<Vec<u8>> = (0..11_000)
        .map(|number| file(&format!("/usr/lib/x86_64-linux-gnu/lib{number:05}.so")))
        .collect();
    records.push(violation(b"/var/log/x\0"));
    let boot = Boot::made(Bank::Sha256, extension, &records);
    assert!(boot.list.len() > PART_MAX && boot.list.len() < 2 * PART_MAX);
    boot
}

fn part(list: &[u8], offset: usize, end: usize, more: bool) -> ImaPart<'_> {
    ImaPart {
        offset_bytes: offset as u64,
        bytes: &list[offset..end],
        more,
    }
}

/// The state after a part that leaves the rest for later.
fn unfinished(part: ImaPart<'_>, kept: Option<&ImaState>, quoted: &QuotedPcrs) -> ImaState {
    match part.verify(kept, quoted).unwrap() {
        Replay::Unfinished(state) => state,
        Replay::Proven(_) => panic!("proven too early"),
    }
}

fn proven(part: ImaPart<'_>, kept: Option<&ImaState>, quoted: &QuotedPcrs) -> ImaState {
    match part.verify(kept, quoted).unwrap() {
        Replay::Proven(replayed) => *replayed.state(),
        Replay::Unfinished(state) => panic!("not proven: {state:?}"),
    }
}

#[test]
fn the_part_that_reaches_the_quote_proves_all_before_it() {
    for extension in [Extension::TemplateHash, Extension::PaddedSha1] {
        let boot = large(extension);
        let quoted = boot.quoted();
        let cut = whole_entries(&boot.list[..PART_MAX]);
        assert!((PART_FULL..=PART_MAX).contains(&cut));
        let first = unfinished(part(&boot.list, 0, cut, true), None, &quoted);
        // Nothing is proven by it.
        assert_eq!(first.proven(), ImaState::before_boot(&quoted));
        assert_eq!(first.wanted_bytes(), cut as u64);

        let stored = serde_json::to_string(&first).unwrap();
        let first: ImaState = serde_json::from_str(&stored).unwrap();
        let rest = part(&boot.list, cut, boot.list.len(), false);
        let state = proven(rest, Some(&first), &quoted);
        assert_eq!(state, boot.replay().unwrap().1);
        assert_eq!((state.entries, state.violations), (11_002, 1));
        // The rest on its own, or after another beginning, does not lead there.
        let mut other = boot.list.clone();
        let last_letter = cut - 2;
        other[last_letter] ^= 1;
        let ends = ends(&boot.list[..cut]);
        let [.., before, _] = ends[..] else {
            panic!("the list has many entries")
        };
        let data = before + 38..cut;
        let hash = sha1(&other[data]);
        other[before + 4..before + 24].copy_from_slice(&hash);
        let misled = unfinished(part(&other, 0, cut, true), None, &quoted);
        assert_eq!(
            code(rest.verify(Some(&misled), &quoted)),
            "ima-replay-mismatch"
        );
        assert_eq!(code(rest.verify(None, &quoted)), "ima-offset-ahead");
    }
}

#[test]
fn a_part_goes_on_where_the_last_one_ended() {
    let boot = Boot::recorded();
    let quoted = boot.quoted();
    let (_, state) = boot.replay().unwrap();
    let ends = ends(&boot.list);
    let mut later = boot.pcrs.clone();
    later.insert(
        10,
        naive_pcr10(
            &[&boot.list[..], &file("/new")].concat(),
            Bank::Sha256,
            Extension::TemplateHash,
        ),
    );
    let later = QuotedPcrs::recorded(&later).unwrap();
    let longer = [&boot.list[..], &file("/new")].concat();
    let next = part(&longer, boot.list.len(), longer.len(), false);
    let after = proven(next, Some(&state), &later);
    assert_eq!(after.entries, state.entries + 1);

    let refusal = |part: ImaPart<'_>, kept: &ImaState| code(part.verify(Some(kept), &later));
    let ahead = part(&longer, longer.len(), longer.len(), false);
    assert_eq!(refusal(ahead, &state), "ima-offset-ahead");
    let behind = part(&longer, ends[3], longer.len(), false);
    assert_eq!(refusal(behind, &state), "ima-offset-behind");
    let whole_and_shorter = part(&boot.list, 0, ends[20], false);
    assert_eq!(refusal(whole_and_shorter, &state), "ima-list-shortened");
    let left_out = part(&longer, boot.list.len(), boot.list.len(), false);
    assert_eq!(refusal(left_out, &state), "ima-replay-mismatch");
    for (reset_count, restart_count) in [(1, 0), (0, 1)] {
        let other = ImaState {
            reset_count,
            restart_count,
            ..state
        };
        assert_eq!(refusal(next, &other), "ima-offset-other-boot");
        // From the beginning it is this boot's own.
        let whole = part(&longer, 0, longer.len(), false);
        assert_eq!(proven(whole, Some(&other), &later), after);
    }
    // A host that had no list before cannot begin in the middle of one.
    assert_eq!(code(next.verify(None, &later)), "ima-offset-ahead");
    // PCR 10 did not move: what comes along is not even looked at.
    let junk = ImaPart {
        offset_bytes: state.offset_bytes,
        bytes: b"junk",
        more: true,
    };
    assert_eq!(proven(junk, Some(&state), &quoted), state);
}

#[test]
fn no_host_puts_off_the_end_of_its_list() {
    let boot = large(Extension::TemplateHash);
    let quoted = boot.quoted();
    let too_large = part(&boot.list, 0, PART_MAX + 1, false);
    assert_eq!(code(too_large.verify(None, &quoted)), "ima-part-too-large");
    let ends = ends(&boot.list);
    let small = part(&boot.list, 0, ends[100], true);
    assert_eq!(code(small.verify(None, &quoted)), "ima-part-too-small");
    let ended = part(&boot.list, 0, ends[100], false);
    assert_eq!(code(ended.verify(None, &quoted)), "ima-replay-mismatch");

    // Full parts of small entries, one round after the other, and of large ones.
    let small = legacy(&[1; 20], "").repeat(PART_MAX / 55);
    let refusal = refused_after(&small, &quoted);
    assert_eq!(refusal.finding().code, "ima-list-too-many-entries");
    let large = file(&"a".repeat(4000)).repeat(PART_MAX / 4100);
    let refusal = refused_after(&large, &quoted);
    assert_eq!(refusal.finding().code, "ima-list-too-large");
}

/// Sends `bytes` after a boot aggregate again and again, and says why it is not taken any more.
fn refused_after(bytes: &[u8], quoted: &QuotedPcrs) -> ImaError {
    let joined: Vec<u8> = (0..10).flat_map(|pcr| [pcr; 32]).collect();
    let aggregate = d_ng("sha256", &sha256(&joined));
    let first = [&record("ima-ng", &[&aggregate, b"boot_aggregate\0"]), bytes].concat();
    let first = &first[..whole_entries(&first[..PART_MAX.min(first.len())])];
    let mut state = unfinished(part(first, 0, first.len(), true), None, quoted);
    loop {
        let next = ImaPart {
            offset_bytes: state.wanted_bytes(),
            bytes,
            more: true,
        };
        match next.verify(Some(&state), quoted) {
            Ok(Replay::Unfinished(next)) => state = next,
            Ok(Replay::Proven(_)) => panic!("proven"),
            Err(refusal) => return refusal,
        }
    }
}

#[test]
fn a_list_is_cut_between_entries() {
    let boot = Boot::recorded();
    let ends = ends(&boot.list);
    for length in 0..boot.list.len() {
        let whole = ends.iter().rfind(|end| **end <= length);
        let cut = whole_entries(&boot.list[..length]);
        assert_eq!(cut, whole.copied().unwrap_or_default());
    }
    assert_eq!(
        whole_entries(&[&boot.list[..ends[3]], &[7; 90]].concat()),
        ends[3]
    );
}

#[test]
fn what_a_recorded_list_extended_leads_to_its_pcr_10() {
    let boot = Boot::recorded();
    let list = ImaList::parse(&boot.list).unwrap();
    let value = list
        .untrusted_extends()
        .fold(Sha256Digest::ZERO, |value, digest| value.extend(&digest.0));
    assert_eq!(PcrDigest::Sha256(value), boot.pcrs[&10]);
}

#[test]
fn policy_sees_numbers_of_what_was_proven() {
    let records = [file("/a"), violation(b"/b\0")];
    let boot = Boot::made(Bank::Sha256, Extension::PaddedSha1, &records);
    let whole = part(&boot.list, 0, boot.list.len(), false);
    let Replay::Proven(replayed) = whole.verify(None, &boot.quoted()).unwrap() else {
        panic!("it is whole")
    };
    let runtime = ProvenRuntime::from(&replayed);
    assert_eq!((runtime.entries(), runtime.violations()), (3, 1));
    assert_eq!(runtime.boot_aggregate(), BootAggregate::PcrsTo9);
    assert_eq!(runtime.extension(), Extension::PaddedSha1);
}
