//! Separators and the end of boot services (attacks L2).

use super::*;

/// Codes and PCRs of what is out of order.
fn codes(log: &Builder) -> Vec<(String, u8)> {
    let disorder = log.parse().unwrap().disorder(Bank::Sha256);
    disorder
        .iter()
        .map(|breach| (breach.finding().code, breach.pcr()))
        .collect()
}

/// The code of the first breach; `none` where there is none.
pub(super) fn verdict(log: &BootLog) -> String {
    let disorder = log.disorder(Bank::Sha256);
    let first = disorder.first().map(|breach| breach.finding().code);
    first.unwrap_or_else(|| "none".to_owned())
}

fn one(code: &str, pcr: u32) -> Vec<(String, u8)> {
    vec![(code.to_owned(), u8::try_from(pcr).unwrap())]
}

fn new() -> Builder {
    Builder::new(&[SHA256])
}

const INVOKED: &[u8] = b"Exit Boot Services Invocation";
const FAILED: &[u8] = b"Exit Boot Services Returned with Failure";
const SUCCEEDED: &[u8] = b"Exit Boot Services Returned with Success";

#[test]
fn pcrs_0_to_7_have_one_sound_separator_each() {
    assert!(codes(&new().separators(0..8)).is_empty());
    // No other PCR needs one; Windows gives some to 12, 13 and 14.
    let windows = new()
        .separators(0..8)
        .measured(12, kind::SEPARATOR, b"WBCL");
    assert!(codes(&windows).is_empty());
    for pcr in 0..8 {
        let others = || new().separators((0..8).filter(|other| *other != pcr));
        let code = |code| one(code, pcr);
        assert_eq!(codes(&others()), code("boot-log-separator-missing"));
        let ones = others().measured(pcr, kind::SEPARATOR, &[0xff; 4]);
        assert!(codes(&ones).is_empty());
        let doubled = new().separators(0..8).separators([pcr]);
        assert_eq!(codes(&doubled), code("boot-log-separator-doubled"));
        for (measured, data) in [
            // The firmware reports an error.
            (&[1, 0, 0, 0][..], &[1, 0, 0, 0][..]),
            (&[0; 5], &[0; 5]),
            (b"", b""),
            // Digest and data are not of each other.
            (&[0; 4], &[0xff; 4]),
            (&[0; 4], b""),
            (b"x", &[0; 4]),
        ] {
            let log = others().event(pcr, kind::SEPARATOR, measured, data);
            assert_eq!(codes(&log), code("boot-log-separator-invalid"), "{data:?}");
        }
    }
}

#[test]
fn a_separator_is_not_hidden_under_another_type() {
    for pcr in 0..8 {
        let hidden = new()
            .event(pcr, kind::EFI_ACTION, &[0; 4], b"nothing to see")
            .measured(pcr, kind::EFI_ACTION, b"of the running system")
            .separators(0..8);
        let expected = one("boot-log-separator-relabelled", pcr);
        assert_eq!(codes(&hidden), expected);
    }
    let fit = b"FIT Type 0x2D Measured S-CRTM\0";
    let fit = new().event(0, kind::S_CRTM_CONTENTS, &[0; 4], fit);
    assert!(codes(&fit.separators(0..8)).is_empty());
}

/// The lie: Secure Boot is off, and the running system extends PCR 7 by a variable that says on.
#[test]
fn no_secure_boot_policy_is_appended() {
    let [on, off] = [[1], [0]].map(|value| variable("SecureBoot", &value));
    let config = kind::EFI_VARIABLE_DRIVER_CONFIG;
    let late = new()
        .measured(7, config, &off)
        .separators(0..8)
        .measured(7, config, &on);
    assert_eq!(codes(&late), one("boot-log-event-after-separator", 7));
    let policy = SecureBootPolicy::of(late.parse().unwrap().events(), Bank::Sha256);
    assert_eq!(policy.secure_boot, None);

    let relabelled = new()
        .event(7, kind::EFI_ACTION, &off, b"?")
        .event(7, kind::EFI_ACTION, &[0; 4], b"?")
        .measured(7, config, &on)
        .separators(0..8);
    assert_eq!(codes(&relabelled), one("boot-log-separator-relabelled", 7));
}

