//! The boot log, and what of it is held against reference values.

use super::Sentence;

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "boot-event-changed",
        "{subject} differs: expected {expected}, saw {observed}",
    ),
    ("boot-log-absent", "the host sent no boot event log"),
    (
        "boot-log-bank-digest-missing",
        "the boot event log leaves out an active PCR bank: {observed}",
    ),
    (
        "boot-log-bank-missing",
        "the boot event log has no SHA-256 digests",
    ),
    (
        "boot-log-bank-replay-mismatch",
        "the boot event log does not lead to the quoted value of {subject}: it leads to {expected}, the TPM says {observed}",
    ),
    (
        "boot-log-banks-disagree",
        "the PCR banks of the boot event log tell of different boots: {observed}",
    ),
    (
        "boot-log-banks-not-active",
        "the boot event log is of the PCR banks {observed}, while {expected} are active: a bank that the firmware did not extend proves nothing",
    ),
    (
        "boot-log-data-mismatch",
        "a Secure Boot variable of the boot event log is not the one that was measured: {observed}",
    ),
    (
        "boot-log-digest-mismatch",
        "the boot event log is not the one that the host announced",
    ),
    (
        "boot-log-digests-malformed",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-event-after-exit",
        "the firmware's part of the boot event log goes on after boot services ended: {observed}",
    ),
    (
        "boot-log-event-after-separator",
        "the boot event log has an event of the firmware after it handed over: {observed}",
    ),
    (
        "boot-log-event-unproven",
        "an event whose text is measured is of other bytes in every active PCR bank: {observed}",
    ),
    (
        "boot-log-glued",
        "the boot event log is more than one log: {observed}",
    ),
    (
        "boot-log-pcr-unknown",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-replay-mismatch",
        "the boot event log does not lead to the quoted value of {subject}: it leads to {expected}, the TPM says {observed}",
    ),
    (
        "boot-log-separator-doubled",
        "the boot event log hands over twice: {observed}",
    ),
    (
        "boot-log-separator-invalid",
        "the boot event log reports an error of the firmware, or is altered: {observed}",
    ),
    (
        "boot-log-separator-missing",
        "the boot event log does not say where the firmware handed over: {observed}",
    ),
    (
        "boot-log-separator-relabelled",
        "the boot event log hides where the firmware handed over: {observed}",
    ),
    (
        "boot-log-spec-id-malformed",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-spec-id-missing",
        "the boot event log is of no known form: {observed}",
    ),
    (
        "boot-log-startup-locality",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-too-large",
        "the boot event log is too large: {observed}",
    ),
    (
        "boot-log-too-many-events",
        "the boot event log is too long: {observed}",
    ),
    ("boot-log-truncated", "the boot event log is cut off"),
    (
        "kernel-command-line-changed",
        "kernel command line changed: expected `{expected}`, saw `{observed}`",
    ),
    (
        "pcr-value-unknown",
        "{subject} has no known-good value: expected {expected}, saw {observed}",
    ),
    (
        "reference-values-absent",
        "none of the policy's reference values is active",
    ),
    (
        "secure-boot-off",
        "Secure Boot is {observed}; policy demands that it is {expected}",
    ),
    (
        "startup-locality-changed",
        "the TPM was started from locality {observed}, and {expected} is known good",
    ),
];
