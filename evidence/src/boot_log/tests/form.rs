//! Both forms of a log, its Spec ID, notices, padding, cuts and glued logs (attacks L3).

use super::*;

fn code(bytes: &[u8]) -> String {
    BootLog::parse(bytes).unwrap_err().finding().code
}

/// The code of what is wrong with a log first, its form or its order; `none` where nothing is.
fn verdict(bytes: &[u8]) -> String {
    match BootLog::parse(bytes) {
        Ok(log) => super::order::verdict(&log),
        Err(error) => error.finding().code,
    }
}

#[test]
fn every_declared_bank_is_kept_and_replayed() {
    let log = Builder::new(&[SHA512, SHA1, (0x0012, 32), SHA384, SHA256])
        .locality(3)
        .measured(0, kind::S_CRTM_VERSION, b"v")
        .separators(0..8)
        .parse()
        .unwrap();
    let replayed = [Bank::Sha512, Bank::Sha1, Bank::Sha384, Bank::Sha256];
    for bank in replayed {
        let mut start = vec![0; bank.digest_size().unwrap()];
        *start.last_mut().unwrap() = 3;
        let version = bank.hash(b"v").unwrap();
        let first = bank.hash(&[&start, version.as_bytes()].concat()).unwrap();
        let separator = bank.hash(&[0; 4]).unwrap();
        let second = bank.hash(&[first.as_bytes(), separator.as_bytes()].concat());
        assert_eq!(log.replay(bank).unwrap().get(&0).copied(), second);
        assert!(log.disorder(bank).is_empty());
    }
    let sm3 = Bank::Other(0x12);
    assert_eq!(
        log.banks(),
        [replayed[0], replayed[1], sm3, replayed[2], replayed[3]]
    );
    assert_eq!(log.replay(sm3), None);
    assert_eq!(log.events()[0].digest(sm3).unwrap().as_bytes(), [0; 32]);
}

#[test]
fn a_log_of_the_old_form_has_sha_1_only() {
    let digest = Bank::Sha1.hash(&[0; 4]).unwrap();
    let digest = digest.as_bytes().try_into().unwrap();
    let separators: Vec<u8> = (0..8)
        .flat_map(|pcr| legacy_event(pcr, kind::SEPARATOR, &digest, &[0; 4]))
        .collect();
    for header in [
        Vec::new(),
        first_event(b"Spec ID Event00\0"),
        first_event(b"Spec ID Event02\0\0\0\0\0\0\x02\0\x01\0"),
    ] {
        let first = usize::from(!header.is_empty());
        let log = BootLog::parse(&[header, separators.clone()].concat()).unwrap();
        assert_eq!(log.banks(), [Bank::Sha1]);
        assert_eq!(log.events().len(), 8);
        assert_eq!(log.events()[0].number, first);
        assert!(log.replay(Bank::Sha1).is_some());
        assert_eq!(log.replay(Bank::Sha256), None);
        assert!(log.disorder(Bank::Sha1).is_empty());
    }
}

#[test]
fn a_spec_id_is_whole_and_sound() {
    let whole = Builder::new(&[SHA256]).separators(0..8).bytes;
    let events = &whole[65..];
    let log = |header: Vec<u8>| [header, events.to_vec()].concat();
    // Vendor info is of any length.
    for vendor in [&b""[..], b"vendor", &[0xff; 255]] {
        let parsed = BootLog::parse(&log(spec_id(&[SHA256], vendor))).unwrap();
        assert_eq!(parsed.events().len(), 8);
        assert_eq!(verdict(&log(spec_id(&[SHA256], vendor))), "none");
    }
    let edited = |edit: fn(&mut Vec<u8>)| {
        let mut data = spec_id(&[SHA256], b"vendor")[32..].to_vec();
        edit(&mut data);
        log(first_event(&data))
    };
    let header = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    for (what, odd) in [
        ("vendor info too short", edited(|data| data.truncate(38))),
        ("vendor info too long", edited(|data| data.push(0))),
        ("no vendor info", edited(|data| data.truncate(32))),
        ("no banks", edited(|data| data.truncate(28))),
        ("other version", edited(|data| data[14] = b'4')),
        ("no NUL", edited(|data| data[15] = b'x')),
        ("17 banks", edited(|data| data[24] = 17)),
        ("zero banks", edited(|data| data[24] = 0)),
        ("wrong size", edited(|data| data[30] = 20)),
        ("relabelled bank", edited(|data| data[28] = 4)),
        ("a bank twice", log(spec_id(&[SHA256, SHA256], b""))),
        ("no bytes", log(spec_id(&[(0x7777, 0), SHA256], b""))),
        ("65 bytes", log(spec_id(&[(0x7777, 65), SHA256], b""))),
        ("another PCR", header(0, 1)),
        ("another type", header(4, 4)),
    ] {
        assert_eq!(code(&odd), "boot-log-spec-id-malformed", "{what}");
    }
    assert_eq!(code(events), "boot-log-spec-id-missing");
    let other = log(first_event(b"spec ID Event03\0"));
    assert_eq!(code(&other), "boot-log-spec-id-missing");
    assert_eq!(code(&recorded()[65..]), "boot-log-spec-id-missing");
    assert_eq!(code(&[0; 4096]), "boot-log-spec-id-missing");
    assert_eq!(code(b""), "boot-log-truncated");
}

