//! What is not read out of evidence: which policy is for the host, how it stands, and reviews.

use super::Sentence;

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "clock-behind",
        "the attestor's clock is behind the last result of {subject}; set it right",
    ),
    (
        "cluster-replaced",
        "the attestor is set to another cluster under this name (uid {expected}) than the one that asks (uid {observed}); this \
         one needs a name of its own there",
    ),
    (
        "cluster-unanswered",
        "the cluster's API server did not say which pod and which node are meant; see that it is up and lets the attestor \
         read pods and nodes",
    ),
    (
        "cluster-unconfirmed",
        "the attestor does not know yet whether this is the cluster that it is set to; see that it may get the namespace \
         `kube-system`",
    ),
    (
        "findings-omitted",
        "{observed} more findings are not listed",
    ),
    (
        "host-policy-absent",
        "no HostPolicy is for this host; write one that names it",
    ),
    (
        "host-policy-ambiguous",
        "more than one HostPolicy is for this host: {observed}",
    ),
    (
        "host-rebooted",
        "{subject} began another boot and has not proved it yet; its next rounds will",
    ),
    (
        "host-reenrolled",
        "{subject} was enrolled anew with other keys and has not attested with them yet",
    ),
    (
        "host-removed",
        "the machine of {subject} was taken out of the inventory",
    ),
    (
        "host-replaced",
        "{subject} got another TPM, which has not attested yet",
    ),
    ("host-retired", "{subject} is out of service"),
    (
        "host-unappraised",
        "no round of this host was appraised; see `touchstone-agent status` on it",
    ),
    (
        "host-unknown",
        "nothing is held of the host to which the node is mapped; `touchstone node list` says which one, and `touchstone host explain HOST` what is next",
    ),
    (
        "lease-revoked",
        "the key {subject} was taken back from this host; an officer gives it back with `touchstone lease restore`",
    ),
    (
        "log-resumed",
        "the attestor's database was restored, so nothing is known of the host until its next round",
    ),
    (
        "node-mark-protected",
        "`{observed}` is for the attestor alone to set on node {subject}; leave it as it is",
    ),
    (
        "node-unmapped",
        "the node {subject} is mapped to no host; map it with `touchstone node map`, or, where agents show tokens, see in \
         `touchstone node list` which nodes these proved, and in the attestor's log why not this one",
    ),
    (
        "place-not-proven-yet",
        "{subject} has a new tag and has not proved its place yet; its next round will",
    ),
    (
        "place-unknown",
        "{subject} has no proven place, and policy demands one",
    ),
    (
        "pod-changed-too-often",
        "this pod was changed too often while it waited, or its labels and images are too long, so its binding cannot be \
         judged; create it again",
    ),
    (
        "pod-elsewhere",
        "the cluster that this attestor watches has no pod of that name: it is gone, or the webhook and `--kubernetes` are of \
         two clusters",
    ),
    (
        "pod-leaves-policy",
        "it runs under the policy {observed}, which would not be for it any more; delete it and make another",
    ),
    (
        "pod-replaced",
        "another pod of that name is in the cluster by now, which is judged by itself; nothing is to be done",
    ),
    (
        "pod-static",
        "this is the mirror of a static pod, which {subject} runs without asking; take its file off that node: its host \
         gets no key that it may not have",
    ),
    (
        "pod-unknown",
        "this pod was not reviewed here when it was created, and the attestor sees no cluster (`--kubernetes`) that could \
         tell, so its binding cannot be judged; create it again",
    ),
    (
        "region-mismatch",
        "{subject} stands in {observed}, outside the region `{expected}`",
    ),
    (
        "result-expired",
        "the last result of {subject} has expired: the host has not attested lately",
    ),
    (
        "result-too-old",
        "the last result of {subject} is {observed} old; policy allows {expected}",
    ),
    (
        "review-malformed",
        "the review's object cannot be read: {observed}",
    ),
    (
        "review-unsupported",
        "the webhook does not judge {observed}; send it CREATE and UPDATE of pods and nodes, UPDATE of pods/ephemeralcontainers, \
         and CREATE of pods/binding and bindings",
    ),
    (
        "review-without-object",
        "the review holds nothing that could be judged",
    ),
    ("review-without-uid", "the review names no uid of the pod"),
    (
        "standing-unconfirmed",
        "the attestor does not know whether what it holds is still true, since its database does not answer; look at its log",
    ),
    (
        "tier-insufficient",
        "host {subject} is {observed}; policy demands {expected}",
    ),
    (
        "toleration-of-untrusted",
        "the pod tolerates {observed}, and so hosts that are not trusted, which its policy does not; leave that \
         toleration out",
    ),
    (
        "workload-policy-unknown",
        "the WorkloadPolicy `{subject}`, which the key is for, is not in force; apply it again, or encrypt with a key of another",
    ),
];
