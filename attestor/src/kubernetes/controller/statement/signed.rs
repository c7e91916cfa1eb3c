//! What is signed of a node: the verdict on its host, in the boot that it was reached in.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::NodeStatement;

use super::super::judged::Judged;
use crate::appraisal::{Verdict, VerdictBoot};
use crate::attestor::Attestor;

/// What is signed of a node.
pub(super) enum Signed {
    /// No round reached what is held about the host.
    Nothing,
    /// The boot that was appraised, and the statement on it.
    Token { boot: String, token: String },
    /// The database has another verdict by now than the one that is to be stated, and the boot of that one.
    Behind,
}

pub(super) async fn sign(
    attestor: &Attestor,
    node: &str,
    node_uid: &str,
    judged: &Judged,
    now: i64,
) -> Result<Signed, Box<dyn std::error::Error + Send + Sync>> {
    let (Some(held), Some(host)) = (&judged.held, &judged.host) else {
        return Ok(Signed::Nothing);
    };
    let Some(record) = attestor.store.read().await?.host(host).await? else {
        return Ok(Signed::Nothing);
    };
    let boot = match boot_of(Verdict::of(&record)?.as_ref(), &held.entry) {
        Ok(Some(boot)) => boot,
        Ok(None) => return Ok(Signed::Nothing),
        Err(Behind) => return Ok(Signed::Behind),
    };
    let statement = NodeStatement {
        node: node.to_owned(),
        node_uid: node_uid.to_owned(),
        host: host.clone(),
        tier: judged.tier,
        reset_count: boot.reset_count,
        restart_count: boot.restart_count,
        entry: held.entry,
        issued_at: now,
        expires_at: held.standing.expires_at,
    };
    let boot = format!("{}.{}", boot.reset_count, boot.restart_count);
    let token = attestor.keys.result.sign_node(&statement)?;
    Ok(Signed::Token { boot, token })
}

/// Another verdict is kept.
#[derive(Debug, Eq, PartialEq)]
struct Behind;

/// The boot that the verdict with this entry is of, whichever quote came last; `None`: no round reached it.
fn boot_of(kept: Option<&Verdict>, entry: &Sha256Digest) -> Result<Option<VerdictBoot>, Behind> {
    match kept {
        Some(kept) if kept.entry != *entry => Err(Behind),
        kept => Ok(kept.and_then(|kept| kept.boot)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use touchstone_evidence::result::{TrustTier, TrustVector};

    use super::*;

    #[test]
    fn a_statement_names_the_boot_of_its_verdict_and_of_no_other() {
        let boot = |reset_count| VerdictBoot {
            reset_count,
            restart_count: 0,
        };
        let verdict = |entry: &[u8], boot| Verdict {
            tier: TrustTier::Affirming,
            vector: TrustVector::NONE,
            findings: Vec::new(),
            place: None,
            policy: String::new(),
            policy_digest: Sha256Digest::ZERO,
            boot,
            challenged_at: 1,
            issued_at: 1,
            expires_at: 2,
            entry: Sha256Digest::of(entry),
        };
        let (first, newer) = (verdict(b"1", Some(boot(7))), verdict(b"2", Some(boot(8))));
        assert_eq!(boot_of(Some(&first), &first.entry), Ok(Some(boot(7))));
        // What is held is behind what is kept by a moment.
        assert_eq!(boot_of(Some(&newer), &first.entry), Err(Behind));
        // An identity that ended has no verdict, and one from before boots were kept says none.
        assert_eq!(boot_of(None, &first.entry), Ok(None));
        let old = verdict(b"1", None);
        assert_eq!(boot_of(Some(&old), &first.entry), Ok(None));
    }
}
