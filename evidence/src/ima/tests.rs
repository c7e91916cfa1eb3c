//! Lists of our own boots, lists made here, and what must not replay.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use proptest::prelude::*;

use super::*;
use crate::finding::Finding;

mod corpus;
mod part;

/// A list with the PCRs that explain it.
struct Boot {
    list: Vec<u8>,
    pcrs: BTreeMap<u8, PcrDigest>,
}

impl Boot {
    fn recorded() -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles/shim_sb/");
        let list = std::fs::read(format!("{folder}ima.bin")).unwrap();
        let json = std::fs::read(format!("{folder}pcrs.json")).unwrap();
        Self {
            list,
            pcrs: recorded_pcrs(&json, "sha256"),
        }
    }

    /// A boot with a proper boot aggregate and then `records`, PCR 10 after all of them.
    fn made(bank: Bank, extension: Extension, records: &[Vec<u8>]) -> Self {
        let value = |pcr: u8| match bank {
            Bank::Sha1 => PcrDigest::Sha1([pcr; 20]),
            Bank::Sha256 => PcrDigest::Sha256(crate::digest::Sha256Digest([pcr; 32])),
        };
        let mut pcrs: BTreeMap<u8, PcrDigest> = (0..10).map(|pcr| (pcr, value(pcr))).collect();
        let joined: Vec<u8> = (0..10)
            .flat_map(|pcr| value(pcr).as_bytes().to_vec())
            .collect();
        let aggregate = match bank {
            Bank::Sha1 => d_ng("sha1", &sha1(&joined[..160])),
            Bank::Sha256 => d_ng("sha256", &sha256(&joined)),
        };
        let first = record("ima-ng", &[&aggregate, b"boot_aggregate\0"]);
        let list = [&[first], records].concat().concat();
        pcrs.insert(10, naive_pcr10(&list, bank, extension));
        Self { list, pcrs }
    }

    fn quoted(&self) -> QuotedPcrs {
        QuotedPcrs::recorded(&self.pcrs).unwrap()
    }

    fn replay(&self) -> Result<(Vec<Entry<'_>>, ImaState), ImaError> {
        self.replay_of(&self.list)
    }

    /// Replays another list onto this boot's PCRs.
    fn replay_of<'a>(&self, list: &'a [u8]) -> Result<(Vec<Entry<'a>>, ImaState), ImaError> {
        let quoted = self.quoted();
        let list = ImaList::parse(list)?;
        let replayed = ReplayedIma::verify(&list, &ImaState::before_boot(&quoted), &quoted)?;
        Ok((replayed.entries().collect(), *replayed.state()))
    }

    fn code_of(&self, list: &[u8]) -> String {
        code(self.replay_of(list))
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, ImaError>) -> String {
    let Finding { code, .. } = result.unwrap_err().finding();
    code
}

/// The values of one bank of a `pcrs.json`.
fn recorded_pcrs(json: &[u8], bank: &str) -> BTreeMap<u8, PcrDigest> {
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    let values = json["pcrs"][bank].as_object().unwrap();
    values
        .iter()
        .map(|(pcr, value)| {
            let value = format!("{bank}:{}", value.as_str().unwrap());
            (pcr.parse().unwrap(), value.parse().unwrap())
        })
        .collect()
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes)
        .as_ref()
        .try_into()
        .unwrap()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

