//! A sealed release: a secret that one TPM gives out, in one boot, while the boot's PCRs stand, before a lease ends.
//!
//! It is a duplicate for the release key (TPM 2.0 Part 1 §23.3) of a data object whose only use is by a
//! [`ReleasePolicy`]. The secret is of one release and protects its [`payload`].
//! Not established here: that the host deserves it. Whoever seals has judged the round before.

mod object;
pub mod payload;
mod policy;

use zeroize::Zeroizing;

pub use object::{DATA_OBJECT_ATTRIBUTES, NotTheObject, check_object};
pub use policy::{Comparison, PcrNotQuoted, RELEASE_PCRS, ReleasePolicy};

use crate::release_key::VerifiedReleaseKey;
use crate::tpm::hash::Hash;
use crate::tpm::name::Name;
use crate::tpm::{outer_wrap, shared_seed};
use crate::wire::SealedRelease;

/// Label of the seed of a duplicate (Part 1 §23.3.2.3), with its NUL.
const DUPLICATE: &[u8] = b"DUPLICATE\0";

/// Random bytes of one release; each is used once.
pub struct SealSecrets {
    /// What the TPM gives out.
    pub secret: Zeroizing<[u8; 32]>,
    /// Hides the secret from who reads the public area, which holds a digest over both (Part 1 §27.5.3.2).
    pub obfuscation: Zeroizing<[u8; 32]>,
}

/// Why nothing is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The quote does not show all of the state that is sealed to.
    #[error(transparent)]
    Policy(#[from] PcrNotQuoted),
    /// The lease ends before it begins.
    #[error("the lease ends before the quote was made")]
    LeaseOver,
    /// A cryptographic operation failed: the key is not a valid one.
    #[error("the secret could not be encrypted under the release key")]
    Encryption,
}

/// Seals `secrets.secret` to the TPM that holds `key`, in the boot and to the PCRs of the quote that goes with it,
/// until its clock reads `clock_end` (milliseconds).
///
/// The ephemeral key draws its own randomness.
pub fn seal(
    key: &VerifiedReleaseKey,
    clock_end: u64,
    secrets: &SealSecrets,
) -> Result<SealedRelease, SealError> {
    let clock = key.quote().clock();
    if clock_end <= clock.clock {
        return Err(SealError::LeaseOver);
    }
    let policy = ReleasePolicy::new(
        key.quote().values(),
        (clock.reset_count, clock.restart_count),
        clock_end,
    )?;
    duplicate(key, &policy, secrets).ok_or(SealError::Encryption)
}

fn duplicate(
    key: &VerifiedReleaseKey,
    policy: &ReleasePolicy,
    secrets: &SealSecrets,
) -> Option<SealedRelease> {
    let (secret, obfuscation) = (&secrets.secret[..], &secrets.obfuscation[..]);
    let unique = Hash::Sha256.digest(&[obfuscation, secret]);
    let public = object::public(policy, &unique)?;
    let sensitive = object::sensitive(obfuscation, secret)?;

    let parent = key.public();
    let (seed, encrypted_seed) = shared_seed::share(parent, DUPLICATE)?;
    let name = Name::of(Hash::Sha256, &public);
    let (hash, symmetric) = (parent.name_hash(), parent.symmetric()?);
    let duplicate = outer_wrap::wrap(hash, symmetric, &seed, &name, &sensitive)?;
    Some(SealedRelease {
        public: public.into(),
        duplicate: duplicate.into(),
        encrypted_seed: encrypted_seed.into(),
    })
}

#[cfg(test)]
mod tests;
