//! What the quoted PCRs must hold for a list to be of this boot.

use super::workshop::*;
use super::*;

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