fn d_ng(algorithm: &str, digest: &[u8]) -> Vec<u8> {
    [algorithm.as_bytes(), b":\0", digest].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// A record with its right template hash.
fn record(template: &str, fields: &[&[u8]]) -> Vec<u8> {
    let data: Vec<u8> = fields.iter().flat_map(|field| sized(field)).collect();
    record_of(&sha1(&data), template, &data)
}

fn record_of(hash: &[u8; 20], template: &str, data: &[u8]) -> Vec<u8> {
    let name = sized(template.as_bytes());
    [&10u32.to_le_bytes(), &hash[..], &name, &sized(data)].concat()
}

fn legacy(digest: &[u8; 20], name: &str) -> Vec<u8> {
    let mut hashed = digest.to_vec();
    hashed.extend(name.bytes());
    hashed.resize(276, 0);
    let head = [&10u32.to_le_bytes(), &sha1(&hashed)[..], &sized(b"ima")].concat();
    [head, digest.to_vec(), sized(name.as_bytes())].concat()
}

fn violation(path: &[u8]) -> Vec<u8> {
    let data = [sized(&d_ng("sha256", &[0; 20])), sized(path)].concat();
    record_of(&[0; 20], "ima-ng", &data)
}

fn file(path: &str) -> Vec<u8> {
    let digest = d_ng("sha256", &sha256(path.as_bytes()));
    record("ima-ng", &[&digest, &[path.as_bytes(), b"\0"].concat()])
}

/// PCR 10 by another way than the code under test: records cut apart by hand.
fn naive_pcr10(mut list: &[u8], bank: Bank, extension: Extension) -> PcrDigest {
    let length =
        |at: &[u8]| usize::try_from(u32::from_le_bytes(at[..4].try_into().unwrap())).unwrap();
    let mut value = PcrDigest::zero(bank);
    while !list.is_empty() {
        let hash: [u8; 20] = list[4..24].try_into().unwrap();
        let name_end = 28 + length(&list[24..]);
        let (data, end) = if &list[28..name_end] == b"ima" {
            let end = name_end + 24 + length(&list[name_end + 20..]);
            let mut data = list[name_end..name_end + 20].to_vec();
            data.extend(&list[name_end + 24..end]);
            data.resize(276, 0);
            (data, end)
        } else {
            let end = name_end + 4 + length(&list[name_end..]);
            (list[name_end + 4..end].to_vec(), end)
        };
        let violation = hash == [0; 20];
        value = match value {
            PcrDigest::Sha1(old) => {
                let measured = if violation { [0xff; 20] } else { hash };
                PcrDigest::Sha1(sha1(&[old, measured].concat()))
            }
            PcrDigest::Sha256(old) => {
                let measured = match extension {
                    _ if violation => [0xff; 32].to_vec(),
                    Extension::TemplateHash => sha256(&data).to_vec(),
                    Extension::PaddedSha1 => [&hash[..], &[0; 12]].concat(),
                };
                let value = sha256(&[&old.0[..], &measured].concat());
                PcrDigest::Sha256(crate::digest::Sha256Digest(value))
            }
        };
        list = &list[end..];
    }
    value
}

/// Where each record ends.
fn ends(list: &[u8]) -> Vec<usize> {
    let mut records = ImaList::parse(list).unwrap().records();
    let mut ends = Vec::new();
    while records.next().is_some() {
        ends.push(list.len() - records.bytes_left());
    }
    ends
}

fn measured<'a>(entries: &[Entry<'a>], at: usize) -> Measured<'a> {
    match entries[at] {
        Entry::Measured(measured) => measured,
        Entry::Violation { .. } => panic!("entry {at} is a violation"),
    }
}

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

#[test]
fn the_template_hash_must_be_that_of_the_data() {
    let boot = Boot::recorded();
    let at = ends(&boot.list)[6];
    let changed = |offset: usize, bytes: &[u8]| {
        let mut list = boot.list.clone();
        list[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        list
    };
    // The hash itself, the path's last letter, the digest.
    assert_eq!(
        boot.code_of(&changed(4, &[0xaa])),
        "ima-template-hash-mismatch"
    );
    assert_eq!(
        boot.code_of(&changed(90, b"X")),
        "ima-template-hash-mismatch"
    );
    assert_eq!(
        boot.code_of(&changed(60, &[1])),
        "ima-template-hash-mismatch"
    );
    // Relabelled as another algorithm with digests of that size, one of another size, and none.
    assert_eq!(&boot.list[at + 43..at + 51], b"sha256:\0");
    let with_label = |label: &str| {
        let digest = d_ng(label, &[7; 32]);
        let data = [sized(&digest), sized(b"/x\0")].concat();
        let made = record_of(&[9; 20], "ima-ng", &data);
        [&boot.list[..at], &made].concat()
    };
    assert_eq!(
        boot.code_of(&with_label("sha3-256")),
        "ima-template-hash-mismatch"
    );
    assert_eq!(
        boot.code_of(&changed(43, b"sha512")),
        "ima-template-data-malformed"
    );
    assert_eq!(
        boot.code_of(&with_label("md5")),
        "ima-digest-algorithm-unknown"
    );
    // A file passed off as a violation: what the hash says is then extended otherwise.
    assert_eq!(boot.code_of(&changed(4, &[0; 20])), "ima-replay-mismatch");
}

#[test]
fn what_no_hash_covers_is_not_believed() {
    // The PCR of a record.
    let boot = Boot::recorded();
    let mut list = boot.list.clone();
    let at = ends(&list)[6];
    list[at] = 11;
    assert_eq!(boot.code_of(&list), "ima-pcr-unexpected");
    // The template's name: unknown, of another form, of the same form.
    let name = at + 28;
    for (other, expected) in [
        (b"abc-sig", "ima-template-unknown"),
        (b"evm-sig", "ima-template-data-malformed"),
        (b"ima-buf", "ima-template-relabelled"),
    ] {
        let mut list = boot.list.clone();
        list[name..name + 7].copy_from_slice(other);
        assert_eq!(boot.code_of(&list), expected);
    }
    // Nothing but the kernel's kinds of signature stands where one does.
    let text = record("ima-sig", &[&d_ng("sha1", &[1; 20]), b"/x\0", b"text"]);
    let refused = code(ImaList::parse(&text));
    assert_eq!(refused, "ima-template-data-malformed");
    // A buffer shown as a file whose signature is the buffer.
    let buffer = b"\x03buffer";
    let digest = d_ng("sha256", &sha256(buffer));
    let made = record("ima-buf", &[&digest, b"kexec-cmdline\0", buffer]);
    let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &[made]);
    boot.replay().unwrap();
    let mut list = boot.list.clone();
    let name = ends(&list)[0] + 28;
    list[name..name + 7].copy_from_slice(b"ima-sig");
    assert_eq!(boot.code_of(&list), "ima-template-relabelled");
    // The path of a violation: the name of the field says so.
    let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &[violation(b"/a\0")]);
    let mut list = boot.list.clone();
    let letter = list.len() - 2;
    list[letter] = b'b';
    let (entries, _) = boot.replay_of(&list).unwrap();
    let Entry::Violation { untrusted_path } = entries[1] else {
        panic!("a violation is expected")
    };
    assert_eq!(untrusted_path.as_bytes(), b"/b");
}

