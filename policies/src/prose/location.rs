//! The location tag.

use super::Sentence;

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "location-absent",
        "the host carries no location tag; issue one with `touchstone location tag`",
    ),
    (
        "location-authority-revoked",
        "the authority that issued the location tag was revoked",
    ),
    (
        "location-authority-unknown",
        "the location tag names an authority that is not believed",
    ),
    (
        "location-index-mismatch",
        "the TPM certified another index than the location index",
    ),
    (
        "location-not-authentic",
        "the location certification is not this round's statement of this TPM ({observed})",
    ),
    (
        "location-not-certified",
        "the location statement is not a certification of an NV index",
    ),
    (
        "location-signature-invalid",
        "the location tag's signature does not verify",
    ),
    ("location-tag-expired", "the location tag has expired"),
    (
        "location-tag-malformed",
        "the location index holds no tag: {observed}",
    ),
    (
        "location-tag-not-yet-valid",
        "the location tag is not yet valid",
    ),
    (
        "location-tag-other-host",
        "the location tag is another machine's",
    ),
    ("location-tag-revoked", "the location tag was taken back"),
    (
        "location-tag-superseded",
        "the location tag has serial {observed}; the current one is {expected}",
    ),
    (
        "location-tag-version-unknown",
        "the location index does not begin as a tag does: {observed}",
    ),
];
