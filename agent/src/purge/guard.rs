//! Watches the agent's own verdict beside its rounds, and purges when it turns: to contraindicated or none, or because
//! none was had for longer than the last one was to last. While it is good, the images of revoked leases go alone.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::wire::RevokedLease;

use super::{Left, Mode, Purged, Runtimes, Which, left, purge_again, report};
use crate::clock;
use crate::state::{Outcome, Records};

/// What a process that starts gives its first round where the last verdict is over, as after a night switched off.
const FIRST_ROUND: Duration = Duration::from_secs(120);
/// How often the clocks are looked at, and how often a host without a good verdict is purged again.
const LOOK: Duration = Duration::from_secs(60);

/// Until when a verdict counts, by both clocks: one can be set, the other stands still while the machine sleeps.
#[derive(Clone, Copy, Debug)]
struct Until {
    wall: i64,
    steady: Instant,
}

/// How this host stands.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Good(Until),
    Turned(&'static str),
}

/// Looks after the runtimes for as long as the daemon runs.
#[derive(Debug)]
pub(crate) struct Guard {
    state: PathBuf,
    runtimes: Runtimes,
    standing: Standing,
    /// Leases that the last round said are revoked, and of which something may be left here.
    revoked: BTreeSet<RevokedLease>,
    /// What purges left, while it may be of a lease that is revoked.
    left: Left,
    /// Why it is not known what purges before this process left: until nothing is revoked, no lease is told as gone.
    unread: Option<left::Error>,
    /// What the attestor has not been told yet.
    untold: Vec<Purged>,
    /// What was logged last, so that the same is said once.
    said: Vec<Purged>,
}

impl Guard {
    /// Takes up the last verdict that the state folder holds: a daemon may start anew at any time.
    pub(crate) fn begin(state: PathBuf, runtimes: Runtimes) -> Self {
        let last = Records::at(&state).outcome().ok().flatten();
        let first = Until {
            wall: clock::now().saturating_add(seconds(FIRST_ROUND)),
            steady: Instant::now() + FIRST_ROUND,
        };
        let standing = match last.as_ref().map(standing) {
            Some(Standing::Good(until)) if !until.is_over() => Standing::Good(until),
            Some(turned @ Standing::Turned(_)) => turned,
            _ => Standing::Good(first),
        };
        let (left, unread) = match Left::read(&state) {
            Ok(left) => (left, None),
            Err(error) => (Left::default(), Some(error)),
        };
        if let Some(error) = &unread {
            let error: &dyn std::error::Error = error;
            tracing::error!(
                error,
                "what earlier purges left is not known, so no lease is told as gone"
            );
        }
        Self {
            state,
            runtimes,
            standing,
            revoked: BTreeSet::new(),
            left,
            unread,
            untold: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Never ends by itself. What goes wrong is logged, and tried again.
    pub(crate) async fn watch(
        &mut self,
        mut outcomes: watch::Receiver<Option<Outcome>>,
    ) -> Infallible {
        loop {
            if !self.runtimes.is_empty() {
                self.purge_what_is_due().await;
                if self.tell().await
                    && let Some(outcome) = &*outcomes.borrow_and_update()
                {
                    // Rounds meanwhile were told of what is gone by now.
                    self.standing = standing(outcome);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => {}
                changed = outcomes.changed() => {
                    if changed.is_err() {
                        // Rounds have ended, and time goes on.
                        tokio::time::sleep(self.pause()).await;
                    } else if let Some(outcome) = &*outcomes.borrow_and_update() {
                        self.hear(outcome);
                    }
                }
            }
        }
    }

    /// Takes in what a round brought.
    fn hear(&mut self, outcome: &Outcome) {
        self.standing = standing(outcome);
        let revoked: BTreeSet<_> = outcome.revoked.iter().cloned().collect();
        if revoked.is_empty() {
            self.unread = None;
            self.keep(Left::default());
        }
        if self.revoked == revoked {
            return;
        }
        self.revoked = revoked;
        if self.runtimes.is_empty() && !self.revoked.is_empty() {
            let leases = self.revoked.len();
            tracing::warn!(
                "{leases} leases are revoked, and what they opened stays: no runtime is named (`--containerd`, \
                 `--podman-root`)"
            );
        }
    }

    async fn purge_what_is_due(&mut self) {
        if let Some(why) = self.turned() {
            self.purge(Which::All, why).await;
        } else if !self.revoked.is_empty() {
            let which = Which::Leases(self.revoked.clone());
            self.purge(which, "leases are revoked").await;
        }
    }

    /// Purges because this host gets no verdict any more.
    pub(crate) async fn give_up(&mut self, why: &'static str) {
        if !self.runtimes.is_empty() {
            self.purge(Which::All, why).await;
            self.tell().await;
        }
    }

    fn turned(&self) -> Option<&'static str> {
        match self.standing {
            Standing::Turned(why) => Some(why),
            Standing::Good(until) => until
                .is_over()
                .then_some("no verdict was had for longer than the last one was to last"),
        }
    }

    fn pause(&self) -> Duration {
        match self.standing {
            Standing::Good(until) => until.left().clamp(Duration::from_secs(1), LOOK),
            Standing::Turned(_) => LOOK,
        }
    }

    async fn purge(&mut self, which: Which, why: &'static str) {
        let mut left = self.left.clone();
        let mut purged = purge_again(&self.runtimes, &which, Mode::Purge, &left).await;
        left.take_in(&purged);
        self.keep(left);
        self.mark_leases(&mut purged);
        if purged != self.said {
            for one in purged.iter().filter(|one| !one.is_nothing()) {
                say(one, why);
            }
            self.untold
                .extend(purged.iter().filter(|one| !one.is_nothing()).cloned());
            self.said = purged;
        }
    }

    /// Adds to the last place the revoked leases, if nothing of them is left in any.
    fn mark_leases(&mut self, purged: &mut [Purged]) {
        let looked = self.unread.is_none() && purged.iter().all(Purged::is_complete);
        if self.revoked.is_empty() || !looked {
            return;
        }
        let Some(last) = purged.last_mut() else {
            tracing::warn!(
                "containerd has no namespaces: nothing was looked at, and leases stay revoked; see that the socket \
                 is the right one (`--containerd`)"
            );
            return;
        };
        last.leases = std::mem::take(&mut self.revoked).into_iter().collect();
        // The same leases may be revoked again one day, and are told again then.
        self.said.clear();
    }

    fn keep(&mut self, left: Left) {
        // What cannot be read stays for whoever looks after the host, and for the next process.
        if self.left == left || self.unread.is_some() {
            self.left = left;
            return;
        }
        if let Err(error) = left.keep(&self.state) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(
                error,
                "what a purge left is known only until the agent ends"
            );
        }
        self.left = left;
    }

    /// Whether the attestor knows now of revoked leases that are gone.
    async fn tell(&mut self) -> bool {
        if self.untold.is_empty() {
            return false;
        }
        match report::tell(&self.state, &self.untold).await {
            Ok(()) => {
                let told = std::mem::take(&mut self.untold);
                tracing::info!("the attestor knows what was purged");
                told.iter().any(|one| !one.leases.is_empty())
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "the attestor was not told what was purged; it will be"
                );
                false
            }
        }
    }
}

