//! The host's TPM, owned by one thread; [`Tpm`] is the cloneable handle that asks it to work.
//!
//! What goes in and out are marshalled TPM structures (TPM 2.0 Part 2), so nothing above names tss-esapi.
//! tpm2-tss logs to stderr by itself: start the process with `TSS2_LOG=all+none` in its environment.
//! Invariant: nothing here extends a PCR, and no object or session outlives the call that made it.

mod ak;
mod attest;
mod banks;
mod endorsement;
mod error;
#[expect(
    unsafe_code,
    reason = "tss-esapi 7.7 does not wrap all commands that attest, so ESYS is called directly"
)]
mod esys;
mod facts;
mod keys;
mod location;
mod nv;
mod release;
mod session;
mod template;
mod thread;
mod visit;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::sealed_release::ReleasePolicy;
use touchstone_evidence::wire::SealedRelease;
use zeroize::Zeroizing;

pub use error::Error;
pub use facts::Facts;
pub use location::{
    LOCATION_ATTRIBUTES, LOCATION_ATTRIBUTES_WRITTEN, LOCATION_INDEX, LOCATION_TAG_MAX,
};
pub use template::EkTemplate;
use thread::{Job, Thread};
use visit::Owner;

/// What every call here gives.
pub type Result<T> = std::result::Result<T, Error>;

/// An endorsement key and the certificate that its manufacturer stored with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// The X.509 certificate in DER, without the padding that some TPMs keep after it.
    pub certificate: Vec<u8>,
    /// `TPMT_PUBLIC` of the EK, as this TPM generates it from the default template of its kind
    /// (TCG EK Credential Profile). No `TPM2B` size before it.
    pub public: Vec<u8>,
    /// CA certificates that the TPM holds beside it, DER.
    pub intermediates: Vec<Vec<u8>>,
    /// What it holds where platform certificates are kept, DER, unread; at most 8 KiB.
    pub platform_certificate: Option<Vec<u8>>,
    /// Which EK it is.
    pub ek: EkReference,
}

/// Which of the TPM's EKs an attestation key was made under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EkReference {
    /// How it is derived, and how its use is authorised.
    pub template: EkTemplate,
    /// Its Name: a persistent copy is known by it. Empty: derive it.
    pub name: Bytes<66>,
}

/// An attestation key: ECDSA P-256 with SHA-256, restricted, made under the EK.
///
/// Only the TPM that made it can load it, until that TPM is cleared. Without the EK it says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct AkBlob {
    /// `TPMT_PUBLIC` (TPM 2.0 Part 2 §12.2.4), without the `TPM2B` size.
    pub public: Vec<u8>,
    /// The buffer of a `TPM2B_PRIVATE` (Part 2 §12.3.7), without its size: wrapped by the EK, not secret.
    pub private: Vec<u8>,
    /// The EK that wraps it.
    pub ek: EkReference,
}

impl fmt::Debug for AkBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AkBlob")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// What one round of attestation covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestRequest {
    /// `qualifyingData` of every attestation in the round.
    pub qualifying: [u8; 32],
    /// PCRs of the SHA-256 bank: indices 0 to 23, in any order, at least one.
    pub pcrs: Vec<u8>,
    /// The NV index to certify, where there is one.
    pub location: Option<NvArea>,
    /// The release key to certify, where it is wanted: what [`Tpm::release_key`] gave. Its Name belongs in the
    /// qualifying data.
    pub release_key: Option<Vec<u8>>,
}

/// A whole NV index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvArea {
    /// Its handle, such as [`LOCATION_INDEX`].
    pub index: u32,
    /// Its `dataSize` in bytes.
    pub size: u16,
}

/// What the TPM said in one round.
///
/// The attestations carry the same resetCount, restartCount, firmwareVersion and qualifiedSigner,
/// and the quote's clock is not later than the others'. The PCR values hash to the quote's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// `TPM2_Quote` over the PCRs asked for.
    pub quote: Signed,
    /// `TPM2_NV_Certify` of the whole area asked for.
    pub location: Option<Signed>,
    /// `TPM2_Certify` of the release key asked for.
    pub release_key: Option<Signed>,
    /// SHA-256 PCR values, by ascending index.
    pub pcr_values: Vec<[u8; 32]>,
}

/// What the TPM said of all its PCR banks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankAttestation {
    /// Its answer to which banks are allocated: `TPMS_CAPABILITY_DATA`.
    pub capability: Vec<u8>,
    /// `TPM2_GetSessionAuditDigest` over that question and answer.
    pub audit: Signed,
    /// `TPM2_Quote` over PCRs 0–9 and 14 of each active bank of SHA-1, SHA-256, SHA-384 and SHA-512.
    pub quote: Signed,
    /// The quoted values one after the other, in the order of the quote's selection.
    pub values: Vec<u8>,
}

/// A statement of the TPM and the AK's signature over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `TPMS_ATTEST` (TPM 2.0 Part 2 §10.12.8): exactly the bytes that are signed.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` (Part 2 §11.3.4).
    pub signature: Vec<u8>,
}

/// A handle on the TPM. Clones ask the same thread; it ends with the last of them, which waits for it,
/// at most two seconds.
///
/// A call whose future is dropped is skipped if it had not begun, and otherwise ends unheard.
#[derive(Clone, Debug)]
pub struct Tpm {
    thread: Arc<Thread>,
}

