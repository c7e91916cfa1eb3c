//! `touchstone inspect`: 0 where it verifies, 1 where it does not, 2 where it cannot be parsed; and what
//! it prints of our own boots, for terminals of two widths and as JSON.

use std::process::Output;

use touchstone_tests::programs;

const PROFILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles");
const QUOTE: &str =
    "quote --ak HEALTHY/ak.pub --message HEALTHY/quote.msg --signature HEALTHY/quote.sig";

/// Runs `line`, in which HEALTHY and ALTERED are folders of profiles, at a width of `columns`.
pub(crate) fn inspect(line: &str, columns: u16) -> Output {
    let words = line.split_whitespace().map(|word| {
        word.replace("HEALTHY", &format!("{PROFILES}/shim_sb"))
            .replace("ALTERED", &format!("{PROFILES}/shim_sb_evil"))
            .replace("PROFILES", PROFILES)
    });
    programs::command(&programs::path("touchstone"))
        .arg("inspect")
        .args(words)
        .env("COLUMNS", columns.to_string())
        .output()
        .unwrap()
}

fn code(line: &str) -> i32 {
    inspect(line, 80).status.code().unwrap()
}

/// Standard output and exit code, for a snapshot. No line is wider than the terminal.
pub(crate) fn printed(line: &str, columns: u16) -> String {
    let output = inspect(line, columns);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= usize::from(columns), "{line}");
    }
    format!("{text}exit code {}", output.status.code().unwrap())
}

fn json(line: &str) -> String {
    let output = inspect(&format!("{line} --json"), 80);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let json = serde_json::to_string_pretty(&json).unwrap();
    format!("{json}\nexit code {}", output.status.code().unwrap())
}

#[test]
fn exit_codes_tell_what_was_found() {
    for (expected, line) in [
        (0, "boot-log HEALTHY/bios.bin"),
        (0, "boot-log HEALTHY/bios.bin --pcrs HEALTHY/pcrs.json"),
        (1, "boot-log ALTERED/bios.bin --pcrs HEALTHY/pcrs.json"),
        (0, "boot-log HEALTHY/bios.bin --against HEALTHY/bios.bin"),
        (1, "boot-log HEALTHY/bios.bin --against ALTERED/bios.bin"),
        (
            1,
            "boot-log HEALTHY/bios.bin --against HEALTHY/bios.bin --pcrs ALTERED/pcrs.json",
        ),
        (2, "boot-log HEALTHY/bios.bin --against HEALTHY/quote.msg"),
        (2, "boot-log HEALTHY/quote.msg"),
        (2, "boot-log HEALTHY/bios.bin --pcrs HEALTHY/ak.pub"),
        (2, "boot-log HEALTHY/none"),
        (2, "boot-log"),
        (0, "ima HEALTHY/ima.bin"),
        (0, "ima HEALTHY/ima.bin --pcrs HEALTHY/pcrs.json"),
        (1, "ima HEALTHY/ima.bin --pcrs ALTERED/pcrs.json"),
        (2, "ima HEALTHY/bios.bin"),
        (
            1,
            "quote --ak ALTERED/ak.pub --message HEALTHY/quote.msg --signature HEALTHY/quote.sig",
        ),
        (
            2,
            "quote --ak HEALTHY/ekcert.der --message HEALTHY/quote.msg --signature HEALTHY/quote.sig",
        ),
        (
            2,
            "quote --ak HEALTHY/ak.pub --message HEALTHY/quote.sig --signature HEALTHY/quote.sig",
        ),
        (
            2,
            "ek-certificate HEALTHY/ekcert.der --roots HEALTHY/ak.pub",
        ),
        (2, "ek-certificate HEALTHY/ekcert.der"),
        (
            2,
            "ek-certificate HEALTHY/ak.pub --roots PROFILES/localca.pem",
        ),
        (
            0,
            "ek-certificate HEALTHY/ekcert.der --roots PROFILES/localca.pem --at 2027-01-15T08:00:00Z",
        ),
        (
            1,
            "ek-certificate HEALTHY/ekcert.der --roots PROFILES/localca.pem --at 2020-01-15T08:00:00Z",
        ),
        (
            2,
            "ek-certificate HEALTHY/ekcert.der --roots PROFILES/localca.pem --at yesterday",
        ),
    ] {
        assert_eq!(code(line), expected, "{line}");
    }
    for (expected, rest) in [
        (0, "--pcrs HEALTHY/pcrs.json"),
        (1, "--pcrs ALTERED/pcrs.json"),
        (0, "--nonce 00112233445566778899aabbccddeeff"),
        (0, "--nonce 0x00112233445566778899AABBCCDDEEFF"),
        (1, "--nonce 00"),
        (2, "--nonce not-hex"),
    ] {
        assert_eq!(code(&format!("{QUOTE} {rest}")), expected, "{rest}");
    }
}