fn say(purged: &Purged, why: &str) {
    let runtime = purged.runtime.word();
    let place = purged.place.as_str();
    for digest in &purged.digests {
        tracing::warn!(runtime, place, image.digest = %digest, why, "purged");
    }
    if !purged.is_complete() {
        let (left, error) = (purged.left.join(" "), purged.error.as_deref());
        tracing::error!(runtime, place, left, error, why, "not purged; trying again");
    }
}

impl Until {
    fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    fn left(&self) -> Duration {
        let wall = self.wall.saturating_sub(clock::now());
        let wall = Duration::from_secs(u64::try_from(wall).unwrap_or_default());
        wall.min(self.steady.saturating_duration_since(Instant::now()))
    }
}

/// What of a result says how long it lasts. The attestor sent it over its own connection: nothing else is believed.
#[derive(Deserialize)]
struct Lasts {
    iat: i64,
    exp: i64,
}

fn standing(outcome: &Outcome) -> Standing {
    match outcome.tier {
        TrustTier::Contraindicated => return Standing::Turned("this host is contraindicated"),
        TrustTier::None => return Standing::Turned("the attestor says nothing good of this host"),
        TrustTier::Affirming | TrustTier::Warning => {}
    }
    let Some(lasts) = lasts(&outcome.result) else {
        return Standing::Turned("the attestor's result does not read");
    };
    // A clock that was set back makes nothing last longer.
    let left = lasts.exp.saturating_sub(clock::now().max(lasts.iat));
    let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
    Standing::Good(Until {
        wall: lasts.exp,
        steady: Instant::now() + left,
    })
}

