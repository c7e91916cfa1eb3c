//! `boot/` and `boot/quirks/`: logs of real machines.

use serde_json::{Value, json};
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::tpm::attest::{Attest, Attested};
use touchstone_evidence::tpm::hash::Hash;
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::signature::Signature;

use super::{Corpus, pcr};

/// A log with PCR values beside it, and what is to come of it.
struct Recorded {
    name: &'static str,
    exit: i32,
    /// Bank → outcome, and the PCRs that replay or differ.
    banks: &'static [(&'static str, &'static str, &'static [u8])],
    secure_boot: Option<bool>,
}

const TO_7: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7];
const TO_8: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8];
const TO_9: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const ALL: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14];
const SAME: &str = "replays";
const OTHER: &str = "differs";

const fn log(
    name: &'static str,
    exit: i32,
    banks: &'static [(&'static str, &'static str, &'static [u8])],
    secure_boot: Option<bool>,
) -> Recorded {
    Recorded {
        name,
        exit,
        banks,
        secure_boot,
    }
}

const RECORDED: [Recorded; 14] = [
    log(
        "gcp-cos-101-amd-sev",
        0,
        &[("sha1", SAME, ALL), ("sha256", SAME, ALL)],
        Some(true),
    ),
    log("gcp-debian-10", 0, &[("sha1", SAME, TO_7)], Some(true)),
    log(
        "gcp-glinux-alex",
        0,
        &[("sha1", SAME, TO_7), ("sha256", SAME, TO_7)],
        Some(false),
    ),
    log(
        "gcp-rhel8-uefi",
        0,
        &[("sha1", SAME, ALL), ("sha256", SAME, ALL)],
        Some(true),
    ),
    log(
        "gcp-ubuntu-2104-no-dbx",
        0,
        &[("sha1", SAME, ALL), ("sha256", SAME, ALL)],
        Some(false),
    ),
    log(
        "gcp-ubuntu-2104-no-secure-boot",
        0,
        &[("sha1", SAME, ALL), ("sha256", SAME, ALL)],
        Some(false),
    ),
    // It replays; this firmware gave Windows a log without separators, hence 1.
    log("goatt-windows-gcp", 1, &[("sha1", SAME, ALL)], Some(true)),
    log("guard-failed-1", 1, &[("sha256", OTHER, &[0])], Some(true)),
    log("guard-good-1", 0, &[("sha256", SAME, TO_8)], Some(true)),
    log(
        "guard-h12ssl",
        0,
        &[("sha1", SAME, ALL), ("sha256", SAME, ALL)],
        Some(false),
    ),
    log(
        "guard-ludmilla",
        0,
        &[
            ("sha1", SAME, ALL),
            ("sha256", SAME, ALL),
            ("sha384", "unused", &[]),
        ],
        Some(false),
    ),
    log(
        "guard-t480s",
        1,
        &[("sha1", OTHER, TO_9), ("sha256", SAME, ALL)],
        Some(true),
    ),
    log(
        "guard-test-HP-EliteBook-830-G6-add-mokx",
        0,
        &[("sha256", SAME, ALL)],
        Some(true),
    ),
    log(
        "guard-test-HP-EliteBook-830-G6-baseline",
        0,
        &[("sha256", SAME, ALL)],
        Some(true),
    ),
];

pub(super) fn logs_replay_as_recorded(corpus: &mut Corpus) {
    for log in RECORDED {
        let name = log.name;
        let line = format!("boot-log boot/{name}.log --pcrs boot/{name}.json");
        let (exit, shown) = corpus.inspect(&line);
        assert_eq!(exit, log.exit, "{name}: {:?}", shown["disorder"]);
        let mut told = shown["banks"].as_object().unwrap().clone();
        told.retain(|_, bank| bank["outcome"] != "no-values");
        assert_eq!(told.len(), log.banks.len(), "{name}: {told:?}");
        for (bank, outcome, pcrs) in log.banks {
            assert_eq!(told[*bank]["outcome"], *outcome, "{name} {bank}");
            if !pcrs.is_empty() {
                assert_eq!(told[*bank]["pcrs"], json!(pcrs), "{name} {bank}");
            }
        }
        assert_eq!(
            shown["secure_boot"]["enabled"],
            json!(log.secure_boot),
            "{name}"
        );
        let late = matches!(name, "gcp-glinux-alex" | "guard-good-1" | "guard-failed-1");
        let locality = u8::from(late) * 3;
        assert_eq!(shown["startup_locality"], locality, "{name}");
        let old = matches!(name, "gcp-debian-10" | "goatt-windows-gcp");
        assert_eq!(shown["form"] != "crypto-agile", old, "{name}");
        let disorder = shown["disorder"].as_array().unwrap();
        let expected = usize::from(name == "goatt-windows-gcp") * 7;
        assert_eq!(disorder.len(), expected, "{name}: {disorder:?}");
    }
    // The same log twice; in one of the machines PCR 0 is another.
    let good = corpus.bytes("boot/guard-good-1.log");
    assert_eq!(good, corpus.bytes("boot/guard-failed-1.log"));
}

