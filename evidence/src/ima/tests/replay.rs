//! Lists that lead to the quoted PCR 10, whole and in rounds, and lists that were altered.

use proptest::prelude::*;

use super::workshop::*;
use super::*;

#[test]
fn a_recorded_boot_replays() {
    let boot = Boot::recorded();
    let (entries, state) = boot.replay().unwrap();
    assert_eq!((entries.len(), state.entries), (81, 81));
    assert_eq!(state.offset_bytes, boot.list.len() as u64);
    assert_eq!(state.extension, Some(Extension::TemplateHash));
    assert_eq!(state.boot_aggregate, Some(BootAggregate::PcrsTo9));
    assert_eq!(measured(&entries, 0).subject, Subject::BootAggregate);
    let init = measured(&entries, 1);
    assert_eq!(init.subject, Subject::File);
    assert_eq!(init.path.as_bytes(), b"/sbin/init");
    assert_eq!(init.algorithm.name(), "sha256");
    assert_eq!(init.digest[..4], [0x9d, 0x7d, 0x51, 0xe7]);
    assert_eq!(init.signature, None);
}

#[test]
fn every_template_and_both_ways_to_extend_replay() {
    let digest = d_ng("sha512", &[7; 64]);
    let buffer = b"root=/dev/vda quiet";
    let buffer_digest = d_ng("sha256", &sha256(buffer));
    let signature = [3, 2, 4, 1, 2, 3, 4, 0, 1, 9];
    let verity = [&b"verity:"[..], &d_ng("sha256", &[5; 32])].concat();
    let ima = [&b"ima:"[..], &d_ng("sha256", &[5; 32])].concat();
    let records = [
        legacy(&[1; 20], "/bin/old"),
        record("ima-sig", &[&digest, b"/bin/a\0", b""]),
        record("ima-sig", &[&digest, b"/bin/b\0", &signature]),
        record("ima-buf", &[&buffer_digest, b"kexec-cmdline\0", buffer]),
        record("ima-ngv2", &[&verity, b"/bin/c\0"]),
        record("ima-sigv2", &[&ima, b"/bin/d\0", &signature]),
        record(
            "ima-modsig",
            &[&digest, b"/lib/m.ko\0", b"", &digest, b"\x30\x01"],
        ),
        record(
            "evm-sig",
            &[
                &digest,
                b"/bin/e\0",
                &signature,
                b"",
                b"",
                b"",
                &[0; 4],
                &[0; 4],
                &[0; 2],
            ],
        ),
        violation(b"/var/log/x\0"),
    ];
    for (bank, extension, aggregate) in [
        (
            Bank::Sha256,
            Extension::TemplateHash,
            BootAggregate::PcrsTo9,
        ),
        (Bank::Sha256, Extension::PaddedSha1, BootAggregate::PcrsTo9),
        (Bank::Sha1, Extension::TemplateHash, BootAggregate::PcrsTo7),
    ] {
        let boot = Boot::made(bank, extension, &records);
        let (entries, state) = boot.replay().unwrap();
        assert_eq!(entries.len(), records.len() + 1);
        assert_eq!(state.extension, Some(extension));
        assert_eq!(state.boot_aggregate, Some(aggregate));
        let signatures: Vec<_> = entries[1..9]
            .iter()
            .map(|entry| matches!(entry, Entry::Measured(measured) if measured.signature.is_some()))
            .collect();
        let signed = [false, false, true, false, false, true, true, true];
        assert_eq!(signatures, signed);
        assert_eq!(measured(&entries, 4).subject, Subject::Buffer(buffer));
        assert_eq!(measured(&entries, 5).subject, Subject::Verity);
        assert_eq!(measured(&entries, 6).subject, Subject::File);
        assert!(matches!(entries[9], Entry::Violation { .. }));
    }
}

#[test]
fn a_list_read_later_runs_ahead_and_the_next_round_goes_on_from_there() {
    for extension in [Extension::TemplateHash, Extension::PaddedSha1] {
        let files: Vec<_> = ["/a", "/b", "/c", "/d", "/e"].map(file).into();
        let early = Boot::made(Bank::Sha256, extension, &files[..2]);
        let late = Boot::made(Bank::Sha256, extension, &files);
        let (entries, state) = early.replay_of(&late.list).unwrap();
        assert_eq!((entries.len(), state.entries), (3, 3));
        assert_eq!(state.offset_bytes, early.list.len() as u64);

        let stored = serde_json::to_string(&state).unwrap();
        let state: ImaState = serde_json::from_str(&stored).unwrap();
        let rest = &late.list[early.list.len()..];
        let list = ImaList::parse_from(state.offset_bytes, rest).unwrap();
        let replayed = ReplayedIma::verify(&list, &state, &late.quoted()).unwrap();
        assert_eq!(replayed.entries().count(), 3);
        assert_eq!(replayed.state(), &late.replay().unwrap().1);

        // Nothing new, with and without entries that run ahead.
        let list = ImaList::parse_from(state.offset_bytes, b"").unwrap();
        let same = ReplayedIma::verify(&list, &state, &early.quoted()).unwrap();
        assert_eq!((same.entries().count(), *same.state()), (0, state));
        // Something new, but left out.
        let omitted = ReplayedIma::verify(&list, &state, &late.quoted());
        assert_eq!(code(omitted), "ima-replay-mismatch");
        // A list is extended in one way throughout.
        let other = ImaState {
            extension: Some(match extension {
                Extension::TemplateHash => Extension::PaddedSha1,
                Extension::PaddedSha1 => Extension::TemplateHash,
            }),
            ..state
        };
        let list = ImaList::parse_from(state.offset_bytes, rest).unwrap();
        let mixed = ReplayedIma::verify(&list, &other, &late.quoted());
        assert_eq!(code(mixed), "ima-replay-mismatch");
    }
}

