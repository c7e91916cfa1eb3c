//! Banks as software TPMs sign them: right ones, and every lie about them.

use super::audit::audit_digest_for_tests;
use super::*;
use crate::boot_log::kind;
use crate::boot_log::tests::{SHA1, SHA256, SHA384, SHA512, spec_id};
use crate::digest::Sha256Digest;
use crate::pcr::{PcrSelection, PcrValues};
use crate::tpm::reader::write_sized;
use crate::tpm::software::{SoftwareTpm, Statement};

const SM3: (u16, usize) = (0x12, 32);

/// One EV_S_CRTM_VERSION in each of the banks.
fn event(log: &mut Vec<u8>, banks: &[(u16, usize)], pcr: u32, measured: &[&[u8]], data: &[u8]) {
    event_of(log, banks, (pcr, kind::S_CRTM_VERSION), measured, data);
}

/// One event in each of the banks, of this data unless a bank is given other measured bytes.
fn event_of(
    log: &mut Vec<u8>,
    banks: &[(u16, usize)],
    (pcr, kind): (u32, u32),
    measured: &[&[u8]],
    data: &[u8],
) {
    log.extend(pcr.to_le_bytes());
    log.extend(kind.to_le_bytes());
    log.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for (at, (algorithm, size)) in banks.iter().enumerate() {
        log.extend(algorithm.to_le_bytes());
        let measured = measured.get(at).unwrap_or(&data);
        match Bank::of(*algorithm).hash(measured) {
            Some(digest) => log.extend(digest.as_bytes()),
            None => log.extend(vec![7; *size]),
        }
    }
    log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    log.extend(data);
}

/// A machine whose firmware measured into `banks`, with all that it can show of them.
struct Machine {
    tpm: SoftwareTpm,
    round: Sha256Digest,
    quote: Statement,
    log: Vec<u8>,
    /// `TPML_PCR_SELECTION` entries that are active, and that are quoted.
    active: Vec<(u16, u32)>,
    selection: Vec<(u16, u32)>,
    values: Vec<u8>,
}

const BOOT: u32 = 0b0100_0011_1111_1111;
const ALL: u32 = 0x00ff_ffff;

impl Machine {
    fn new(banks: &[(u16, usize)]) -> Self {
        let mut log = spec_id(banks, b"");
        event(&mut log, banks, 0, &[], b"version 1");
        event_of(
            &mut log,
            banks,
            (4, kind::EFI_BOOT_SERVICES_APPLICATION),
            &[&[1][..]; 16],
            b"a program, whose digest is of a file",
        );
        event(&mut log, banks, 14, &[], b"moklist");
        let tpm = SoftwareTpm::new();
        let round = Sha256Digest::of(b"round");
        let values = values_of(&log, banks);
        Self {
            quote: tpm.quote(&round, &PcrValues([(0, Sha256Digest::ZERO)].into())),
            tpm,
            round,
            active: banks.iter().map(|(bank, _)| (*bank, ALL)).collect(),
            selection: banks.iter().map(|(bank, _)| (*bank, BOOT)).collect(),
            log,
            values,
        }
    }

    fn authentic(&self, statement: &Statement) -> Authentic {
        Authentic::verify(&self.tpm.sign(statement), &self.tpm.ak, &self.round).unwrap()
    }

    fn quote(&self) -> VerifiedQuote {
        let values = PcrValues([(0, Sha256Digest::ZERO)].into());
        let selection = PcrSelection::try_from(vec![0]).unwrap();
        VerifiedQuote::verify(&self.authentic(&self.quote), selection, values).unwrap()
    }

    fn capability(&self) -> Vec<u8> {
        [&5u32.to_be_bytes()[..], &list(&self.active)].concat()
    }

    fn audit(&self) -> Statement {
        let mut body = vec![1];
        write_sized(&mut body, &audit_digest_for_tests(&self.capability())).unwrap();
        self.tpm.statement(&self.round, 0x8016, body)
    }

    fn bank_quote(&self) -> Statement {
        let mut body = list(&self.selection);
        write_sized(&mut body, &Sha256Digest::of(&self.values).0).unwrap();
        self.tpm.statement(&self.round, 0x8018, body)
    }

    fn active(&self) -> Result<ActiveBanks, BanksError> {
        ActiveBanks::verify(
            &self.authentic(&self.audit()),
            &self.capability(),
            &self.quote(),
        )
    }

    fn verify_with(&self, change: impl Fn(&mut Statement)) -> Result<Vec<Bank>, BanksError> {
        let mut statement = self.bank_quote();
        change(&mut statement);
        ReplayedBanks::verify(
            &self.active()?,
            &self.authentic(&statement),
            &self.values,
            &BootLog::parse(&self.log).unwrap(),
            &self.quote(),
        )
        .map(|proof| proof.banks().to_vec())
    }

    fn code(&self) -> String {
        match self.verify_with(|_| ()) {
            Ok(_) => "none".to_owned(),
            Err(error) => error.findings()[0].code.clone(),
        }
    }
}

