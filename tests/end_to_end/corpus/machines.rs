//! `vm/`: our own boots, with the whole evidence of each.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use touchstone_evidence::boot_log::{Bank, BootLog};
use touchstone_evidence::ima::{Entry, ImaList};
use touchstone_evidence::tpm::public::Public;

use super::{Corpus, pcr};
use crate::inspect::printed;

const MACHINES: [&str; 6] = [
    "base",
    "t_cmdline",
    "t_root",
    "shim_sb",
    "shim_sb_evil",
    "uki",
];
/// After the machines were made.
const NOW: &str = "2027-01-15T08:00:00Z";
const NONCE: &str = "00112233445566778899aabbccddeeff";

pub(super) fn our_boots_verify_wholly(corpus: &mut Corpus) {
    let serial = corpus.text("vm/localca/certserial");
    assert!(serial.trim().parse::<u64>().is_ok(), "{serial}");
    for machine in MACHINES {
        let at = format!("vm/{machine}");
        for line in [
            format!("boot-log {at}/bios.bin --pcrs {at}/pcrs.json"),
            format!("ima {at}/ima.bin --pcrs {at}/pcrs.json"),
            format!(
                "quote --ak {at}/ak.pub --message {at}/quote.msg --signature {at}/quote.sig \
                 --nonce {NONCE} --pcrs {at}/pcrs.json"
            ),
        ] {
            let (exit, shown) = corpus.inspect(&line);
            assert_eq!(exit, 0, "{line}: {shown}");
        }
        certificate_chains(corpus, &at);
        command_line_is_the_measured_one(corpus, &at);
        list_is_as_the_kernel_prints_it(corpus, &at);
        values_are_those_of_the_tool(corpus, &at);
    }
}

fn certificate_chains(corpus: &mut Corpus, at: &str) {
    let (exit, shown) = corpus.inspect(&format!(
        "ek-certificate {at}/ekcert.der --class simulator --at {NOW} \
         --roots vm/localca/swtpm-localca-rootca-cert.pem --roots vm/localca/issuercert.pem"
    ));
    assert_eq!(exit, 0, "{shown}");
    assert_eq!(shown["class"], "simulator");
    assert_eq!(
        shown["path"].as_array().unwrap().len(),
        3,
        "EK, issuer, root"
    );
    let ek = corpus.bytes(&format!("{at}/ek.pub"));
    let ek = Public::parse(&ek[2..]).unwrap();
    assert_eq!(shown["ek_digest"], ek.spki_digest().to_string());
    let line =
        format!("ek-certificate {at}/ekcert.der --at {NOW} --roots vm/localca/issuercert.pem");
    assert_eq!(corpus.inspect(&line).0, 1, "without the root");
}

fn command_line_is_the_measured_one(corpus: &mut Corpus, at: &str) {
    let running = corpus.text(&format!("{at}/cmdline"));
    // GRUB measures the file's name where the kernel is told BOOT_IMAGE=.
    let running = running.trim_end().trim_start_matches("BOOT_IMAGE=");
    let log = BootLog::parse(&corpus.bytes(&format!("{at}/bios.bin"))).unwrap();
    let lines = log.command_lines(Bank::Sha256);
    assert!(!lines.is_empty(), "{at}");
    assert!(lines.iter().all(|line| line.is(running)), "{at}: {lines:?}");
}

/// `ima.txt` is the same list, by the kernel's own printing.
fn list_is_as_the_kernel_prints_it(corpus: &mut Corpus, at: &str) {
    let bytes = corpus.bytes(&format!("{at}/ima.bin"));
    let list = ImaList::parse(&bytes).unwrap();
    let ours: Vec<String> = list
        .untrusted_entries()
        .map(|entry| {
            let Entry::Measured(entry) = entry else {
                panic!("{at} has no violations")
            };
            let digest = hex::encode(entry.digest);
            format!("{}:{digest} {}", entry.algorithm.name(), entry.path)
        })
        .collect();
    let printed = corpus.text(&format!("{at}/ima.txt"));
    let printed: Vec<String> = printed
        .lines()
        .map(|line| {
            line.split_whitespace()
                .skip(3)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(ours, printed, "{at}");
}

/// `quote.pcrs` is what `tpm2_quote -o` writes: a selection, then digests in its own form.
fn values_are_those_of_the_tool(corpus: &mut Corpus, at: &str) {
    let json = corpus.json(&format!("{at}/pcrs.json"));
    let written = corpus.bytes(&format!("{at}/quote.pcrs"));
    let mut found = 0;
    for index in 0..24 {
        let Some(value) = pcr(&json, "sha256", index) else {
            continue;
        };
        if index < 15 {
            let there = written.windows(32).any(|window| window == value);
            assert!(there, "{at}: PCR {index}");
            found += 1;
        }
    }
    assert_eq!(found, 15, "{at}");
}

/// Without Secure Boot and GRUB: a kernel started by the firmware, and a unified kernel image.
pub(super) fn other_ways_to_boot_look_right(corpus: &mut Corpus) {
    for machine in ["base", "uki"] {
        let [log, pcrs] =
            ["bios.bin", "pcrs.json"].map(|file| corpus.path(&format!("vm/{machine}/{file}")));
        let line = format!("boot-log {} --pcrs {}", log.display(), pcrs.display());
        insta::assert_snapshot!(machine, printed(&line, 100));
    }
}

pub(super) fn tampering_is_told_exactly(corpus: &mut Corpus) {
    let mut differences = |changed: &str, good: &str| -> (i32, Vec<Value>) {
        let line = format!("boot-log vm/{changed}/bios.bin --against vm/{good}/bios.bin");
        let (exit, shown) = corpus.inspect(&line);
        (exit, shown["differences"].as_array().unwrap().clone())
    };

    // grub.cfg was altered: its digest, the command, the command line twice.
    let (exit, evil) = differences("shim_sb_evil", "shim_sb");
    assert_eq!((exit, evil.len()), (1, 4), "{evil:?}");
    let pcrs: BTreeSet<u64> = evil.iter().map(|it| it["pcr"].as_u64().unwrap()).collect();
    assert_eq!(pcrs, BTreeSet::from([8, 9]));
    assert!(evil.iter().all(|it| it["change"] == "changed"), "{evil:?}");
    let says = |it: &&Value| {
        it["observed"]["text"]
            .as_str()
            .unwrap()
            .contains("debug evil=1")
    };
    assert_eq!(evil.iter().filter(says).count(), 3);

    let (exit, line) = differences("t_cmdline", "base");
    assert_eq!((exit, line.len()), (1, 1), "{line:?}");
    assert_eq!(line[0]["pcr"], 9);
    assert_eq!(line[0]["observed"]["phase"], "kernel command line");

    // Only a file of the root was changed: the boot is the same, the list is not.
    let (exit, root) = differences("t_root", "base");
    assert_eq!((exit, root.len()), (0, 0), "{root:?}");
    let [good, changed] = ["base", "t_root"].map(|machine| {
        let printed = corpus.text(&format!("vm/{machine}/ima.txt"));
        printed.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(good.len(), changed.len());
    let differing: Vec<_> = good.iter().zip(&changed).filter(|(a, b)| a != b).collect();
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].1.contains(" /usr/bin/jq"));
    let crossed = corpus.inspect("ima vm/t_root/ima.bin --pcrs vm/base/pcrs.json");
    assert_eq!(crossed.0, 1);
    assert_eq!(
        crossed.1["banks"]["sha256"]["code"],
        json!("ima-replay-mismatch")
    );
}
