//! The order of events within a PCR: one separator between firmware and what it starts, and nothing
//! of the firmware after it (PFP §3.3.4 and §10.4.1, EV_SEPARATOR).
//!
//! Only the order within one PCR is proven by replay, never that between two.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::bank::{Bank, BankDigest};
use super::kind::{self, name};
use super::{BootLog, Event};
use crate::finding::Finding;

/// PCRs that firmware closes with a separator.
const SEPARATED: std::ops::RangeInclusive<u8> = 0..=7;

/// What may be measured into PCRs 0–7 after their separators. PFP §3.3.4 says what belongs into each;
/// the rest is what firmware does (`seen`: in the logs of real machines that tests replay).
const AFTER_SEPARATOR: [(u8, &[u32]); 8] = [
    // Firmware code ends where the boot manager begins.
    (0, &[]),
    // Seen: boot variables, SMBIOS tables and driver variables on several server boards.
    (
        1,
        &[
            kind::EFI_VARIABLE_BOOT,
            kind::EFI_VARIABLE_BOOT2,
            kind::EFI_VARIABLE_DRIVER_CONFIG,
            kind::EFI_HANDOFF_TABLES,
            kind::EFI_HANDOFF_TABLES2,
            kind::ACTION,
            kind::EFI_ACTION,
        ],
    ),
    // Drivers that boot manager or boot loader start (EDK2 DxeTpm2MeasureBootLib), and their settings.
    (
        2,
        &[
            kind::EFI_BOOT_SERVICES_DRIVER,
            kind::EFI_RUNTIME_SERVICES_DRIVER,
        ],
    ),
    (3, &[kind::EFI_VARIABLE_DRIVER_CONFIG]),
    // Boot attempts and what they start; the first four of conventional BIOS.
    (
        4,
        &[
            kind::ACTION,
            kind::COMPACT_HASH,
            kind::IPL,
            kind::OMIT_BOOT_DEVICE_EVENTS,
            kind::EFI_ACTION,
            kind::EFI_BOOT_SERVICES_APPLICATION,
        ],
    ),
    // Partition tables, ExitBootServices; EV_EVENT_TAG: loader.conf of systemd-boot.
    (
        5,
        &[
            kind::ACTION,
            kind::EVENT_TAG,
            kind::IPL,
            kind::IPL_PARTITION_DATA,
            kind::EFI_ACTION,
            kind::EFI_GPT_EVENT,
            kind::EFI_GPT_EVENT2,
            kind::EFI_VARIABLE_BOOT,
            kind::EFI_VARIABLE_BOOT2,
        ],
    ),
    // The manufacturer's own.
    (6, &[kind::COMPACT_HASH]),
    // Which authority was used; seen: `DMA Protection Disabled`.
    (7, &[kind::EFI_VARIABLE_AUTHORITY, kind::EFI_ACTION]),
];

/// Events that may have the digest of a separator and be none: four zero bytes of firmware. Seen: a FIT
/// entry of a GCE host; the others are numbers and flags that can be zero. Never in PCR 7, where a hidden
/// separator would let the running system append a Secure Boot policy of its own.
const LIKE_SEPARATOR: [(u8, u32); 3] = [
    (0, kind::S_CRTM_CONTENTS),
    (1, kind::CPU_MICROCODE),
    (1, kind::PLATFORM_CONFIG_FLAGS),
];

/// EV_EFI_ACTION strings (PFP §10.4.4).
const EXIT_INVOKED: &[u8] = b"Exit Boot Services Invocation";
const EXIT_FAILED: &[u8] = b"Exit Boot Services Returned with Failure";
const EXIT_SUCCEEDED: &[u8] = b"Exit Boot Services Returned with Success";
pub(super) const EXIT_STEPS: [&[u8]; 3] = [EXIT_INVOKED, EXIT_FAILED, EXIT_SUCCEEDED];