fn lasts(token: &str) -> Option<Lasts> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_evidence::digest::Sha256Digest;
    use touchstone_evidence::wire::ContainerRuntime;

    use super::*;
    use crate::purge::manifest::tests::lease;

    fn outcome(tier: TrustTier, payload: &str) -> Outcome {
        Outcome {
            host: "de-1".parse().unwrap(),
            at: 1,
            tier,
            findings: Vec::new(),
            entry: Sha256Digest::ZERO,
            result: format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)),
            revoked: Vec::new(),
        }
    }

    fn turned(outcome: &Outcome) -> Option<&'static str> {
        let mut guard = Guard::begin(PathBuf::from("/nonexistent"), Runtimes::default());
        guard.standing = standing(outcome);
        guard.turned()
    }

    #[tokio::test]
    async fn a_verdict_turns_by_its_tier_and_by_its_end() {
        let now = clock::now();
        let lasts = |iat: i64, exp: i64| format!(r#"{{"iat":{iat},"exp":{exp},"more":[]}}"#);
        let good = lasts(now, now + 60);
        assert_eq!(turned(&outcome(TrustTier::Affirming, &good)), None);
        assert_eq!(turned(&outcome(TrustTier::Warning, &good)), None);
        for tier in [TrustTier::Contraindicated, TrustTier::None] {
            assert!(turned(&outcome(tier, &good)).is_some());
        }
        let over = lasts(now - 60, now);
        assert!(turned(&outcome(TrustTier::Affirming, &over)).is_some());
        assert!(turned(&outcome(TrustTier::Affirming, "{}")).is_some());
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_nothing_last_longer() {
        let now = clock::now();
        let ahead = format!(r#"{{"iat":{},"exp":{}}}"#, now + 3600, now + 3660);
        let until = match standing(&outcome(TrustTier::Affirming, &ahead)) {
            Standing::Good(until) => Some(until),
            Standing::Turned(_) => None,
        };
        assert!(until.unwrap().left() <= Duration::from_secs(60));
    }

    #[tokio::test]
    async fn leases_are_told_as_gone_only_where_a_place_was_looked_at_and_nothing_is_left() {
        let mut guard = Guard::begin(PathBuf::from("/nonexistent"), Runtimes::default());
        let revoked = BTreeSet::from([lease("a")]);
        guard.revoked = revoked.clone();
        guard.mark_leases(&mut []);
        assert_eq!(guard.revoked, revoked);
        let place = Purged::new(ContainerRuntime::Podman, "/r");
        let left = Purged {
            left: vec!["layer".to_owned()],
            ..place.clone()
        };
        let mut purged = [left, place.clone()];
        guard.mark_leases(&mut purged);
        assert!(guard.revoked == revoked && purged[1].leases.is_empty());
        let mut purged = [place.clone(), place];
        guard.mark_leases(&mut purged);
        assert_eq!(purged[1].leases, [lease("a")]);
        assert!(guard.revoked.is_empty() && purged[0].leases.is_empty());
    }

    #[tokio::test]
    async fn what_was_left_is_remembered_until_nothing_is_revoked() {
        let state = tempfile::tempdir().unwrap();
        let begin = || Guard::begin(state.path().to_owned(), Runtimes::default());
        let purged = Purged {
            left: vec!["layer".to_owned()],
            ..Purged::new(ContainerRuntime::Podman, "/r")
        };
        let mut left = Left::default();
        left.take_in(&[purged]);
        begin().keep(left.clone());
        let mut guard = begin();
        let mut good = outcome(TrustTier::Affirming, "{}");
        good.revoked = vec![lease("a")];
        guard.hear(&good);
        assert_eq!(guard.left, left);
        good.revoked.clear();
        guard.hear(&good);
        assert_eq!(
            (guard.left, begin().left),
            (Left::default(), Left::default())
        );
    }

    #[tokio::test]
    async fn no_lease_is_gone_while_what_was_left_cannot_be_read() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("purge-left.json");
        std::fs::write(&file, "{").unwrap();
        let mut guard = Guard::begin(state.path().to_owned(), Runtimes::default());
        let mut good = outcome(TrustTier::Affirming, "{}");
        good.revoked = vec![lease("a")];
        guard.hear(&good);
        let mut purged = [Purged::new(ContainerRuntime::Podman, "/r")];
        guard.mark_leases(&mut purged);
        assert!(purged[0].leases.is_empty() && !guard.revoked.is_empty());
        guard.keep(Left::default());
        assert_eq!(std::fs::read(&file).unwrap(), b"{");
    }

    #[tokio::test]
    async fn a_process_that_starts_gives_its_first_round_time() {
        let guard = Guard::begin(PathBuf::from("/nonexistent"), Runtimes::default());
        assert_eq!(guard.turned(), None);
    }
}
