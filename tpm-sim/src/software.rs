//! A TPM that is nothing but keys in memory: it says what a real one would, at the cost of a signature.
//!
//! For load: thousands of hosts need no process each. Its words are byte for byte those of a TPM
//! (TPM 2.0 Part 2 §10.12), and its EK certificates are of a [`Maker`] whose root is worth nothing.
//! Invariant: no clock; the time of a statement is an argument.

mod credential;
mod maker;
mod public_area;
mod release;
mod statement;

use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use touchstone_evidence::boot_log::{BOOT_PCRS, Bank};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::pcr::PcrValues;
use touchstone_evidence::tpm::attest::ClockInfo;
use touchstone_evidence::tpm::hash::Hash;
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::reader::TpmFormatError;
use touchstone_evidence::tpm::template::KeyTemplateError;
use touchstone_evidence::wire::{BankEvidence, EnrolmentChallenge, SignedAttest};
use zeroize::Zeroizing;

pub use maker::Maker;

/// Firmware version that all of these TPMs name.
const FIRMWARE: u64 = 0x2026_0001_0000_0000;
/// These TPMs are never suspended.
const RESTART_COUNT: u32 = 0;

/// Why a software TPM cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key, no signature or no certificate came out.
    #[error("the {0} could not be made; see that this machine has a source of randomness")]
    Crypto(&'static str),
    /// A public area of ours is not what evidence demands.
    #[error("a key does not follow its template")]
    Template(#[from] KeyTemplateError),
    /// Bytes that are no TPM structure.
    #[error("malformed TPM structure")]
    Format(#[from] TpmFormatError),
    /// A credential that was made for another TPM or another key, or was altered on the way.
    #[error("the credential is not for this TPM and this attestation key")]
    Credential,
    /// A release for another TPM, another boot or another state, or one that was altered on the way.
    #[error("the release is not for this TPM in this state")]
    Release,
    /// A certificate could not be signed.
    #[error("the EK certificate could not be made")]
    Certificate(#[from] rcgen::Error),
}

/// What calls here give.
pub type Result<T> = std::result::Result<T, Error>;

/// An EK, an AK below it, and the counters of a TPM under power.
pub struct SoftwareTpm {
    ek: PrivateKey,
    ek_public: Public,
    ak: EcdsaKeyPair,
    key: AttestationKey,
    release: release::Held,
    reset_count: u32,
}

impl SoftwareTpm {
    /// A TPM with new keys: EK by template L-2 (P-256, low range), AK P-256 with ECDSA and SHA-256.
    ///
    /// # Errors
    /// [`Error::Crypto`]; the others would be mistakes here.
    pub fn generate() -> Result<Self> {
        let ek = PrivateKey::generate(&agreement::ECDH_P256).map_err(|_| Error::Crypto("EK"))?;
        let point = ek.compute_public_key().map_err(|_| Error::Crypto("EK"))?;
        let ek_public = Public::parse(&public_area::endorsement_key(point.as_ref()))?;
        let ak = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let ak = ak.map_err(|_| Error::Crypto("AK"))?;
        let ak_public = Public::parse(&public_area::attestation_key(ak.public_key().as_ref()))?;
        Ok(Self {
            key: AttestationKey::under(&ek_public, ak_public)?,
            ek,
            ek_public,
            ak,
            release: release::Held::generate()?,
            reset_count: 1,
        })
    }

    /// The endorsement key.
    #[must_use]
    pub fn ek_public(&self) -> &Public {
        &self.ek_public
    }

    /// The attestation key, in its place under the EK.
    #[must_use]
    pub fn attestation_key(&self) -> &AttestationKey {
        &self.key
    }

    /// A TPM Reset: the machine boots anew, and the release key is another one.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn reset(&mut self) -> Result<()> {
        self.release = release::Held::generate()?;
        self.reset_count += 1;
        Ok(())
    }

    /// How many TPM Resets it has seen.
    #[must_use]
    pub fn reset_count(&self) -> u32 {
        self.reset_count
    }

    /// How many TPM Restarts and Resumes it has seen since the last Reset.
    #[must_use]
    pub fn restart_count(&self) -> u32 {
        RESTART_COUNT
    }

    /// `TPM2_ActivateCredential`: the secret that was protected for this EK and this AK.
    ///
    /// # Errors
    /// [`Error::Credential`] if it was not, [`Error::Format`].
    pub fn activate(&self, challenge: &EnrolmentChallenge) -> Result<Zeroizing<Vec<u8>>> {
        let seed = credential::seed(
            &self.ek,
            &self.ek_public,
            &challenge.encrypted_seed,
            credential::IDENTITY,
        )?;
        let name = self.key.public().name();
        credential::open(&seed, &name, &challenge.credential, 32)
    }

    /// `TPM2_Quote` of exactly `values`, SHA-256 bank, at `clock` (milliseconds).
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn quote(
        &self,
        qualifying: &Sha256Digest,
        clock: u64,
        values: &PcrValues,
    ) -> Result<SignedAttest> {
        let pcrs: Vec<u8> = values.0.keys().copied().collect();
        let body = statement::quote(&pcrs, &values.digest(Hash::Sha256));
        self.sign(qualifying, clock, &body)
    }

    /// What shows that SHA-256 is the only active bank and what the boot left in it: the audited answer to
    /// `TPM2_GetCapability`, and a quote of [`BOOT_PCRS`] (`values` has them all; what is missing is zero).
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn banks(
        &self,
        qualifying: &Sha256Digest,
        clock: u64,
        values: &PcrValues,
    ) -> Result<BankEvidence> {
        let capability = statement::capability(Bank::Sha256.id());
        let audit = statement::audit(&capability);
        let boot: Vec<u8> = BOOT_PCRS
            .iter()
            .flat_map(|pcr| values.value(*pcr).copied().unwrap_or(Sha256Digest::ZERO).0)
            .collect();
        let quote = statement::quote(&BOOT_PCRS, &Sha256Digest::of(&boot).0);
        Ok(BankEvidence {
            audit: self.sign(qualifying, clock, &audit)?,
            quote: self.sign(qualifying, clock, &quote)?,
            capability: capability.into(),
            values: boot.into(),
        })
    }

    /// `TPM2_NV_Certify` of the whole location index, which holds `contents`.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn certify_location(
        &self,
        qualifying: &Sha256Digest,
        clock: u64,
        contents: &[u8],
    ) -> Result<SignedAttest> {
        self.sign(qualifying, clock, &statement::location(contents))
    }

    fn sign(
        &self,
        qualifying: &Sha256Digest,
        clock: u64,
        attested: &statement::Attested,
    ) -> Result<SignedAttest> {
        let clock = ClockInfo {
            clock,
            reset_count: self.reset_count,
            restart_count: RESTART_COUNT,
            safe: true,
        };
        let signer = self.key.qualified_name();
        let attest = statement::marshal(signer, qualifying, clock, FIRMWARE, attested);
        statement::sign(&self.ak, attest)
    }
}

impl std::fmt::Debug for SoftwareTpm {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "software TPM {}", self.ek_public.spki_digest())
    }
}

#[cfg(test)]
mod tests;