fn list(banks: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = u32::try_from(banks.len()).unwrap().to_be_bytes().to_vec();
    for (bank, pcrs) in banks {
        bytes.extend(bank.to_be_bytes());
        bytes.push(3);
        bytes.extend(&pcrs.to_le_bytes()[..3]);
    }
    bytes
}

/// What a TPM with these banks quotes after this log.
fn values_of(log: &[u8], banks: &[(u16, usize)]) -> Vec<u8> {
    let log = BootLog::parse(log).unwrap();
    let mut bytes = Vec::new();
    for (algorithm, size) in banks {
        let replayed = log.replay(Bank::of(*algorithm)).unwrap_or_default();
        for pcr in BOOT_PCRS {
            match replayed.get(&pcr) {
                Some(value) => bytes.extend(value.as_bytes()),
                None => bytes.extend(vec![0; *size]),
            }
        }
    }
    bytes
}

#[test]
fn every_active_bank_replays_from_one_log() {
    for banks in [
        &[SHA256][..],
        &[SHA1, SHA256],
        &[SHA256, SHA384],
        &[SHA1, SHA256, SHA384, SHA512],
    ] {
        let machine = Machine::new(banks);
        let expected: Vec<Bank> = banks.iter().map(|(bank, _)| Bank::of(*bank)).collect();
        assert_eq!(machine.verify_with(|_| ()), Ok(expected));
        // Each value counts, in each bank.
        for at in (0..machine.values.len()).step_by(7) {
            let mut other = Machine::new(banks);
            other.values[at] ^= 1;
            assert_eq!(other.code(), "boot-log-bank-replay-mismatch", "{at}");
        }
    }
}

#[test]
fn a_bank_that_the_firmware_did_not_extend_is_found() {
    // SHA-1 and SHA-256 are active, the firmware extends SHA-1 alone, and the running system fills the
    // SHA-256 bank with the values of a known-good boot and serves a log of them.
    let mut filled = Machine::new(&[SHA256]);
    filled.active = vec![(4, ALL), (0x0b, ALL)];
    filled.selection = vec![(4, BOOT), (0x0b, BOOT)];
    let sha256 = filled.values.clone();
    filled.values = [vec![9; 20 * BOOT_PCRS.len()], sha256.clone()].concat();
    assert_eq!(filled.code(), "boot-log-banks-not-active");

    // It says that SHA-1 is not active, or does not quote it.
    let honest = filled.capability();
    filled.active = vec![(4, 0), (0x0b, ALL)];
    let shown = ActiveBanks::verify(&filled.authentic(&filled.audit()), &honest, &filled.quote());
    assert_eq!(shown, Err(BanksError::OtherAnswer));
    filled.active = vec![(4, ALL), (0x0b, ALL)];
    filled.selection = vec![(0x0b, BOOT)];
    filled.values = sha256;
    assert_eq!(filled.code(), "pcr-banks-selection-mismatch");

    // A log of both banks that does not lead to what the firmware left in SHA-1.
    let mut both = Machine::new(&[SHA1, SHA256]);
    both.values[..20].copy_from_slice(&[9; 20]);
    assert_eq!(both.code(), "boot-log-bank-replay-mismatch");

    // A log with the true digests in SHA-1 and others in SHA-256: their data tells on them.
    let mut split = Machine::new(&[SHA1, SHA256]);
    split.log = spec_id(&[SHA1, SHA256], b"");
    event(
        &mut split.log,
        &[SHA1, SHA256],
        0,
        &[b"version 0", b"version 1"],
        b"version 1",
    );
    split.values = values_of(&split.log, &[SHA1, SHA256]);
    assert_eq!(split.code(), "boot-log-banks-disagree");

    // Data of neither: where PFP says that the data is what is measured, and in PCRs whose events all say
    // what was measured, whatever their type claims.
    for (kind, pcr, code) in [
        (kind::S_CRTM_VERSION, 0, "boot-log-event-unproven"),
        (
            kind::EFI_VARIABLE_DRIVER_CONFIG,
            1,
            "boot-log-event-unproven",
        ),
        (kind::POST_CODE, 7, "boot-log-event-unproven"),
        (kind::POST_CODE, 8, "boot-log-event-unproven"),
        (kind::POST_CODE, 0, "none"),
        (kind::EFI_BOOT_SERVICES_APPLICATION, 4, "none"),
    ] {
        for banks in [&[SHA1, SHA256][..], &[SHA256]] {
            let mut opaque = Machine::new(banks);
            opaque.log = spec_id(banks, b"");
            let measured = [&b"one boot"[..], b"another boot"];
            event_of(&mut opaque.log, banks, (pcr, kind), &measured, b"neither");
            opaque.values = values_of(&opaque.log, banks);
            // With one bank there is no other boot to tell of.
            let code = if banks.len() > 1 { code } else { "none" };
            assert_eq!(opaque.code(), code, "{kind:#x} in PCR {pcr}");
        }
    }

    // Events of one bank each: an event must have a digest of every active bank.
    let mut disjoint = Machine::new(&[SHA1, SHA256]);
    let mut event = [0u32, 8, 1].map(u32::to_le_bytes).concat();
    event.extend(4u16.to_le_bytes());
    event.extend([1; 20]);
    event.extend([0; 4]);
    disjoint.log.extend(event);
    disjoint.values = values_of(&disjoint.log, &[SHA1, SHA256]);
    assert_eq!(disjoint.code(), "boot-log-bank-digest-missing");
}