/// Values that nobody gave are no fault of the list.
#[test]
fn a_file_without_the_values_that_replay_needs_is_said_to_be_short() {
    let json = std::fs::read(format!("{PROFILES}/shim_sb/pcrs.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let values = json["pcrs"]["sha256"].as_object_mut().unwrap();
    for pcr in 1..=9 {
        values.remove(&pcr.to_string());
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pcrs");
    std::fs::write(&file, json.to_string()).unwrap();
    let output = inspect(
        &format!("ima HEALTHY/ima.bin --pcrs {}", file.display()),
        80,
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("its sha256 bank has no PCR 1-9"), "{said}");
}

/// The printed form of the values replays as the JSON form does.
#[test]
fn values_as_tpm2_pcrread_prints_them_replay() {
    let json = std::fs::read(format!("{PROFILES}/shim_sb/pcrs.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mut text = "  sha1:\n  sha256:\n".to_owned();
    for (pcr, value) in json["pcrs"]["sha256"].as_object().unwrap() {
        let value = value.as_str().unwrap().to_uppercase();
        text.push_str(&format!("    {pcr:<2}: 0x{value}\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pcrs");
    std::fs::write(&file, text).unwrap();
    let file = file.display();
    for line in [
        format!("boot-log HEALTHY/bios.bin --pcrs {file}"),
        format!("ima HEALTHY/ima.bin --pcrs {file}"),
        format!("{QUOTE} --pcrs {file}"),
    ] {
        assert_eq!(code(&line), 0, "{line}");
    }
    assert_eq!(code(&format!("boot-log ALTERED/bios.bin --pcrs {file}")), 1);
}

#[test]
fn a_boot_log_is_a_picture_of_the_boot() {
    let line = "boot-log HEALTHY/bios.bin --pcrs HEALTHY/pcrs.json";
    insta::assert_snapshot!("boot_log_80", printed(line, 80));
    insta::assert_snapshot!("boot_log_200", printed(line, 200));
    insta::assert_snapshot!("boot_log_json", json(line));
    let line = "boot-log ALTERED/bios.bin --pcrs HEALTHY/pcrs.json";
    insta::assert_snapshot!("boot_log_of_another_boot", printed(line, 120));
}

#[test]
fn a_boot_log_against_another_tells_what_changed() {
    let line = "boot-log ALTERED/bios.bin --against HEALTHY/bios.bin";
    insta::assert_snapshot!("against_80", printed(line, 80));
    insta::assert_snapshot!("against_200", printed(line, 200));
    insta::assert_snapshot!("against_json", json(line));
}

#[test]
fn a_runtime_list_is_summed_up() {
    let line = "ima HEALTHY/ima.bin --pcrs HEALTHY/pcrs.json";
    insta::assert_snapshot!("ima_80", printed(line, 80));
    insta::assert_snapshot!("ima_json", json(line));
    let line = "ima HEALTHY/ima.bin --pcrs ALTERED/pcrs.json";
    insta::assert_snapshot!("ima_of_another_boot", printed(line, 80));
}

#[test]
fn a_quote_is_told_check_by_check() {
    let line = format!("{QUOTE} --nonce 00112233445566778899aabbccddeeff --pcrs HEALTHY/pcrs.json");
    insta::assert_snapshot!("quote_80", printed(&line, 80));
    insta::assert_snapshot!("quote_200", printed(&line, 200));
    insta::assert_snapshot!("quote_json", json(&line));
    let line = format!("{QUOTE} --nonce 00 --pcrs ALTERED/pcrs.json");
    insta::assert_snapshot!("quote_of_another_boot", printed(&line, 80));
}

#[test]
fn a_certificate_is_followed_to_its_root() {
    let line = "ek-certificate HEALTHY/ekcert.der --roots PROFILES/localca.pem --class simulator \
                --at 2027-01-15T08:00:00Z";
    insta::assert_snapshot!("ek_certificate_80", printed(line, 80));
    insta::assert_snapshot!("ek_certificate_json", json(line));
    let line =
        "ek-certificate HEALTHY/ekcert.der --roots PROFILES/localca.pem --at 2020-01-15T08:00:00Z";
    insta::assert_snapshot!("ek_certificate_too_early", printed(line, 80));
}
