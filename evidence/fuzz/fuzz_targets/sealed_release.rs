//! A sealed release as a host gets it: only the one public area of its state passes, and a release key that a host
//! shows is either by the template or refused.

#![no_main]

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::sealed_release::{
    DATA_OBJECT_ATTRIBUTES, NotTheObject, ReleasePolicy, check_object,
};
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::template::RELEASE_KEY_TEMPLATE;
use touchstone_evidence_fuzz::assert_exact;

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let policy = policy();
    let object = match check_object(data, &policy) {
        Ok(()) => {
            // Nothing in it is free but the digest over the secret.
            let (head, _unique) = data.split_at(data.len() - 32);
            assert_eq!(head, expected(&policy));
            assert_exact(data, |bytes| check_object(bytes, &policy).is_ok());
            true
        }
        Err(NotTheObject::Attributes { observed }) => {
            assert_ne!(observed, DATA_OBJECT_ATTRIBUTES);
            true
        }
        Err(NotTheObject::Policy) => true,
        Err(NotTheObject::Malformed(_)) => false,
    };
    object | release_key(data)
}

/// Whether it is a key; one by the template has nothing of its own but its point.
fn release_key(data: &[u8]) -> bool {
    let Ok(public) = Public::parse(data) else {
        return false;
    };
    if public.check_release_template().is_ok() {
        assert!(!public.may_leave_its_tpm());
        assert_eq!(data[..22], RELEASE_KEY_TEMPLATE[..22]);
        assert!(public.check_attestation_template().is_err());
        assert!(public.check_endorsement_template().is_err());
    }
    true
}

/// `TPMT_PUBLIC` up to the unique value.
fn expected(policy: &ReleasePolicy) -> Vec<u8> {
    let mut public = vec![0, 8, 0, 0x0b];
    public.extend(DATA_OBJECT_ATTRIBUTES.to_be_bytes());
    public.extend([0, 32]);
    public.extend(policy.digest().0);
    public.extend([0, 0x10, 0, 32]);
    public
}

/// That of the seeds.
fn policy() -> ReleasePolicy {
    let zero = |pcr| (pcr, Sha256Digest::ZERO);
    let values = PcrValues(PcrSelection::DEFAULT.indices().map(zero).collect());
    ReleasePolicy::new(&values, (1, 0), 1000).unwrap()
}
