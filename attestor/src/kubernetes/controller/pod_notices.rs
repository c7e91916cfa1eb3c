//! What is said of a pod when it is ended, and when its scheduling gate is taken away.

use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::notice::Said;

use super::notices::codes;

/// It was told to end on this node, for these refusals.
pub(super) fn ended(node: &str, host: Option<&HostId>, refusals: &[Finding]) -> Said {
    let next = host.map_or_else(
        || "`touchstone node list`".to_owned(),
        |host| format!("`touchstone host explain {host}`"),
    );
    let codes = codes(refusals);
    Said {
        reason: "TouchstoneEnding",
        message: format!(
            "told to end, since it may not stay on {node}: {codes}; see docs/findings.md, and {next}"
        ),
        warns: true,
    }
}

/// Schedulers may look at it now; `meant`: a policy is for it.
pub(super) fn let_go(meant: bool) -> Said {
    let why = match meant {
        true => "some node's host fits",
        false => "no policy is for it any more",
    };
    Said {
        reason: "TouchstoneGateOpened",
        message: format!("{why}: schedulers may place it"),
        warns: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn of_a_pod_that_ends_the_codes_are_told_and_no_value_that_was_seen() {
        let refusals = [
            Finding::new("image-other-runs").observed("registry.example/secret"),
            Finding::new("tier-insufficient").about("de-1"),
        ];
        let host = "de-1".parse().unwrap();
        assert_eq!(
            ended("worker-1", Some(&host), &refusals).message,
            "told to end, since it may not stay on worker-1: image-other-runs, tier-insufficient; see docs/findings.md, and \
             `touchstone host explain de-1`"
        );
        let nobody = ended("worker-1", None, &refusals[..1]).message;
        assert!(nobody.ends_with("and `touchstone node list`"), "{nobody}");
    }

    #[test]
    fn a_pod_that_is_let_go_is_told_why() {
        assert!(let_go(true).message.contains("host fits"));
        assert!(let_go(false).message.contains("no policy"));
        assert!(!let_go(true).warns);
    }
}
