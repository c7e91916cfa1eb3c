//! `touchstone inspect`: 0 where it verifies, 1 where it does not, 2 where it cannot be parsed.

use std::process::Output;

use touchstone_tests::programs;

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles/shim_sb");
const ALTERED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tpm-sim/profiles/shim_sb_evil"
);

fn inspect(arguments: &[String]) -> Output {
    programs::command(&programs::path("touchstone"))
        .arg("inspect")
        .args(arguments)
        .arg("--json")
        .output()
        .unwrap()
}

fn code(line: &str) -> i32 {
    let arguments: Vec<String> = line
        .split_whitespace()
        .map(|word| word.replace("HEALTHY", PROFILE).replace("ALTERED", ALTERED))
        .collect();
    inspect(&arguments).status.code().unwrap()
}

#[test]
fn exit_codes_tell_what_was_found() {
    for (expected, line) in [
        (0, "boot-log HEALTHY/bios.bin"),
        (0, "boot-log HEALTHY/bios.bin --pcrs HEALTHY/pcrs.json"),
        (1, "boot-log ALTERED/bios.bin --pcrs HEALTHY/pcrs.json"),
        (2, "boot-log HEALTHY/quote.msg"),
        (0, "ima HEALTHY/ima.bin --pcrs HEALTHY/pcrs.json"),
        (1, "ima HEALTHY/ima.bin --pcrs ALTERED/pcrs.json"),
        (2, "ima HEALTHY/bios.bin"),
        (
            0,
            "quote --ak HEALTHY/ak.pub --message HEALTHY/quote.msg --signature HEALTHY/quote.sig --pcrs HEALTHY/pcrs.json",
        ),
        (
            1,
            "quote --ak ALTERED/ak.pub --message HEALTHY/quote.msg --signature HEALTHY/quote.sig",
        ),
        (
            1,
            "quote --ak HEALTHY/ak.pub --message HEALTHY/quote.msg --signature HEALTHY/quote.sig --nonce 00",
        ),
        (
            2,
            "quote --ak HEALTHY/ekcert.der --message HEALTHY/quote.msg --signature HEALTHY/quote.sig",
        ),
        (
            2,
            "ek-certificate HEALTHY/ekcert.der --roots HEALTHY/ak.pub",
        ),
    ] {
        assert_eq!(code(line), expected, "{line}");
    }
}

#[test]
fn the_picture_of_a_boot_names_the_command_line_that_its_digest_proves() {
    let log = format!("{ALTERED}/bios.bin");
    let output = inspect(&["boot-log".to_owned(), log]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = shown["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["phase"] == "kernel command line")
        .unwrap();
    assert!(
        line["text"].as_str().unwrap().contains("debug evil=1"),
        "{line}"
    );
    assert_eq!(line["proven"], true);
}
