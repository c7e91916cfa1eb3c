//! What the lease of a data key must say before anything is opened with it.

use touchstone_evidence::data_key::Binding;
use touchstone_evidence::wire::DataKeyLease;

use crate::keyprovider::{NotTheLease, Seen};

/// Reads a lease, and compares all of it with what the wrapped data key says and with this host's quote.
pub(super) fn check(
    lease: &[u8],
    binding: &Binding,
    seen: &Seen<'_>,
) -> Result<DataKeyLease, NotTheLease> {
    let lease: DataKeyLease = serde_json::from_slice(lease).map_err(NotTheLease::Malformed)?;
    let clock = &seen.clock;
    let boot = (lease.reset_count, lease.restart_count);
    let same = [
        ("host", lease.host == *seen.host),
        ("boot", boot == (clock.reset_count, clock.restart_count)),
        ("key", lease.key == binding.key),
        ("key version", lease.key_version == binding.key_version),
        ("data key", lease.data_key == binding.id),
        ("policy", lease.policy == binding.policy),
    ];
    if let Some((field, _)) = same.iter().find(|(_, same)| !same) {
        return Err(NotTheLease::Other(field));
    }
    if lease.expires_at <= seen.now || lease.clock_end <= clock.clock {
        return Err(NotTheLease::Over);
    }
    Ok(lease)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_evidence::digest::Sha256Digest;
    use touchstone_evidence::tpm::attest::ClockInfo;

    use super::*;

    fn lease() -> DataKeyLease {
        DataKeyLease {
            host: "de-1".parse().unwrap(),
            reset_count: 4,
            restart_count: 5,
            key: "disks".parse().unwrap(),
            key_version: 3,
            data_key: Sha256Digest([1; 32]),
            policy: "disks-eu".parse().unwrap(),
            issued_at: 900,
            expires_at: 1_100,
            clock_end: 200_000,
            entry: Sha256Digest([3; 32]),
        }
    }

    fn checked(change: impl FnOnce(&mut DataKeyLease)) -> Result<DataKeyLease, NotTheLease> {
        let whole = lease();
        let binding = Binding {
            key: whole.key,
            key_version: whole.key_version,
            id: whole.data_key,
            policy: whole.policy,
        };
        let mut changed = lease();
        change(&mut changed);
        let seen = Seen {
            host: &whole.host,
            clock: ClockInfo {
                clock: 100_000,
                reset_count: 4,
                restart_count: 5,
                safe: true,
            },
            now: 1_000,
        };
        check(&serde_json::to_vec(&changed).unwrap(), &binding, &seen)
    }

    #[test]
    fn every_field_is_compared() {
        assert_eq!(checked(|_| ()).unwrap(), lease());
        type Change = fn(&mut DataKeyLease);
        let changes: [(&str, Change); 7] = [
            ("host", |lease| lease.host = "fr-2".parse().unwrap()),
            ("boot", |lease| lease.reset_count = 9),
            ("boot", |lease| lease.restart_count = 9),
            ("key", |lease| lease.key = "disk".parse().unwrap()),
            ("key version", |lease| lease.key_version = 9),
            ("data key", |lease| lease.data_key = Sha256Digest::ZERO),
            ("policy", |lease| lease.policy = "any".parse().unwrap()),
        ];
        for (field, change) in changes {
            let refused = checked(change).unwrap_err();
            assert!(matches!(refused, NotTheLease::Other(named) if named == field));
        }
    }

    #[test]
    fn a_lease_that_is_over_is_none() {
        let over =
            |change: fn(&mut DataKeyLease)| matches!(checked(change), Err(NotTheLease::Over));
        assert!(over(|lease| lease.expires_at = 1_000));
        assert!(over(|lease| lease.clock_end = 100_000));
        assert!(!over(|lease| lease.clock_end = 100_001));
    }
}
