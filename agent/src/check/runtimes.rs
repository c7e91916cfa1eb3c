//! Which container runtimes are purged when the verdict turns, and whether they can be asked.

use super::Check;
use crate::purge::{Mode, Purged, Runtimes, Which, purge};

const SUBJECT: &str = "purge";

pub(super) async fn checks(runtimes: &Runtimes) -> Vec<Check> {
    if runtimes.is_empty() {
        let next = "if encrypted images run here, name their runtimes with `--containerd` or `--podman-root`";
        let seen = "no runtime is purged when the verdict turns: what was decrypted stays";
        return vec![Check::notice(SUBJECT, seen, next)];
    }
    let found = purge(runtimes, &Which::All, Mode::DryRun).await;
    found.iter().map(one).collect()
}

fn one(found: &Purged) -> Check {
    let (runtime, place) = (found.runtime.word(), &found.place);
    match &found.error {
        None => {
            let count = found.digests.len();
            Check::good(
                SUBJECT,
                format!("{runtime} `{place}`: {count} images would go"),
            )
        }
        Some(error) => {
            let next = "until then nothing is purged there when the verdict turns";
            Check::notice(SUBJECT, format!("{runtime} `{place}`: {error}"), next)
        }
    }
}