pub(super) fn odd_logs_are_read_to_the_end(corpus: &mut Corpus) {
    // Exit code, events, notices.
    for (name, expected) in [
        ("ebs_event_missing_eventlog", (0, 38, 0)),
        ("event-moklisttrusted.bin", (0, 96, 0)),
        ("event-sd-boot-fedora37.bin", (0, 27, 0)),
        ("keylime-secureboot.bin", (0, 98, 0)),
        ("option_rom_eventlog", (0, 60, 1)),
        // A part of a log.
        ("sb_cert_eventlog", (1, 14, 0)),
        ("ubuntu-2404-amd-sevsnp.bin", (0, 116, 0)),
    ] {
        let (exit, shown) = corpus.inspect(&format!("boot-log boot/quirks/{name}"));
        let events = shown["events"].as_array().unwrap();
        let notices = shown["notices"].as_u64().unwrap();
        assert_eq!((exit, events.len(), notices), expected, "{name}");
        let told = |part: &str| {
            let says = |event: &&Value| event["text"].as_str().unwrap().contains(part);
            events.iter().filter(says).count()
        };
        match name {
            "ebs_event_missing_eventlog" => {
                let never = json!({ "invocations": 0, "failures": 0, "successes": 0 });
                assert_eq!(shown["exit_boot_services"], never);
            }
            "event-moklisttrusted.bin" => assert!(told("MokListTrusted") > 0),
            "event-sd-boot-fedora37.bin" => {
                let lines = shown["command_lines"].as_array().unwrap();
                assert!(
                    lines.iter().all(|line| line["source"] == "systemd"),
                    "{lines:?}"
                );
                assert_eq!(lines.len(), 2);
            }
            "ubuntu-2404-amd-sevsnp.bin" => {
                let level = shown["secure_boot"]["sbat_level"].as_str().unwrap();
                assert!(level.starts_with("sbat,1,"), "{level}");
            }
            "option_rom_eventlog" => {
                let of_roms = |event: &&Value| event["phase"] == "option ROMs and drivers";
                assert!(events.iter().filter(of_roms).count() > 2);
            }
            _ => {}
        }
    }
    // What another program printed for one of them: no log, and as many events.
    let printed = "boot/quirks/event-pretty_event-sd-boot-fedora37.bin.yaml";
    assert_eq!(corpus.inspect(&format!("boot-log {printed}")).0, 2);
    let events = corpus.text(printed).matches("- EventNum: ").count();
    assert_eq!(events, 27 + 1, "its Spec ID counts");
}

/// Where a quote stands beside the values. Only that of Windows has its key there too, and is refused.
pub(super) fn recorded_quotes_are_over_the_recorded_values(corpus: &mut Corpus) {
    for name in ["guard-good-1", "guard-failed-1"] {
        let json = corpus.json(&format!("boot/{name}.json"));
        let attest = Attest::parse(&field(&json, "quote")).unwrap();
        let Attested::Quote { selection, digest } = attest.attested else {
            panic!("{name} is no quote")
        };
        let selection = PcrSelection::only_sha256(&selection);
        let selection = selection.unwrap_or_else(|| panic!("{name} is not of SHA-256 alone"));
        let values: Option<Vec<_>> = selection
            .indices()
            .map(|index| pcr(&json, "sha256", index))
            .collect();
        let values = values.unwrap();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        assert_eq!(Hash::Sha256.digest(&values), digest, "{name}");
        Signature::parse(&field(&json, "signature")).unwrap();
    }

    let other_selection = |json: &Value| {
        let attest = Attest::parse(&field(json, "quote")).unwrap();
        let none = |attested| {
            matches!(
                attested,
                Attested::Quote { selection, .. } if PcrSelection::only_sha256(&selection).is_none()
            )
        };
        none(attest.attested)
    };
    let several = corpus.json("boot/guard-ludmilla.json");
    assert!(other_selection(&several), "it selects several banks");
    Signature::parse(&field(&several, "signature")).unwrap();
    let json = corpus.json("boot/goatt-windows-gcp.json");
    assert!(
        Public::parse(&field(&json, "ak_public")).is_err(),
        "its AK signs with SHA-1"
    );
    assert!(Signature::parse(&field(&json, "sig")).is_err());
    assert!(other_selection(&json), "its bank is SHA-1");
}

fn field(json: &Value, name: &str) -> Vec<u8> {
    hex::decode(json[name].as_str().unwrap()).unwrap()
}

/// MokListX is the one change of shim's lists; around it only what the firmware itself writes anew at
/// each such boot: its boot order and options.
pub(super) fn one_change_of_a_machine_is_told_exactly(corpus: &mut Corpus) {
    let machine = "boot/guard-test-HP-EliteBook-830-G6";
    let line = format!("boot-log {machine}-add-mokx.log --against {machine}-baseline.log");
    let (exit, shown) = corpus.inspect(&line);
    assert_eq!(exit, 1);
    let differences = shown["differences"].as_array().unwrap();
    let (shim, others): (Vec<_>, Vec<_>) = differences.iter().partition(|it| it["pcr"] == 14);
    assert_eq!(shim.len(), 1, "{shim:?}");
    assert_eq!(shim[0]["change"], "changed");
    assert_eq!(shim[0]["observed"]["text"], "MokListX");
    assert_eq!(shim[0]["expected"]["text"], "MokListX");
    for other in others {
        assert_eq!(other["pcr"], 1, "{other}");
        for side in ["expected", "observed"] {
            let Some(text) = other[side]["text"].as_str() else {
                continue;
            };
            assert!(text.contains("the log names it Boot"), "{other}");
        }
    }
    let (exit, shown) = corpus.inspect(&format!(
        "boot-log {machine}-baseline.log --against {machine}-baseline.log"
    ));
    assert_eq!(
        (exit, shown["differences"].as_array().unwrap().len()),
        (0, 0)
    );
}
