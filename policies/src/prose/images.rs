//! Images of pods.

use super::Sentence;

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "image-by-tag",
        "{subject} names its image `{observed}` without a SHA-256 digest, so what runs may be another one tomorrow; \
         write NAME@sha256:… in its place",
    ),
    (
        "image-encryption-unknown",
        "whether the image `{observed}` of {subject} is encrypted could not be learned from its registry; see that the \
         registry is there and lets the attestor read it, or have the image registered with `touchstone image register`",
    ),
    (
        "image-from-elsewhere",
        "the image `{observed}` of {subject} is from elsewhere; policy allows {expected}",
    ),
    (
        "image-name-too-long",
        "the name of the image of {subject} has more than {expected} bytes, and no runtime pulls by such a name; give it a \
         shorter one",
    ),
    (
        "image-not-encrypted",
        "the image `{observed}` of {subject} has layers that are not encrypted; encrypt all with `skopeo copy \
         --encryption-key provider:touchstone:KEY`, and name the digest of what that wrote",
    ),
    (
        "image-not-registered",
        "the image `{observed}` of {subject} is not registered; its publisher does it with `touchstone image register`",
    ),
    (
        "image-not-signed",
        "the image `{observed}` of {subject} is not signed with a key that policy names, or its registry does not show the \
         signature; its publisher signs its digest with `cosign sign --key` (keys: {expected})",
    ),
    (
        "image-other-runs",
        "{subject} runs `{observed}`, and {expected} was asked for; look at the node's container runtime",
    ),
    (
        "images-too-many",
        "the pod names {observed} images that policy wants to know more of, and {expected} are looked at at most; make \
         several pods of it",
    ),
    (
        "pull-secrets-unread",
        "the pod's pull secrets were not read, because the attestor is not to read secrets of the namespace `{subject}`: name it \
         in `pull-secrets` of its settings (with Helm, `controller.pullSecrets`), or give it a credential for the registry \
         with `--registry-credentials`",
    ),
    (
        "workload-changed",
        "{subject} is not what its workload was made of: {expected} stands in the record of its first pod, and here it is \
         `{observed}`; if the change is meant, make the pod anew by another revision of its controller, else find out who \
         changed it (`touchstone workload show` has the record)",
    ),
    (
        "workload-too-large",
        "the pod has {observed}, names of containers and images together, and a workload is of {expected} at most; make \
         several of it, or give them shorter names",
    ),
    (
        "workload-unlike-running",
        "{subject} is not what runs of its workload already: there it is {expected}, and here `{observed}`; the first pod that is \
         admitted leaves the record that those are compared with, so if the change is meant, as where a digest comes in the place \
         of a tag, roll the workload out anew by another revision of its controller",
    ),
];