#[test]
fn a_path_is_one_string_and_is_shown_as_one() {
    let digest = d_ng("sha256", &[7; 32]);
    let long = |length: usize| [vec![b'a'; length], vec![0]].concat();
    for wrong in [
        &b""[..],
        b"/bin/sh",
        b"/bin/sh\0/x\0",
        b"/bin/sh\0\0",
        &long(PATH_MAX),
    ] {
        let list = record("ima-ng", &[&digest, wrong]);
        assert_eq!(code(ImaList::parse(&list)), "ima-path-malformed");
    }
    for (path, shown) in [
        (
            "/a\n10 ff ima-ng sha256:00 /b",
            "/a\\x0a10 ff ima-ng sha256:00 /b",
        ),
        ("/a\\x0a", "/a\\\\x0a"),
        ("/é", "/\\xc3\\xa9"),
    ] {
        let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &[file(path)]);
        let (entries, _) = boot.replay().unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(measured(&entries, 1).path.as_bytes(), path.as_bytes());
        assert_eq!(measured(&entries, 1).path.to_string(), shown);
    }
    let longest = record("ima-ng", &[&digest, &long(PATH_MAX - 1)]);
    assert!(ImaList::parse(&longest).is_ok());
    let legacy = |name: &str| self::legacy(&[1; 20], name);
    assert!(ImaList::parse(&legacy(&"a".repeat(255))).is_ok());
    assert_eq!(code(ImaList::parse(&legacy("a\0"))), "ima-path-malformed");
    let mut long_name = legacy(&"a".repeat(255));
    long_name[51..55].copy_from_slice(&256u32.to_le_bytes());
    long_name.push(b'a');
    assert_eq!(code(ImaList::parse(&long_name)), "ima-path-malformed");
}

#[test]
fn the_boot_aggregate_is_over_the_quoted_pcrs() {
    for bank in [Bank::Sha1, Bank::Sha256] {
        for pcr in 0..10 {
            let mut boot = Boot::made(bank, Extension::TemplateHash, &[file("/a")]);
            boot.pcrs.insert(pcr, PcrDigest::zero(bank));
            boot.pcrs.entry(pcr).and_modify(|value| match value {
                PcrDigest::Sha1(bytes) => bytes[3] = 0xee,
                PcrDigest::Sha256(digest) => digest.0[3] = 0xee,
            });
            // A SHA-1 aggregate does not cover PCRs 8 and 9.
            if bank == Bank::Sha256 || pcr < 8 {
                assert_eq!(boot.code_of(&boot.list), "ima-boot-aggregate-mismatch");
            } else {
                boot.replay().unwrap();
            }
        }
    }
    // PCRs 0 to 7 only, SHA-256.
    let mut boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &[]);
    let joined: Vec<u8> = (0..8).flat_map(|pcr| [pcr; 32]).collect();
    let old = d_ng("sha256", &sha256(&joined));
    boot.list = record("ima-ng", &[&old, b"boot_aggregate\0"]);
    let value = naive_pcr10(&boot.list, Bank::Sha256, Extension::TemplateHash);
    boot.pcrs.insert(10, value);
    let aggregate = |boot: &Boot| {
        boot.replay()
            .map(|(_, state)| state.boot_aggregate.unwrap())
    };
    assert_eq!(aggregate(&boot), Ok(BootAggregate::PcrsTo7));
    // The same of SHA-1 PCRs 0 to 9 is no aggregate that a kernel writes.
    let mut sha1_boot = Boot::made(Bank::Sha1, Extension::TemplateHash, &[]);
    let joined: Vec<u8> = (0..10).flat_map(|pcr| [pcr; 20]).collect();
    let digest = d_ng("sha1", &sha1(&joined));
    sha1_boot.list = record("ima-ng", &[&digest, b"boot_aggregate\0"]);
    let value = naive_pcr10(&sha1_boot.list, Bank::Sha1, Extension::TemplateHash);
    sha1_boot.pcrs.insert(10, value);
    let refused = sha1_boot.code_of(&sha1_boot.list);
    assert_eq!(refused, "ima-boot-aggregate-mismatch");
    // Of a bank that nobody quoted: said, not passed over.
    boot.list = record("ima-ng", &[&d_ng("sha1", &[1; 20]), b"boot_aggregate\0"]);
    let value = naive_pcr10(&boot.list, Bank::Sha256, Extension::TemplateHash);
    boot.pcrs.insert(10, value);
    assert_eq!(aggregate(&boot), Ok(BootAggregate::BankUnquoted));
    // Something else comes first.
    for first in [file("/boot_aggregate"), violation(b"boot_aggregate\0")] {
        boot.list = first;
        let value = naive_pcr10(&boot.list, Bank::Sha256, Extension::TemplateHash);
        boot.pcrs.insert(10, value);
        assert_eq!(boot.code_of(&boot.list), "ima-boot-aggregate-missing");
    }
}