#[test]
fn banks_of_which_nothing_can_be_said_are_refused() {
    let mut unknown = Machine::new(&[SHA256]);
    unknown.active.push((SM3.0, ALL));
    assert_eq!(unknown.code(), "pcr-bank-unknown");
    let mut partial = Machine::new(&[SHA256]);
    partial.active.push((4, 1));
    assert_eq!(partial.code(), "pcr-bank-partial");
    // Known to the TPM and switched off.
    let mut off = Machine::new(&[SHA256]);
    off.active.extend([(4, 0), (SM3.0, 0)]);
    assert_eq!(off.code(), "none");
}

#[test]
fn the_two_statements_are_what_they_should_be() {
    let machine = Machine::new(&[SHA1, SHA256]);
    let (quote, active) = (machine.quote(), machine.active().unwrap());
    let capability = machine.capability();
    let audited = |statement: &Statement, capability: &[u8]| {
        ActiveBanks::verify(&machine.authentic(statement), capability, &quote)
    };
    // A quote in place of the audit, and the audit in place of the quote.
    assert_eq!(
        audited(&machine.bank_quote(), &capability),
        Err(BanksError::NotAnAudit)
    );
    let log = BootLog::parse(&machine.log).unwrap();
    let audit = machine.authentic(&machine.audit());
    let replayed = ReplayedBanks::verify(&active, &audit, &machine.values, &log, &quote);
    assert_eq!(replayed, Err(BanksError::NotAQuote));

    // What is no list of banks, audited all the same: other capability, cut, longer.
    for (odd, error) in [
        (
            [&1u32.to_be_bytes()[..], &capability[4..]].concat(),
            TpmFormatError::Unknown("capability"),
        ),
        (
            capability[..capability.len() - 1].to_vec(),
            TpmFormatError::Truncated,
        ),
        (
            [&capability[..], &[0]].concat(),
            TpmFormatError::Trailing(1),
        ),
    ] {
        let mut body = vec![0];
        write_sized(&mut body, &audit_digest_for_tests(&odd)).unwrap();
        let statement = machine.tpm.statement(&machine.round, 0x8016, body);
        assert_eq!(audited(&statement, &odd), Err(BanksError::Malformed(error)));
    }

    // Values that are too few or too many, quoted all the same.
    for values in [
        machine.values[1..].to_vec(),
        [&machine.values[..], &[0]].concat(),
    ] {
        let mut odd = Machine::new(&[SHA1, SHA256]);
        odd.values = values;
        assert_eq!(odd.code(), "pcr-banks-values-incomplete");
    }
    let statement = machine.authentic(&machine.bank_quote());
    let mut other = machine.values.clone();
    other[0] ^= 1;
    let replayed = ReplayedBanks::verify(&active, &statement, &other, &log, &quote);
    assert_eq!(replayed, Err(BanksError::Digest));
}

#[test]
fn all_statements_are_of_one_round() {
    let machine = Machine::new(&[SHA256]);
    type Lie = (fn(&mut Statement), &'static str);
    let lies: [Lie; 4] = [
        (
            |lie| lie.clock.reset_count += 1,
            "round-reset-count-differs",
        ),
        (
            |lie| lie.clock.restart_count += 1,
            "round-restart-count-differs",
        ),
        (|lie| lie.firmware += 1, "round-firmware-differs"),
        (|lie| lie.clock.clock -= 1, "round-clock-fell"),
    ];
    for (lie, code) in lies {
        let quoted = machine.verify_with(lie).unwrap_err();
        assert_eq!(quoted.findings()[0].code, code);
        let mut audit = machine.audit();
        lie(&mut audit);
        let audited = ActiveBanks::verify(
            &machine.authentic(&audit),
            &machine.capability(),
            &machine.quote(),
        );
        assert_eq!(audited.unwrap_err().findings()[0].code, code);
    }
    assert!(machine.verify_with(|later| later.clock.clock += 1).is_ok());
}

#[test]
fn real_logs_agree_in_all_their_banks() {
    let Some(corpus) = crate::corpus::folder("no real log was compared") else {
        return;
    };
    let (mut several, mut disagree) = (0, Vec::new());
    for entry in std::fs::read_dir(corpus.join("boot")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(log) = std::fs::read(&path).map(|bytes| BootLog::parse(&bytes)) else {
            continue;
        };
        let Ok(log) = log else { continue };
        let banks: Vec<Bank> = log.banks().to_vec();
        several += usize::from(banks.len() > 1);
        if banks.iter().all(|bank| log.lacking(*bank).is_none()) && agree(&log, &banks).is_err() {
            disagree.push(path);
        }
    }
    eprintln!("{several} logs with several banks, of which disagree: {disagree:?}");
    assert!(several > 10 && disagree.is_empty(), "{disagree:?}");
}
