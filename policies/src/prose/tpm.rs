//! The quote, the PCR banks, the statements of one round, and the TPM that makes them.

use super::Sentence;

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "firmware-version-changed",
        "the TPM's firmware version changed from {expected} to {observed}; accept it with `touchstone host accept-firmware` if that was intended",
    ),
    ("hardware-simulated", "the TPM is a simulator"),
    (
        "not-a-quote",
        "the host answered with another statement than a quote",
    ),
    (
        "pcr-bank-capped",
        "the firmware closed the SHA-256 bank without measuring anything into it",
    ),
    (
        "pcr-bank-empty",
        "the firmware measured nothing into the SHA-256 bank",
    ),
    (
        "pcr-bank-inactive",
        "the TPM's SHA-256 bank is not active; switch it on in the firmware",
    ),
    (
        "pcr-bank-mismatch",
        "the host quoted the banks `{observed}` instead of {expected} alone",
    ),
    (
        "pcr-bank-partial",
        "an active PCR bank is not whole: {observed}",
    ),
    (
        "pcr-bank-unknown",
        "nothing can be said of an active PCR bank: {observed}; switch it off in the firmware",
    ),
    (
        "pcr-banks-absent",
        "the host did not show which PCR banks are active",
    ),
    (
        "pcr-banks-audit-mismatch",
        "the list of PCR banks is not the one that the TPM signed",
    ),
    (
        "pcr-banks-digest-mismatch",
        "the reported values of all PCR banks are not those that were quoted",
    ),
    (
        "pcr-banks-malformed",
        "the TPM signed something else than a list of its PCR banks: {observed}",
    ),
    (
        "pcr-banks-not-audited",
        "the host answered with something else than an audit of the PCR banks",
    ),
    (
        "pcr-banks-not-authentic",
        "the {subject} is not of this TPM for this round: {observed}",
    ),
    (
        "pcr-banks-not-quoted",
        "the host answered with something else than a quote of all PCR banks",
    ),
    (
        "pcr-banks-selection-mismatch",
        "the host did not quote the boot PCRs of every active bank",
    ),
    (
        "pcr-banks-values-incomplete",
        "the reported values are not those of all active PCR banks",
    ),
    (
        "pcr-digest-mismatch",
        "the PCR values that the host reports are not those that its TPM quoted",
    ),
    (
        "pcr-selection-mismatch",
        "the quote covers other PCRs than were asked for",
    ),
    (
        "pcr-values-incomplete",
        "the reported PCR values are not exactly those asked for",
    ),
    (
        "round-clock-fell",
        "the {subject} was made before the quote",
    ),
    (
        "round-firmware-differs",
        "the {subject} and the quote are of different firmware of the TPM",
    ),
    (
        "round-reset-count-differs",
        "the {subject} and the quote are of different boots (resetCount)",
    ),
    (
        "round-restart-count-differs",
        "the {subject} and the quote are of different boots (restartCount)",
    ),
    (
        "tpm-clock-drift",
        "the TPM's clock advanced by {observed} where {expected} passed",
    ),
    (
        "tpm-cloned",
        "two TPMs hold this host's key, or its state was set back: {observed} after {expected}",
    ),
    (
        "tpm-firmware-known-bad",
        "the TPM ({subject}) runs firmware with a published flaw: {observed}; mended by {expected}",
    ),
    (
        "tpm-model-unknown",
        "the TPM's make was not kept when the host was enrolled; enrol it anew",
    ),
];
