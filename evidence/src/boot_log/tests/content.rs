//! What events prove, and how people read them.

use std::collections::BTreeSet;

use super::*;

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn only(log: &Builder) -> Event {
    let log = log.parse().unwrap();
    assert_eq!(log.events().len(), 1);
    log.events()[0].clone()
}

#[test]
fn content_is_proven_by_what_its_type_measures() {
    let new = || Builder::new(&[SHA1, SHA256]);
    let ipl = |pcr, measured: &[u8], data: &[u8]| new().event(pcr, kind::IPL, measured, data);
    let on = variable("SecureBoot", &[1]);
    let option = variable("Boot0001", b"option");
    let cases = [
        (new().measured(0, kind::SEPARATOR, &[0; 4]), ""),
        (new().measured(4, kind::EFI_ACTION, b"Calling"), "Calling"),
        (
            new().measured(0, kind::S_CRTM_VERSION, &wide("N22ET\0")),
            "N22ET",
        ),
        (
            new().measured(0, kind::S_CRTM_VERSION, &[0x1e, 0xfb]),
            "1efb",
        ),
        (
            new().measured(7, kind::EFI_VARIABLE_DRIVER_CONFIG, &on),
            "SecureBoot = 1",
        ),
        (
            new().event(1, kind::EFI_VARIABLE_BOOT, b"option", &option),
            "value of 6 bytes; the log names it Boot0001",
        ),
        (ipl(8, b"linux /a", b"grub_cmd: linux /a\0"), "linux /a"),
        // RHEL 8 measures the NUL.
        (ipl(8, b"set a=1\0", b"grub_cmd set a=1\0"), "set a=1"),
        (ipl(12, &wide("quiet\0"), &wide("quiet\0")), "quiet"),
        (ipl(11, b".osrel\0", &wide(".osrel\0")), "section .osrel"),
        (new().measured(6, 0x1234_5678, b"\x01"), "1 bytes"),
    ];
    for (log, text) in cases {
        let event = only(&log);
        for bank in [Bank::Sha1, Bank::Sha256] {
            let told = event.describe(bank);
            assert_eq!((told.text.as_str(), told.proven), (text, true), "{told:?}");
        }
        // A bank that the log does not have proves nothing.
        assert!(!event.describe(Bank::Sha384).proven);
    }
    let told = |kind| only(&new().measured(6, kind, b"")).describe(Bank::Sha1);
    assert_eq!(told(kind::SEPARATOR).untrusted_kind, "EV_SEPARATOR");
    assert_eq!(told(0x1234_5678).untrusted_kind, "0x12345678");
}

#[test]
fn what_is_not_proven_says_so() {
    let of = |pcr, kind, data: &[u8]| Builder::new(&[SHA256]).event(pcr, kind, b"other", data);
    let file = [&[4, 4, 18, 0][..], &wide("\\a.efi\0"), &[0x7f, 0xff, 4, 0]].concat();
    let length = u64::try_from(file.len()).unwrap().to_le_bytes();
    let image = [&[0; 24][..], &length, &file].concat();
    let tag = b"\xec\x22\x3b\x8f\x0d\0\0\0Linux initrd\0";
    let application = kind::EFI_BOOT_SERVICES_APPLICATION;
    for (log, text) in [
        (of(4, application, &image), "\\a.efi"),
        (of(14, kind::IPL, b"MokList\0"), "MokList"),
        (of(9, kind::EVENT_TAG, tag), "Linux initrd"),
        (of(11, kind::IPL, &wide(".linux\0")), ".linux"),
        (
            of(7, kind::EFI_VARIABLE_AUTHORITY, &variable("db", b"xx")),
            "db, 2 bytes",
        ),
        (of(0, kind::POST_CODE, b"a\nb"), "3 bytes"),
        (of(0, kind::EFI_ACTION, b"claimed"), "claimed"),
    ] {
        let told = only(&log).describe(Bank::Sha256);
        assert_eq!((told.text.as_str(), told.proven), (text, false));
    }
    // A node of a device path that is shorter than its header, or reaches past the end.
    for size in [0u8, 1, 3, 255] {
        let mut odd = image.clone();
        odd[34] = size;
        let told = only(&of(4, application, &odd)).describe(Bank::Sha256);
        assert_eq!(told.text, format!("{} bytes", odd.len()));
    }
}

#[test]
fn a_command_line_is_found_wherever_it_is_measured() {
    let tag = [&0x8f3b_22ed_u32.to_le_bytes()[..], &[4, 0, 0, 0], b"Load"].concat();
    let log = Builder::new(&[SHA256])
        .event(8, kind::IPL, b"/vmlinuz a", b"kernel_cmdline: /vmlinuz a\0")
        .event(8, kind::IPL, b"/b", b"grub_kernel_cmdline /b\0")
        .event(8, kind::IPL, b"echo", b"grub_cmd: echo\0")
        .event(9, kind::EVENT_TAG, &wide("c d\0"), &tag)
        .event(11, kind::IPL, b".linux\0", &wide(".linux\0"))
        .event(11, kind::IPL, b"\x7fELF", &wide(".linux\0"))
        .event(11, kind::IPL, b".cmdline\0", b"not looked at")
        .event(11, kind::IPL, b"e f\n", b"not looked at")
        .measured(12, kind::IPL, &wide(" g \0"))
        .event(12, kind::IPL, b"hidden", b"?")
        .parse()
        .unwrap();
    let lines = command_line::find(log.events(), Bank::Sha256);
    let found: Vec<_> = lines
        .iter()
        .map(|line| (line.event(), line.source(), line.text()))
        .collect();
    assert_eq!(
        found,
        [
            (1, CommandLineSource::Grub, Some("/vmlinuz a")),
            (2, CommandLineSource::Grub, Some("/b")),
            (4, CommandLineSource::LoadOptions, None),
            (8, CommandLineSource::UkiSection, None),
            (9, CommandLineSource::Systemd, Some(" g ")),
            (10, CommandLineSource::Unknown, None),
        ]
    );
    for (line, text) in lines.iter().zip(["/vmlinuz a", "/b", "c d", "e f", " g "]) {
        assert!(line.is(text), "{text}");
        assert!(!line.is("") && !line.is(&format!("{text} init=/bin/sh")));
    }
    assert!(!lines[5].is("hidden"));
}

