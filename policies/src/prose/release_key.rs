//! The release key of a round that asks for a layer key.

use super::Sentence;

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "release-key-exportable",
        "the release key may leave the TPM or was made elsewhere: {observed}",
    ),
    (
        "release-key-hierarchy-mismatch",
        "the release key is no primary of the NULL hierarchy, so it may outlive the boot",
    ),
    (
        "release-key-malformed",
        "the release key is malformed: {observed}",
    ),
    (
        "release-key-mismatch",
        "the key that is certified is not the release key",
    ),
    (
        "release-key-not-authentic",
        "the certification of the release key is not of this TPM and this round ({observed})",
    ),
    (
        "release-key-not-certified",
        "what is signed for the release key certifies no key",
    ),
    (
        "release-key-template-mismatch",
        "the release key does not follow its template: {observed}",
    ),
];