impl Tpm {
    /// Starts the thread that owns the TPM at `tcti`, and sees it answer.
    ///
    /// `tcti` is a TCTI name and configuration: `device:/dev/tpmrm0`, `tabrmd` or
    /// `swtpm:host=127.0.0.1,port=2321`. A device without a resource manager (`/dev/tpm0`) works
    /// only while nothing else uses it.
    ///
    /// # Errors
    /// [`Error::Tcti`] if `tcti` cannot be read, [`Error::Unreachable`] if no TPM answers there.
    pub async fn open(tcti: &str) -> Result<Self> {
        let thread = Arc::new(Thread::start(Owner::new(tcti)?)?);
        let tpm = Self { thread };
        tpm.ask(|owner| owner.visit()?.probe()).await?;
        Ok(tpm)
    }

    /// The EK certificate and the EK that this TPM generates for it.
    ///
    /// # Errors
    /// [`Error::NoEndorsement`] if the TPM holds no certificate that we know where to find.
    pub async fn endorsement(&self) -> Result<Endorsement> {
        self.ask(|owner| owner.visit()?.endorsement()).await
    }

    /// Makes a new attestation key. Nothing stays in the TPM: keep the blob.
    ///
    /// # Errors
    /// [`Error::Authorization`] if the endorsement hierarchy has been given an authorization value.
    pub async fn create_ak(&self) -> Result<AkBlob> {
        self.ask(|owner| owner.visit()?.create_ak()).await
    }

    /// Opens a credential made for this EK and this AK (`TPM2_ActivateCredential`, Part 3 §12.5).
    ///
    /// `credential_blob` is the contents of the `TPM2B_ID_OBJECT`, `secret` those of the
    /// `TPM2B_ENCRYPTED_SECRET`, both without their outer size. The answer crosses the bus encrypted.
    ///
    /// # Errors
    /// [`Error::Credential`] if it was made for another EK or AK, [`Error::AkLost`] if the AK does not load.
    pub async fn activate(
        &self,
        ak: &AkBlob,
        credential_blob: &[u8],
        secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let (ak, blob, secret) = (ak.clone(), credential_blob.to_vec(), secret.to_vec());
        self.ask(move |owner| owner.visit()?.activate(&ak, blob, secret))
            .await
    }

    /// One round: quote, then the location index and the release key certified, then the PCRs read.
    ///
    /// # Errors
    /// [`Error::AkLost`] if the AK does not load, [`Error::Unsteady`] if PCRs or counters kept moving
    /// between those commands, [`Error::Selection`] and [`Error::NoBank`] for PCRs that cannot be quoted,
    /// [`Error::ReleaseKeyLost`] if the TPM was reset since it made the release key asked for.
    pub async fn attest(&self, ak: &AkBlob, request: AttestRequest) -> Result<Attestation> {
        let ak = ak.clone();
        self.ask(move |owner| owner.attest(&ak, &request)).await
    }

    /// Which PCR banks are active, and what the boot left in each of them. `qualifying` as in
    /// [`AttestRequest`]; it belongs after [`Tpm::attest`] of the same round.
    ///
    /// # Errors
    /// As [`Tpm::attest`]; [`Error::Authorization`] if the endorsement hierarchy has an authorization value.
    pub async fn banks(&self, ak: &AkBlob, qualifying: [u8; 32]) -> Result<BankAttestation> {
        let ak = ak.clone();
        self.ask(move |owner| owner.banks(&ak, &qualifying)).await
    }

    /// `TPMT_PUBLIC` of the release key of this boot. Until the next TPM Reset it stays the same.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn release_key(&self) -> Result<Vec<u8>> {
        self.ask(Owner::release_key).await
    }

    /// Opens what was sealed to the release key, if the TPM is in the state of `policy`. The secret crosses the
    /// bus encrypted. An extend between policy and use (`TPM_RC_PCR_CHANGED`) is tried again, a few times.
    ///
    /// # Errors
    /// [`Error::NotTheObject`] if it could be opened in another way, which is seen before the TPM is asked;
    /// [`Error::OtherRelease`], [`Error::OtherPcrs`], [`Error::OtherBoot`] or [`Error::LeaseOver`] if another release
    /// is needed; [`Error::PcrsChanged`] if the same may open later.
    pub async fn open_release(
        &self,
        sealed: SealedRelease,
        policy: ReleasePolicy,
    ) -> Result<Zeroizing<[u8; 32]>> {
        self.ask(move |owner| owner.open_release(&sealed, &policy))
            .await
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn facts(&self) -> Result<Facts> {
        self.ask(|owner| owner.visit()?.facts()).await
    }

    /// Sees whether the AK loads; it does not stay loaded.
    ///
    /// # Errors
    /// [`Error::AkLost`] if it does not.
    pub async fn loads(&self, ak: &AkBlob) -> Result<()> {
        let ak = ak.clone();
        self.ask(move |owner| owner.visit()?.loads(&ak)).await
    }

    /// What the index [`LOCATION_INDEX`] holds, or `None` if it is undefined or was never written.
    ///
    /// # Errors
    /// [`Error::Refused`] if the index is there but may not be read.
    pub async fn location_tag(&self) -> Result<Option<Vec<u8>>> {
        self.ask(|owner| owner.visit()?.location_tag()).await
    }

    /// Stores a location tag of 1 to [`LOCATION_TAG_MAX`] bytes, redefining the index where its shape differs.
    ///
    /// # Errors
    /// [`Error::TagSize`] for other sizes, [`Error::Authorization`] if the owner has set an authorization value.
    pub async fn write_location_tag(&self, tag: &[u8]) -> Result<()> {
        let tag = tag.to_vec();
        self.ask(move |owner| owner.visit()?.write_location_tag(&tag))
            .await
    }

    /// Has the thread do `work` and waits for what comes of it.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Owner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |owner| {
            // Nobody waits any more: the TPM is slow, so do not start.
            if !answer.is_closed() {
                let _ = answer.send(work(owner));
            }
        });
        self.thread.give(job).await?;
        answered.await.map_err(|_| Error::Gone)?
    }
}