#[test]
fn the_secure_boot_policy_is_read_from_proven_variables() {
    let log = BootLog::parse(&recorded()).unwrap();
    let policy = SecureBootPolicy::of(log.events(), Bank::Sha256);
    assert_eq!(policy.secure_boot, Some(true));
    assert!(policy.pk > Some(0) && policy.kek > Some(0) && policy.db > Some(0));
    assert!(policy.dbx.is_some());
    assert!(policy.sbat_level.unwrap().starts_with("sbat,1,"));

    let new = || Builder::new(&[SHA256]);
    let of = |log: &Builder| SecureBootPolicy::of(log.parse().unwrap().events(), Bank::Sha256);
    let config = kind::EFI_VARIABLE_DRIVER_CONFIG;
    let [on, off] = [[1], [0]].map(|value| variable("SecureBoot", &value));
    let absent = variable("SecureBoot", b"");
    for (value, secure_boot) in [(&on, true), (&off, false), (&absent, false)] {
        let policy = of(&new().measured(7, config, value));
        assert_eq!(policy.secure_boot, Some(secure_boot));
    }
    let edited = |edit: fn(&mut Vec<u8>)| {
        let mut data = on.clone();
        edit(&mut data);
        new().measured(7, config, &data)
    };
    for silent in [
        new(),
        new().measured(7, config, &on).measured(7, config, &off),
        new().measured(1, config, &on),
        new().measured(7, kind::EFI_VARIABLE_BOOT, &on),
        new().event(7, config, &off, &on),
        edited(|data| data.push(0)),
        edited(|data| data.truncate(40)),
        edited(|data| data[0] ^= 1),
        edited(|data| data[16..32].fill(0xff)),
    ] {
        assert_eq!(of(&silent).secure_boot, None);
    }
    let empty = of(&new().measured(7, config, &variable("PK", b"")));
    assert_eq!((empty.pk, empty.kek), (Some(0), None));
}

#[test]
fn every_phase_of_a_boot_is_told() {
    let log = BootLog::parse(&recorded()).unwrap();
    let phases: BTreeSet<Phase> = log
        .events()
        .iter()
        .map(|event| event.describe(Bank::Sha256).untrusted_phase)
        .collect();
    let expected = [
        Phase::Firmware,
        Phase::OptionRoms,
        Phase::SecureBootPolicy,
        Phase::BootLoader,
        Phase::Kernel,
        Phase::CommandLine,
        Phase::Initrd,
        Phase::ExitBootServices,
    ];
    assert_eq!(phases, BTreeSet::from(expected));

    // The kernel's EFI stub, and a unified kernel image.
    let tag = |id: u32| [&id.to_le_bytes()[..], &[0; 4]].concat();
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (pcr, kind, data, phase) in [
        (9, kind::EVENT_TAG, tag(0x8f3b_22ed), Phase::CommandLine),
        (9, kind::EVENT_TAG, tag(0x8f3b_22ec), Phase::Initrd),
        (11, kind::IPL, wide(".cmdline\0"), Phase::CommandLine),
        (11, kind::IPL, wide(".initrd\0"), Phase::Initrd),
        (11, kind::IPL, wide(".linux\0"), Phase::Kernel),
        (10, kind::IPL, b"x".to_vec(), Phase::Other),
    ] {
        let log = Builder::new(&[SHA256]).measured(pcr, kind, &data);
        let told = log.parse().unwrap().events[0].describe(Bank::Sha256);
        assert_eq!(told.untrusted_phase, phase, "{pcr} {data:?}");
    }
}

#[test]
fn facts_are_told_in_the_bank_of_the_log() {
    let policy = variable("SecureBoot", &[1]);
    let log = Builder::new(&[SHA1])
        .measured(7, kind::EFI_VARIABLE_DRIVER_CONFIG, &policy)
        .event(8, kind::IPL, b"/vmlinuz a", b"kernel_cmdline: /vmlinuz a\0")
        .parse()
        .unwrap();
    assert_eq!(log.secure_boot_policy(Bank::Sha1).secure_boot, Some(true));
    assert_eq!(log.secure_boot_policy(Bank::Sha256).secure_boot, None);
    let lines = log.command_lines(Bank::Sha1);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].text(), Some("/vmlinuz a"));
    assert!(lines[0].is("/vmlinuz a") && !lines[0].is("/vmlinuz b"));
    assert!(log.command_lines(Bank::Sha256).is_empty());
}