#[test]
fn an_event_has_at_most_one_digest_of_each_bank() {
    let log = |digests: &[(u16, usize)]| {
        let mut bytes = spec_id(&[SHA1, SHA256], b"");
        bytes.extend([0, 0, 0, 0, 4, 0, 0, 0]);
        bytes.extend(u32::try_from(digests.len()).unwrap().to_le_bytes());
        for (algorithm, size) in digests {
            bytes.extend(algorithm.to_le_bytes());
            bytes.extend(vec![1; *size]);
        }
        [bytes, vec![1, 0, 0, 0, 0xee]].concat()
    };
    assert!(BootLog::parse(&log(&[SHA1, SHA256])).is_ok());
    assert!(BootLog::parse(&log(&[SHA256, SHA1])).is_ok());
    // As the boot manager of Windows does.
    let one = BootLog::parse(&log(&[SHA256])).unwrap();
    assert_eq!(one.lacking(Bank::Sha256), None);
    assert_eq!(one.lacking(Bank::Sha1), Some(1));
    for odd in [
        &[][..],
        &[SHA256, SHA256],
        &[SHA1, SHA384],
        &[SHA1, SHA256, SHA384],
    ] {
        assert_eq!(code(&log(odd)), "boot-log-digests-malformed", "{odd:?}");
    }
}

#[test]
fn the_startup_locality_begins_pcr_0_once_and_first() {
    let new = || Builder::new(&[SHA256]);
    let policy = variable("SecureBoot", &[1]);
    let without = new().separators(0..8).parse().unwrap();
    for locality in [0, 3, 4] {
        // Other PCRs, and other notices, may come first.
        let log = new()
            .measured(7, kind::EFI_VARIABLE_DRIVER_CONFIG, &policy)
            .notice(0, b"other\0")
            .locality(locality)
            .separators(0..8)
            .parse()
            .unwrap();
        assert_eq!(log.startup_locality(), locality);
        let [mine, zero] = [&log, &without].map(|log| log.replay(Bank::Sha256).unwrap());
        assert_eq!(mine[&0] == zero[&0], locality == 0);
        assert_eq!(mine[&1], zero[&1]);
    }
    let text = b"StartupLocality\0";
    let of_3 = [&text[..], &[3]].concat();
    for (what, wrong) in [
        ("twice", new().locality(3).locality(3)),
        ("twice, first 0", new().locality(0).locality(3)),
        ("late", new().separators(0..8).locality(3)),
        ("locality 1", new().locality(1)),
        ("locality 255", new().locality(255)),
        ("another PCR", new().notice(1, &of_3)),
        ("no PCR", new().notice(u32::MAX, &of_3)),
        ("no locality", new().notice(0, text)),
        ("too long", new().notice(0, &[&of_3[..], &[0]].concat())),
    ] {
        let error = wrong.separators(0..8).parse().unwrap_err();
        assert_eq!(error.finding().code, "boot-log-startup-locality", "{what}");
    }
}

