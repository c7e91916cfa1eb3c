//! How fast this machine is, in the same run: machines differ more than servers do.

use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use rustix::time::{ClockId, clock_gettime};

/// How many are verified: a tenth of a second.
const TIMES: u32 = 2000;

/// CPU of this thread for one verification of a P-256 signature over 150 bytes, what most of a round consists of.
pub(crate) fn p256_verification_micros() -> anyhow::Result<f64> {
    let broken = "P-256 does not work on this machine";
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .ok()
        .context(broken)?;
    let message = [7; 150];
    let signature = key
        .sign(&SystemRandom::new(), &message)
        .ok()
        .context(broken)?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key());
    let began = cpu_time()?;
    for _ in 0..TIMES {
        public
            .verify(&message, signature.as_ref())
            .ok()
            .context(broken)?;
    }
    Ok((cpu_time()? - began).as_secs_f64() * 1e6 / f64::from(TIMES))
}

fn cpu_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    #[test]
    fn a_verification_takes_some_time() {
        let micros = super::p256_verification_micros().unwrap();
        assert!((1.0..10_000.0).contains(&micros), "{micros}");
    }
}
