//! The runtime list.

use super::Sentence;

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "ima-bank-mismatch",
        "the runtime list was proven in one PCR bank and continued in another",
    ),
    (
        "ima-boot-aggregate-mismatch",
        "the runtime list belongs to another boot: its boot_aggregate is {observed}, the quoted PCRs make {expected}",
    ),
    (
        "ima-boot-aggregate-missing",
        "the runtime list does not begin with a boot_aggregate",
    ),
    (
        "ima-digest-algorithm-unknown",
        "the runtime list names a digest that is not known: {observed}",
    ),
    (
        "ima-list-absent",
        "the host's kernel keeps no runtime list: boot it with an `ima_policy`",
    ),
    (
        "ima-list-shortened",
        "the runtime list is shorter than it was in this boot: it ends at byte {observed}, {expected} were proven",
    ),
    (
        "ima-list-too-large",
        "the runtime list is too large: {observed}",
    ),
    (
        "ima-list-too-many-entries",
        "the runtime list is too long: {observed}",
    ),
    (
        "ima-list-truncated",
        "the runtime list is cut off: {observed}",
    ),
    (
        "ima-list-unfinished",
        "the runtime list is larger than one message, and not all of it has come yet: {observed}",
    ),
    (
        "ima-list-withheld",
        "the host's kernel measured into {subject}, and the host keeps its runtime list back",
    ),
    (
        "ima-nothing-measured",
        "PCR 10 is untouched: the kernel measures nothing at run time",
    ),
    (
        "ima-offset-ahead",
        "the runtime list leaves out entries: it continues at byte {observed}, the proven part ends at {expected}",
    ),
    (
        "ima-offset-behind",
        "the runtime list repeats entries: it continues at byte {observed}, the proven part ends at {expected}",
    ),
    (
        "ima-offset-other-boot",
        "the runtime list continues one of another boot",
    ),
    (
        "ima-part-too-large",
        "the host sent more of its runtime list than one message may carry: {observed}",
    ),
    (
        "ima-part-too-small",
        "the host puts off the end of its runtime list: {observed}",
    ),
    (
        "ima-path-malformed",
        "the runtime list holds a malformed path: {observed}",
    ),
    (
        "ima-pcr-unexpected",
        "the runtime list holds an entry of another PCR: {observed}",
    ),
    (
        "ima-pcr-unquoted",
        "the quote lacks a PCR that the runtime list needs: {observed}",
    ),
    (
        "ima-replay-mismatch",
        "the runtime list does not lead to the quoted PCR 10",
    ),
    (
        "ima-template-data-malformed",
        "an entry of the runtime list is malformed: {observed}",
    ),
    (
        "ima-template-data-too-large",
        "an entry of the runtime list is too large: {observed}",
    ),
    (
        "ima-template-hash-mismatch",
        "an entry of the runtime list does not hash to what it says: {observed}",
    ),
    (
        "ima-template-relabelled",
        "an entry of the runtime list bears another template's name: {observed}",
    ),
    (
        "ima-template-unknown",
        "the runtime list holds an unknown template: {observed}",
    ),
    (
        "ima-violations",
        "{observed} files could change while the kernel measured them; policy refuses such violations",
    ),
    (
        "runtime-not-judged",
        "the runtime list is proven to be complete, but nothing judges its entries yet",
    ),
];