#[test]
fn a_notice_is_never_extended_and_may_name_no_pcr() {
    let new = || Builder::new(&[SHA256]).separators(0..8);
    let plain = new().parse().unwrap();
    let noticed = new().notice(u32::MAX, b"\x01").notice(23, b"\x01");
    let log = noticed.parse().unwrap();
    assert_eq!(verdict(&noticed.bytes), "none");
    assert_eq!(log.replay(Bank::Sha256), plain.replay(Bank::Sha256));
    assert_eq!(log.events(), plain.events());
    let pcrs: Vec<_> = log
        .notices()
        .iter()
        .map(|notice| notice.untrusted_pcr)
        .collect();
    assert_eq!(pcrs, [None, Some(23)]);
    for (pcr, kind) in [
        (24, kind::NO_ACTION),
        (u32::MAX - 1, kind::NO_ACTION),
        (24, kind::SEPARATOR),
        (u32::MAX, kind::SEPARATOR),
        // The index of a PCR is not its low byte.
        (256, kind::SEPARATOR),
    ] {
        let error = new().measured(pcr, kind, b"x").parse().unwrap_err();
        assert_eq!(error, BootLogError::NoSuchPcr { event: 9, pcr });
        assert_eq!(error.finding().code, "boot-log-pcr-unknown");
    }
}

#[test]
fn padding_is_of_one_kind() {
    let whole = BootLog::parse(&recorded());
    for pad in [0u8, 0xff] {
        for length in [1, 3, 4, 31, 32, 33, 999, 65_536] {
            let padded = [recorded(), vec![pad; length]].concat();
            assert_eq!(BootLog::parse(&padded), whole, "{length} of {pad:#x}");
            assert_eq!(verdict(&padded), "none");
        }
    }
    for wrong in [
        vec![0x20; 99],
        [vec![0xff; 99], vec![0; 99]].concat(),
        [vec![0; 99], vec![1]].concat(),
    ] {
        // Taken for an event of its own.
        let told = verdict(&[recorded(), wrong].concat());
        assert_eq!(told, "boot-log-digests-malformed");
    }
}

#[test]
fn glued_logs_are_refused_as_such() {
    let agile = recorded();
    let legacy = [
        first_event(b"Spec ID Event02\0"),
        legacy_event(0, kind::SEPARATOR, &[1; 20], &[0; 4]),
    ]
    .concat();
    let between: [&[u8]; 4] = [&[], &[0; 100], &[0; 4096], &[0xff; 77]];
    for (first, second) in [
        (&agile, &agile),
        (&agile, &legacy),
        (&legacy, &agile),
        (&legacy, &legacy),
    ] {
        for between in between {
            let glued = [first.as_slice(), between, second.as_slice()].concat();
            let error = BootLog::parse(&glued).unwrap_err();
            assert_eq!(error.finding().code, "boot-log-glued", "{error}");
        }
    }
    let notice = Builder::new(&[SHA256]).notice(0, &spec_id(&[SHA1], b"")[32..]);
    assert_eq!(notice.parse(), Err(BootLogError::Glued(1)));
    // Without a Spec ID between them they are one log, in which separators are doubled.
    let glued = [agile.as_slice(), &agile[65..]].concat();
    let disorder = BootLog::parse(&glued).unwrap().disorder(Bank::Sha256);
    let doubled = |breach: &&Disorder| matches!(breach, Disorder::SeparatorDoubled { .. });
    assert_eq!(disorder.iter().filter(doubled).count(), 8);
}

#[test]
fn a_cut_log_is_at_most_a_shorter_log() {
    let bytes = recorded();
    let whole = BootLog::parse(&bytes).unwrap();
    let (mut parsed, mut errors) = (0, 0);
    for length in 0..bytes.len() {
        match BootLog::parse(&bytes[..length]) {
            // Between events, or after zeros of the next one that look like padding. Replay catches both.
            Ok(cut) => {
                assert!(cut.events().len() < whole.events().len());
                assert!(whole.events().starts_with(cut.events()));
                parsed += 1;
            }
            Err(error) => {
                // The Spec ID event begins with four zeros.
                let expected = match length {
                    1..=4 => "boot-log-spec-id-missing",
                    _ => "boot-log-truncated",
                };
                assert_eq!(error.finding().code, expected, "cut to {length}");
                errors += 1;
            }
        }
    }
    assert!(parsed < 2 * whole.events().len());
    eprintln!("cuts: {parsed} are shorter logs, {errors} errors");
}