#[test]
fn a_host_that_measures_nothing_has_no_proof() {
    let mut boot = Boot::recorded();
    boot.pcrs.insert(10, PcrDigest::zero(Bank::Sha256));
    assert_eq!(boot.code_of(b""), "ima-nothing-measured");
    assert_eq!(boot.code_of(&boot.list), "ima-nothing-measured");
    for pcr in [0, 9, 10] {
        let mut pcrs = boot.pcrs.clone();
        pcrs.remove(&pcr);
        assert_eq!(code(QuotedPcrs::recorded(&pcrs)), "ima-pcr-unquoted");
        pcrs.insert(pcr, PcrDigest::zero(Bank::Sha1));
        assert_eq!(code(QuotedPcrs::recorded(&pcrs)), "ima-pcr-unquoted");
    }
}

#[test]
fn work_is_bounded() {
    let large = vec![0; LIST_MAX + 1];
    assert_eq!(code(ImaList::parse(&large)), "ima-list-too-large");
    let small = legacy(&[1; 20], "");
    assert_eq!(small.len(), 55);
    let count = usize::try_from(ENTRIES_MAX).unwrap();
    let many = small.repeat(count);
    assert!(ImaList::parse(&many).is_ok());
    let more = small.repeat(count + 1);
    assert_eq!(code(ImaList::parse(&more)), "ima-list-too-many-entries");

    let mut huge = file("/a");
    huge[34..38].fill(0xff);
    assert_eq!(code(ImaList::parse(&huge)), "ima-template-data-too-large");
    let mut huge = file("/a");
    huge[24..28].fill(0xff);
    assert_eq!(code(ImaList::parse(&huge)), "ima-template-unknown");
    let mut huge = file("/a");
    huge[38..42].fill(0xff);
    assert_eq!(code(ImaList::parse(&huge)), "ima-template-data-malformed");
}

#[test]
fn no_list_ends_inside_an_entry() {
    let records = [
        legacy(&[1; 20], "/bin/old"),
        file("/a"),
        violation(b"/b\0"),
        record("ima-sig", &[&d_ng("sha1", &[7; 20]), b"/c\0", &[3, 2]]),
    ];
    let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &records);
    let ends = ends(&boot.list);
    for length in 1..boot.list.len() {
        let parsed = ImaList::parse(&boot.list[..length]);
        if ends.contains(&length) {
            assert!(parsed.is_ok(), "{length}");
        } else {
            assert_eq!(code(parsed), "ima-list-truncated", "{length}");
        }
    }
}

#[test]
fn values_are_read_as_they_are_written() {
    for text in [
        format!("sha1:{}", "0a".repeat(20)),
        format!("sha256:{}", "0a".repeat(32)),
    ] {
        assert_eq!(text.parse::<PcrDigest>().unwrap().to_string(), text);
    }
    for text in ["", "sha1:", "sha256:00", "sha384:00", &"0".repeat(64)] {
        assert!(text.parse::<PcrDigest>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes: Vec<u8>) {
        let _ = ImaList::parse(&bytes);
    }

    #[test]
    fn parsing_near_lists_never_panics(at in 0usize..9699, bytes: Vec<u8>, drop in 0usize..40) {
        let mut list = Boot::recorded().list;
        let end = (at + drop).min(list.len());
        list.splice(at..end, bytes);
        if let Ok(list) = ImaList::parse(&list) {
            prop_assert_eq!(list.untrusted_entries().count(), list.records().count());
        }
    }

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
