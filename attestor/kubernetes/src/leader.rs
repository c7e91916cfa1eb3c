//! Which replica writes to the cluster: the holder of a Lease (`coordination.k8s.io/v1`).
//!
//! A lease is over once nobody renewed it for its duration by the clock of whoever looks, as Kubernetes' own
//! components have it: no two clocks are compared. Two who write for a moment would write the same.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::cluster::{Cluster, ClusterError};
use crate::names::MANAGER;

/// Its name in the namespace of the installation.
const NAME: &str = "touchstone-controller";
/// After so long without a sign of its holder another one takes it.
pub const DURATION: Duration = Duration::from_secs(15);

/// One who wants to be the writer.
pub struct Candidate {
    identity: String,
    /// How the lease was when it was last seen to change, and when that was.
    seen: Option<(Option<String>, Instant)>,
}

impl Candidate {
    /// `identity` tells replicas apart, and one start of a replica from another.
    #[must_use]
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
        }
    }

    /// Takes or renews the lease; says whether it is ours now.
    pub async fn leads(&mut self, cluster: &Cluster) -> Result<bool, ClusterError> {
        let namespace = &cluster.config.namespace;
        let api = Api::<Lease>::namespaced(cluster.client.clone(), namespace);
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = match cluster.hurry(api.get_opt(NAME)).await? {
            None => {
                let made = self.renewed(Lease::default());
                cluster.hurry(api.create(&parameters, &made)).await
            }
            Some(lease) if self.may_take(&lease, Instant::now()) => {
                let renewed = self.renewed(lease);
                cluster
                    .hurry(api.replace(NAME, &parameters, &renewed))
                    .await
            }
            Some(_) => return Ok(false),
        };
        match written {
            Ok(_) => Ok(true),
            // Another one was faster.
            Err(ClusterError::Api(kube::Error::Api(status))) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the lease back, if it is ours: the next one takes it with its next look.
    pub async fn release(&self, cluster: &Cluster) -> Result<(), ClusterError> {
        let api = Api::<Lease>::namespaced(cluster.client.clone(), &cluster.config.namespace);
        let Some(lease) = cluster.hurry(api.get_opt(NAME)).await? else {
            return Ok(());
        };
        let Some(released) = self.released(lease) else {
            return Ok(());
        };
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = cluster.hurry(api.replace(NAME, &parameters, &released));
        match written.await {
            // Another one has it by now.
            Err(ClusterError::Api(kube::Error::Api(status))) if status.code == 409 => Ok(()),
            written => written.map(drop),
        }
    }

    /// Ours, nobody's, or one that nobody renewed for its duration.
    fn may_take(&mut self, lease: &Lease, now: Instant) -> bool {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        if holder.is_none_or(|holder| holder.is_empty() || holder == self.identity) {
            return true;
        }
        let version = &lease.metadata.resource_version;
        match &self.seen {
            Some((seen, since)) if seen == version => now.duration_since(*since) >= DURATION,
            _ => {
                self.seen = Some((version.clone(), now));
                false
            }
        }
    }

    /// The same lease as nobody's, for whoever looks next; `None`: it is not ours.
    fn released(&self, lease: Lease) -> Option<Lease> {
        let spec = lease.spec?;
        let ours = spec.holder_identity.as_ref() == Some(&self.identity);
        ours.then(|| Lease {
            spec: Some(LeaseSpec {
                // Empty, not absent: servers that merge keep what is absent.
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..spec
            }),
            metadata: lease.metadata,
        })
    }

    fn renewed(&self, lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.unwrap_or_default();
        let stays = before.holder_identity.as_ref() == Some(&self.identity);
        let changes = before.lease_transitions.unwrap_or(0);
        Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..lease.metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: match stays {
                    true => before.acquire_time,
                    false => Some(now.clone()),
                },
                renew_time: Some(now),
                lease_transitions: Some(changes.saturating_add(i32::from(!stays))),
                ..before
            }),
        }
    }
}

/// Who this process is in a lease: the name of its pod or machine, and `random`, since the next start is another one.
#[must_use]
pub fn identity(random: &[u8]) -> String {
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let named = std::env::var("HOSTNAME").ok();
    let named = named.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    match named.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => format!("{name}_{random}"),
        _ => random,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn anothers_lease_is_taken_only_once_it_was_not_renewed_for_its_duration() {
        let mut me = Candidate::new("me".to_owned());
        let begin = Instant::now();
        assert!(me.may_take(&held_by("me", "1"), begin));
        assert!(me.may_take(&held_by("", "1"), begin));
        assert!(!me.may_take(&held_by("other", "1"), begin));
        let almost = begin + DURATION - Duration::from_millis(1);
        assert!(!me.may_take(&held_by("other", "1"), almost));
        // It was renewed.
        assert!(!me.may_take(&held_by("other", "2"), begin + DURATION));
        assert!(me.may_take(&held_by("other", "2"), begin + 2 * DURATION));
    }

    #[test]
    fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
        let me = Candidate::new("me".to_owned());
        let taken = me.renewed(held_by("other", "1"));
        let spec = taken.spec.clone().unwrap_or_default();
        assert_eq!(spec.lease_transitions, Some(1));
        let renewed = me.renewed(taken).spec.unwrap_or_default();
        assert_eq!(renewed.lease_transitions, Some(1));
        assert_eq!(renewed.acquire_time, spec.acquire_time);
    }

    #[test]
    fn a_lease_that_is_given_back_is_anybodys_at_once() {
        let (me, mut next) = (
            Candidate::new("me".to_owned()),
            Candidate::new("next".to_owned()),
        );
        let ours = me.renewed(Lease::default());
        assert!(!next.may_take(&ours, Instant::now()));
        let released = me.released(ours);
        assert!(released.is_some_and(|lease| next.may_take(&lease, Instant::now())));
        assert_eq!(me.released(held_by("other", "1")), None);
    }

    #[test]
    fn a_holder_is_named_after_its_machine_and_no_two_starts_are_the_same() {
        let one = identity(&[0, 255]);
        let name = one.strip_suffix("_00ff");
        assert!(name.is_some_and(|name| !name.is_empty()), "{one}");
        assert_ne!(one, identity(&[1, 255]));
    }
}