/// A breach of the order of events. At most one of each kind for each PCR is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// PCR 0–7 without a separator.
    #[error("PCR {pcr} has no separator")]
    SeparatorMissing {
        /// The PCR.
        pcr: u8,
    },
    /// A second separator in PCR 0–7.
    #[error("event {event} is a second separator of PCR {pcr}")]
    SeparatorDoubled {
        /// The PCR.
        pcr: u8,
        /// Position in the log.
        event: usize,
    },
    /// A separator that is neither 00000000 nor FFFFFFFF (00000001 tells of an error of the firmware),
    /// or whose digest is of something else.
    #[error("event {event} is not a sound separator of PCR {pcr}")]
    SeparatorInvalid {
        /// The PCR.
        pcr: u8,
        /// Position in the log.
        event: usize,
    },
    /// The digest of a separator under another type.
    #[error("event {event} of PCR {pcr} has the digest of a separator and another type")]
    SeparatorRelabelled {
        /// The PCR.
        pcr: u8,
        /// Position in the log.
        event: usize,
    },
    /// An event of the firmware after it handed over.
    #[error("event {event} of PCR {pcr} follows the separator: {}", name(*.untrusted_kind).unwrap_or("unknown type"))]
    AfterSeparator {
        /// The PCR.
        pcr: u8,
        /// Position in the log.
        event: usize,
        /// Its type.
        untrusted_kind: u32,
    },
    /// An event of PCR 0–7 after `Exit Boot Services Returned with Success`, a second one included.
    #[error("event {event} of PCR {pcr} follows the end of boot services")]
    AfterExit {
        /// The PCR.
        pcr: u8,
        /// Position in the log.
        event: usize,
    },
    /// A variable of the Secure Boot policy (PCR 7) whose digest is not that of its data, which
    /// PFP §10.4.2 demands.
    #[error("the digest of event {event} of PCR {pcr} is not that of its data")]
    DataMismatch {
        /// The PCR.
        pcr: u8,
        /// Position in the log.
        event: usize,
    },
}

impl Disorder {
    /// The PCR that it is about.
    #[must_use]
    pub fn pcr(&self) -> u8 {
        match self {
            Self::SeparatorMissing { pcr }
            | Self::SeparatorDoubled { pcr, .. }
            | Self::SeparatorInvalid { pcr, .. }
            | Self::SeparatorRelabelled { pcr, .. }
            | Self::AfterSeparator { pcr, .. }
            | Self::AfterExit { pcr, .. }
            | Self::DataMismatch { pcr, .. } => *pcr,
        }
    }

    /// The breach as a finding.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let code = match self {
            Self::SeparatorMissing { .. } => "boot-log-separator-missing",
            Self::SeparatorDoubled { .. } => "boot-log-separator-doubled",
            Self::SeparatorInvalid { .. } => "boot-log-separator-invalid",
            Self::SeparatorRelabelled { .. } => "boot-log-separator-relabelled",
            Self::AfterSeparator { .. } => "boot-log-event-after-separator",
            Self::AfterExit { .. } => "boot-log-event-after-exit",
            Self::DataMismatch { .. } => "boot-log-data-mismatch",
        };
        Finding::new(code)
            .about(format_args!("PCR {}", self.pcr()))
            .observed(self)
    }
}

impl BootLog {
    /// What in the log is not in the order of PFP §3.3.4, judged by the digests of `bank`. Empty for a
    /// sound log; for a bank that the log does not have nothing is sound.
    #[must_use]
    pub fn disorder(&self, bank: Bank) -> Vec<Disorder> {
        let mut walk = Walk {
            bank,
            separators: [[0; 4], [0xff; 4]].map(|value| bank.hash(&value)),
            closed: BTreeSet::new(),
            exited: false,
            breaches: Vec::new(),
        };
        for event in &self.events {
            if SEPARATED.contains(&event.pcr) {
                walk.step(event);
            }
        }
        for pcr in SEPARATED {
            if !walk.closed.contains(&pcr) {
                walk.breach(Disorder::SeparatorMissing { pcr });
            }
        }
        walk.breaches
    }

