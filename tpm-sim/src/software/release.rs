//! What a TPM does with a release key and what is sealed to it (TPM 2.0 Part 1 §23.3): the inverse of
//! [`touchstone_evidence::sealed_release`].

use aws_lc_rs::agreement::{self, PrivateKey};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::release_key::release_key_name;
use touchstone_evidence::sealed_release::{ReleasePolicy, check_object};
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::reader::Reader;
use touchstone_evidence::wire::{ReleaseKey, SealedRelease};
use zeroize::Zeroizing;

use super::statement;
use super::{Error, Result, SoftwareTpm, credential, public_area};

/// Label of the seed, with its NUL.
const DUPLICATE: &[u8] = b"DUPLICATE\0";
/// Bytes of each part of the object, and of a `TPMT_SENSITIVE` of them.
const PART: usize = 32;
const SENSITIVE: usize = 72;

/// The release key of one boot.
pub(super) struct Held {
    private: PrivateKey,
    public: Public,
}

impl Held {
    pub(super) fn generate() -> Result<Self> {
        let private = PrivateKey::generate(&agreement::ECDH_P256);
        let private = private.map_err(|_| Error::Crypto("release key"))?;
        let point = private.compute_public_key();
        let point = point.map_err(|_| Error::Crypto("release key"))?;
        let public = Public::parse(&public_area::release_key(point.as_ref()))?;
        public.check_release_template()?;
        Ok(Self { private, public })
    }
}

impl SoftwareTpm {
    /// `TPMT_PUBLIC` of the release key of this boot.
    #[must_use]
    pub fn release_key(&self) -> &[u8] {
        self.release.public.as_bytes()
    }

    /// `TPM2_Certify` of the release key, for a round whose `qualifying` data has its Name.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn certify_release_key(&self, qualifying: &Sha256Digest, clock: u64) -> Result<ReleaseKey> {
        let name = release_key_name(self.release_key());
        let certification = self.sign(qualifying, clock, &statement::release_key(&name))?;
        Ok(ReleaseKey {
            public: self.release_key().to_vec().into(),
            certification,
        })
    }

    /// The secret in `sealed`, if it opens in the state of `policy`, which is this TPM's by the caller's word.
    ///
    /// # Errors
    /// [`Error::Release`] if it is sealed to another key or another state, or was altered on the way.
    pub fn open_release(
        &self,
        sealed: &SealedRelease,
        policy: &ReleasePolicy,
    ) -> Result<Zeroizing<[u8; 32]>> {
        check_object(&sealed.public, policy).map_err(|_| Error::Release)?;
        let Held { private, public } = &self.release;
        let seed = credential::seed(private, public, &sealed.encrypted_seed, DUPLICATE);
        let seed = seed.map_err(|_| Error::Release)?;
        let name = release_key_name(&sealed.public);
        let sensitive = credential::open(&seed, &name, &sealed.duplicate, SENSITIVE);
        let sensitive = sensitive.map_err(|_| Error::Release)?;
        let mut reader = Reader::new(&sensitive);
        let _kind = reader.u16()?;
        let _authorization = reader.sized(0, "authorization value")?;
        let _obfuscation = reader.sized(PART, "obfuscation value")?;
        let secret = reader.sized(PART, "secret")?.try_into();
        reader.finish()?;
        secret.map(Zeroizing::new).map_err(|_| Error::Release)
    }
}
