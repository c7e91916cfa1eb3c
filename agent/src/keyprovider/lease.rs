//! What a lease must say before anything is opened with it.

use touchstone_evidence::annotation::Binding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::tpm::attest::ClockInfo;
use touchstone_evidence::wire::Lease;

/// A lease that is not the one asked for: the attestor is wrong, or another one answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotTheLease {
    /// It is no lease.
    #[error("the attestor's lease cannot be read; update the agent")]
    Malformed(#[source] serde_json::Error),
    /// One of its fields.
    #[error(
        "the attestor's lease is for another {0} than was asked for, so nothing was decrypted; see that the attestor \
         is the right one, then try again"
    )]
    Other(&'static str),
    /// By this host's clock, or its TPM's.
    #[error(
        "the attestor's lease was over when it came; see that the clocks of this host and of the attestor are right, \
         then try again"
    )]
    Over,
}

/// What was asked for, and from which state.
pub(super) struct Expected<'a> {
    pub(super) host: &'a HostId,
    /// What the annotation says.
    pub(super) binding: &'a Binding,
    pub(super) manifest: Option<OciDigest>,
    /// Of the quote that was sent.
    pub(super) clock: ClockInfo,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// Reads a lease, and compares all of it.
pub(super) fn check(lease: &[u8], expected: &Expected<'_>) -> Result<Lease, NotTheLease> {
    let lease: Lease = serde_json::from_slice(lease).map_err(NotTheLease::Malformed)?;
    let (binding, clock) = (expected.binding, &expected.clock);
    let boot = (lease.reset_count, lease.restart_count);
    let same = [
        ("host", lease.host == *expected.host),
        ("boot", boot == (clock.reset_count, clock.restart_count)),
        ("key", lease.key == binding.key),
        ("key version", lease.key_version == binding.key_version),
        ("layer", lease.layer == binding.layer),
        ("policy", lease.policy == binding.policy),
        ("manifest", lease.manifest == expected.manifest),
    ];
    if let Some((field, _)) = same.iter().find(|(_, same)| !same) {
        return Err(NotTheLease::Other(field));
    }
    if lease.expires_at <= expected.now || lease.clock_end <= clock.clock {
        return Err(NotTheLease::Over);
    }
    Ok(lease)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_evidence::digest::Sha256Digest;

    use super::*;

    fn binding() -> Binding {
        Binding {
            key: "payments".parse().unwrap(),
            key_version: 3,
            layer: OciDigest(Sha256Digest([1; 32])),
            policy: "payments-eu".parse().unwrap(),
        }
    }

    fn lease() -> Lease {
        let Binding {
            key,
            key_version,
            layer,
            policy,
        } = binding();
        Lease {
            host: "de-1".parse().unwrap(),
            reset_count: 4,
            restart_count: 5,
            key,
            key_version,
            layer,
            policy,
            manifest: Some(OciDigest(Sha256Digest([2; 32]))),
            issued_at: 900,
            expires_at: 1_100,
            clock_end: 200_000,
            entry: Sha256Digest([3; 32]),
        }
    }

    fn checked(change: impl FnOnce(&mut Lease)) -> Result<Lease, NotTheLease> {
        let mut changed = lease();
        change(&mut changed);
        let expected = Expected {
            host: &"de-1".parse().unwrap(),
            binding: &binding(),
            manifest: Some(OciDigest(Sha256Digest([2; 32]))),
            clock: ClockInfo {
                clock: 100_000,
                reset_count: 4,
                restart_count: 5,
                safe: true,
            },
            now: 1_000,
        };
        check(&serde_json::to_vec(&changed).unwrap(), &expected)
    }

    #[test]
    fn every_field_is_compared() {
        assert_eq!(checked(|_| ()).unwrap(), lease());
        let other = OciDigest(Sha256Digest([9; 32]));
        type Change = fn(&mut Lease, OciDigest);
        let changes: [(&str, Change); 9] = [
            ("host", |lease, _| lease.host = "fr-2".parse().unwrap()),
            ("boot", |lease, _| lease.reset_count = 9),
            ("boot", |lease, _| lease.restart_count = 9),
            ("key", |lease, _| lease.key = "payroll".parse().unwrap()),
            ("key version", |lease, _| lease.key_version = 9),
            ("layer", |lease, other| lease.layer = other),
            ("policy", |lease, _| lease.policy = "any".parse().unwrap()),
            ("manifest", |lease, other| lease.manifest = Some(other)),
            ("manifest", |lease, _| lease.manifest = None),
        ];
        for (field, change) in changes {
            let refused = checked(|lease| change(lease, other)).unwrap_err();
            assert!(matches!(refused, NotTheLease::Other(named) if named == field));
        }
    }

    #[test]
    fn a_lease_that_is_over_is_none() {
        let over = |change: fn(&mut Lease)| matches!(checked(change), Err(NotTheLease::Over));
        assert!(over(|lease| lease.expires_at = 1_000));
        assert!(over(|lease| lease.clock_end = 100_000));
        assert!(!over(|lease| lease.clock_end = 100_001));
    }
}