    /// How the firmware handed over to the operating system. Several real firmwares do not say.
    #[must_use]
    pub fn exit_boot_services(&self, bank: Bank) -> ExitBootServices {
        ExitBootServices::of(&self.events, bank)
    }
}

struct Walk {
    bank: Bank,
    /// Digests of the two right separators.
    separators: [Option<BankDigest>; 2],
    closed: BTreeSet<u8>,
    exited: bool,
    breaches: Vec<Disorder>,
}

impl Walk {
    fn step(&mut self, event: &Event) {
        let (pcr, number) = (event.pcr, event.number);
        let kind = event.untrusted_kind;
        if self.exited {
            self.breach(Disorder::AfterExit { pcr, event: number });
        }
        if kind == kind::SEPARATOR {
            if !self.sound_separator(event) {
                self.breach(Disorder::SeparatorInvalid { pcr, event: number });
            }
            if !self.closed.insert(pcr) {
                self.breach(Disorder::SeparatorDoubled { pcr, event: number });
            }
            return;
        }
        if self.separator_digest(event) && !LIKE_SEPARATOR.contains(&(pcr, kind)) {
            self.breach(Disorder::SeparatorRelabelled { pcr, event: number });
        }
        if self.closed.contains(&pcr) && !may_follow(pcr, kind) {
            self.breach(Disorder::AfterSeparator {
                pcr,
                event: number,
                untrusted_kind: kind,
            });
        }
        let variable = pcr == 7 && kind == kind::EFI_VARIABLE_DRIVER_CONFIG;
        if variable && !event.proves_data(self.bank) {
            self.breach(Disorder::DataMismatch { pcr, event: number });
        }
        self.exited |= exit_step(event, self.bank) == Some(EXIT_SUCCEEDED);
    }

    fn separator_digest(&self, event: &Event) -> bool {
        let digest = event.digest(self.bank);
        digest.is_some() && self.separators.iter().any(|right| right.as_ref() == digest)
    }

    fn sound_separator(&self, event: &Event) -> bool {
        self.separator_digest(event) && event.proves_data(self.bank)
    }

    /// Keeps the first of each kind and PCR, so that a hostile log makes no long answer.
    fn breach(&mut self, breach: Disorder) {
        let same = |other: &Disorder| {
            other.pcr() == breach.pcr() && discriminant(other) == discriminant(&breach)
        };
        if !self.breaches.iter().any(same) {
            self.breaches.push(breach);
        }
    }
}

fn may_follow(pcr: u8, kind: u32) -> bool {
    AFTER_SEPARATOR
        .iter()
        .any(|(of, kinds)| *of == pcr && kinds.contains(&kind))
}

/// How often boot services were left (PFP §10.4.4), by proven events of PCR 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ExitBootServices {
    /// `Exit Boot Services Invocation`.
    pub invocations: usize,
    /// `Exit Boot Services Returned with Failure`; a kernel tries again.
    pub failures: usize,
    /// `Exit Boot Services Returned with Success`; one, or none where the firmware does not say.
    pub successes: usize,
}

impl ExitBootServices {
    pub(super) fn of(events: &[Event], bank: Bank) -> Self {
        let count = |step: &[u8]| {
            let same = |event: &&Event| exit_step(event, bank) == Some(step);
            events.iter().filter(same).count()
        };
        Self {
            invocations: count(EXIT_INVOKED),
            failures: count(EXIT_FAILED),
            successes: count(EXIT_SUCCEEDED),
        }
    }
}

/// The step that an event of PCR 5 tells, if its digest is that of the string.
fn exit_step(event: &Event, bank: Bank) -> Option<&'static [u8]> {
    if event.pcr != 5 || event.untrusted_kind != kind::EFI_ACTION {
        return None;
    }
    EXIT_STEPS
        .into_iter()
        .find(|step| event.untrusted_data == *step)
        .filter(|_| event.proves_data(bank))
}
