//! One-pass ECDH (TPM 2.0 Part 1 §C.6.4): a seed that only the holder of an EC key can make out.

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use zeroize::Zeroizing;

use super::public::{Curve, Key, Public};
use super::reader::write_sized;

/// A seed, and what its receiver needs to make it out: contents of a `TPM2B_ENCRYPTED_SECRET`.
pub(crate) type Seed = (Zeroizing<Vec<u8>>, Vec<u8>);

/// Shares a seed with the holder of `receiver`: KDFe over the shared coordinate, and the ephemeral point as a
/// `TPMS_ECC_POINT`. `label` carries its NUL. `None`: `receiver` is no valid EC key.
pub(crate) fn share(receiver: &Public, label: &[u8]) -> Option<Seed> {
    let Key::Ec {
        curve, x: their_x, ..
    } = receiver.key()
    else {
        return None;
    };
    let algorithm = match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    };
    let ephemeral = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).ok()?;
    let public = ephemeral.compute_public_key().ok()?;
    let coordinates = public.as_ref().get(1..)?;
    let (x, y) = coordinates.split_at_checked(curve.size())?;
    let mut point = Vec::new();
    write_sized(&mut point, x)?;
    write_sized(&mut point, y)?;

    let theirs = UnparsedPublicKey::new(algorithm, receiver.key().point()?);
    let hash = receiver.name_hash();
    let counter = 1u32.to_be_bytes();
    let seed = agree_ephemeral(ephemeral, theirs, (), |shared| {
        let parts: [&[u8]; 5] = [&counter, shared, label, x, their_x];
        Ok(Zeroizing::new(hash.digest(&parts)))
    });
    Some((seed.ok()?, point))
}