#[test]
fn only_some_types_follow_a_separator() {
    for (pcr, kind) in [
        (1, kind::EFI_VARIABLE_BOOT),
        (1, kind::EFI_VARIABLE_BOOT2),
        (1, kind::EFI_VARIABLE_DRIVER_CONFIG),
        (1, kind::EFI_HANDOFF_TABLES),
        (2, kind::EFI_BOOT_SERVICES_DRIVER),
        (4, kind::EFI_BOOT_SERVICES_APPLICATION),
        (4, kind::EFI_ACTION),
        (5, kind::EFI_GPT_EVENT),
        (5, kind::EFI_ACTION),
        (5, kind::EVENT_TAG),
        (7, kind::EFI_VARIABLE_AUTHORITY),
        (7, kind::EFI_ACTION),
        (8, kind::IPL),
        (14, kind::IPL),
    ] {
        let log = new().separators(0..8).measured(pcr, kind, b"x");
        assert!(codes(&log).is_empty(), "PCR {pcr}, {kind:#x}");
    }
    for (pcr, kind) in [
        (0, kind::POST_CODE),
        (0, kind::S_CRTM_VERSION),
        (0, kind::EFI_ACTION),
        (0, kind::EFI_PLATFORM_FIRMWARE_BLOB),
        (1, kind::CPU_MICROCODE),
        (2, kind::EFI_BOOT_SERVICES_APPLICATION),
        (3, kind::EVENT_TAG),
        (4, kind::EFI_VARIABLE_DRIVER_CONFIG),
        (5, kind::EFI_VARIABLE_DRIVER_CONFIG),
        (6, kind::IPL),
        (7, kind::IPL),
        (7, 0x7777_7777),
    ] {
        let late = new().separators(0..8).measured(pcr, kind, b"x");
        let expected = one("boot-log-event-after-separator", pcr);
        assert_eq!(codes(&late), expected, "PCR {pcr}, {kind:#x}");
        let early = new().measured(pcr, kind, b"x").separators(0..8);
        assert_eq!(
            codes(&early).is_empty(),
            (pcr, kind) != (7, kind::EFI_VARIABLE_DRIVER_CONFIG)
        );
    }
}

#[test]
fn exit_boot_services_is_a_fact_and_the_end() {
    let facts = |log: &Builder| {
        let ExitBootServices {
            invocations,
            failures,
            successes,
        } = log.parse().unwrap().exit_boot_services(Bank::Sha256);
        (invocations, failures, successes)
    };
    let exit = |steps: &[&[u8]]| {
        let log = new().separators(0..8);
        steps
            .iter()
            .fold(log, |log, step| log.measured(5, kind::EFI_ACTION, step))
    };
    // Missing, or half missing: real firmware does so.
    for (steps, expected) in [
        (&[][..], (0, 0, 0)),
        (&[INVOKED], (1, 0, 0)),
        (&[INVOKED, SUCCEEDED], (1, 0, 1)),
        (&[INVOKED, FAILED, INVOKED, SUCCEEDED], (2, 1, 1)),
        (&[FAILED, INVOKED, SUCCEEDED], (1, 1, 1)),
    ] {
        assert_eq!(verdict(&exit(steps).parse().unwrap()), "none");
        assert_eq!(facts(&exit(steps)), expected);
    }
    // Nothing in PCRs 0–7 follows success; the others belong to the running system.
    let doubled = exit(&[INVOKED, SUCCEEDED, SUCCEEDED]);
    assert_eq!(codes(&doubled), one("boot-log-event-after-exit", 5));
    assert_eq!(facts(&doubled), (1, 0, 2));
    let again = exit(&[INVOKED, SUCCEEDED, INVOKED]);
    assert_eq!(codes(&again), one("boot-log-event-after-exit", 5));
    let after = exit(&[INVOKED, SUCCEEDED])
        .measured(4, kind::EFI_BOOT_SERVICES_APPLICATION, b"x")
        .measured(10, kind::IPL, b"x");
    assert_eq!(codes(&after), one("boot-log-event-after-exit", 4));
    // Of another digest it is no such event.
    let claimed = new().event(5, kind::EFI_ACTION, b"x", SUCCEEDED);
    assert_eq!(facts(&claimed), (0, 0, 0));
}

#[test]
fn a_variable_of_pcr_7_is_what_was_measured() {
    let [on, off] = [[1], [0]].map(|value| variable("SecureBoot", &value));
    let log = new()
        .event(7, kind::EFI_VARIABLE_DRIVER_CONFIG, &off, &on)
        .separators(0..8);
    assert_eq!(codes(&log), one("boot-log-data-mismatch", 7));
}