#[test]
fn an_offset_ahead_or_behind_or_of_another_boot_is_refused() {
    let boot = Boot::recorded();
    let (_, state) = boot.replay().unwrap();
    let ends = ends(&boot.list);
    let from = |at: usize, state: &ImaState, quoted: &QuotedPcrs| {
        let list = ImaList::parse_from(at as u64, &boot.list[at..]).unwrap();
        ReplayedIma::verify(&list, state, quoted).map(|_| ())
    };
    let quoted = boot.quoted();
    let begin = ImaState::before_boot(&quoted);
    // Ahead: entries are kept back. Behind: entries come again.
    assert_eq!(code(from(ends[3], &begin, &quoted)), "ima-offset-ahead");
    assert_eq!(code(from(ends[3], &state, &quoted)), "ima-offset-behind");
    assert_eq!(code(from(0, &state, &quoted)), "ima-offset-behind");
    for (reset_count, restart_count) in [(1, 0), (0, 1)] {
        let other = ImaState {
            reset_count,
            restart_count,
            ..state
        };
        let at = boot.list.len();
        assert_eq!(code(from(at, &other, &quoted)), "ima-offset-other-boot");
    }
    let other = ImaState {
        value: PcrDigest::zero(Bank::Sha1),
        ..begin
    };
    assert_eq!(code(from(0, &other, &quoted)), "ima-bank-mismatch");
    // The right offset claimed for other bytes: replay sees it.
    let list = ImaList::parse_from(0, &boot.list[ends[3]..]).unwrap();
    let shifted = ReplayedIma::verify(&list, &begin, &quoted);
    assert_eq!(code(shifted), "ima-replay-mismatch");
}

#[test]
fn a_list_shortened_reordered_or_changed_does_not_replay() {
    let boot = Boot::recorded();
    let ends = ends(&boot.list);
    let cut = |from: usize, to: usize| boot.list[ends[from]..ends[to]].to_vec();
    let (head, tail) = (&boot.list[..ends[4]], &boot.list[ends[6]..]);
    let shortened = &boot.list[..ends[79]];
    let removed = [head, tail].concat();
    let doubled = [head, &cut(4, 5), &cut(4, 6), tail].concat();
    let inserted = [head, &file("/bin/evil"), &cut(4, 6), tail].concat();
    let reordered = [head, &cut(5, 6), &cut(4, 5), tail].concat();
    for list in [
        shortened, &removed, &doubled, &inserted, &reordered, head, b"",
    ] {
        assert_eq!(boot.code_of(list), "ima-replay-mismatch");
    }
    // Another file in the place of one, with its right template hash.
    let replaced = [head, &file("/bin/evil"), &cut(5, 6), tail].concat();
    assert_eq!(boot.code_of(&replaced), "ima-replay-mismatch");
    // A violation in the place of a file, and a file in the place of a violation.
    let spoilt = [head, &violation(b"/x\0"), &cut(5, 6), tail].concat();
    assert_eq!(boot.code_of(&spoilt), "ima-replay-mismatch");
    let violated = Boot::made(Bank::Sha256, Extension::TemplateHash, &[violation(b"/x\0")]);
    let hidden = [&violated.list[..self::ends(&violated.list)[0]], &file("/x")].concat();
    assert_eq!(violated.code_of(&hidden), "ima-replay-mismatch");
    // Entries at the end run ahead, as far as anyone can tell: they are not proven.
    let extended = [&boot.list[..], &file("/bin/evil")].concat();
    assert_eq!(boot.replay_of(&extended), boot.replay());
}

proptest! {
    /// Each bit of a list without violations is covered: by a hash, or by a check of its own.
    #[test]
    fn one_flipped_bit_is_one_too_many(at in 0usize..9699, bit in 0u8..8) {
        let boot = Boot::recorded();
        let mut list = boot.list.clone();
        prop_assert_eq!(list.len(), 9699);
        list[at] ^= 1 << bit;
        prop_assert!(boot.replay_of(&list).is_err());
    }
}
