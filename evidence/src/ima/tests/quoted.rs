//! What the quoted PCRs must hold for a list to be of this boot.

use std::ops::Range;

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
}

#[test]
fn which_pcrs_an_aggregate_is_over_is_found_out() {
    let of = |pcrs: Range<u8>, size: usize| -> Vec<u8> {
        pcrs.flat_map(|pcr| vec![pcr; size]).collect()
    };
    for (bank, aggregate, expected) in [
        (
            Bank::Sha256,
            d_ng("sha256", &sha256(&of(0..8, 32))),
            Ok(BootAggregate::PcrsTo7),
        ),
        // No kernel writes one of SHA-1 over PCRs 0 to 9.
        (
            Bank::Sha1,
            d_ng("sha1", &sha1(&of(0..10, 20))),
            Err("ima-boot-aggregate-mismatch"),
        ),
        // Of a bank that nobody quoted: said, not passed over.
        (
            Bank::Sha256,
            d_ng("sha1", &[1; 20]),
            Ok(BootAggregate::BankUnquoted),
        ),
    ] {
        let list = record("ima-ng", &[&aggregate, b"boot_aggregate\0"]);
        let boot = Boot::with_list(bank, list);
        let found = boot
            .replay()
            .map(|(_, state)| state.boot_aggregate.unwrap());
        let expected = expected.map_err(str::to_owned);
        assert_eq!(found.map_err(|error| error.finding().code), expected);
    }
}

#[test]
fn a_list_begins_with_the_aggregate() {
    for first in [file("/boot_aggregate"), violation(b"boot_aggregate\0")] {
        let boot = Boot::with_list(Bank::Sha256, first);
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
