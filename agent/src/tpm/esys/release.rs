//! Opens a sealed release: `TPM2_Import`, `TPM2_Load`, `TPM2_PolicyPCR`, `TPM2_PolicyCounterTimer` twice,
//! `TPM2_Unseal` (TPM 2.0 Part 3 §13.3, §12.2, §23.7, §23.10, §12.7).
//!
//! The policy session is salted with the release key and encrypts what the TPM answers, so that who listens on the
//! bus does not read the secret. What ESYS itself keeps of an answer until it frees it cannot be wiped from here.

use std::ptr;

use touchstone_evidence::sealed_release::{Comparison, RELEASE_PCRS, ReleasePolicy};
use touchstone_evidence::wire::SealedRelease;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
use tss_esapi::structures::{
    EncryptedSecret, Private, Public, SymmetricDefinition, SymmetricDefinitionObject,
};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::tss2_esys::{
    ESYS_TR, ESYS_TR_NONE, ESYS_TR_PASSWORD, Esys_Free, Esys_Import, Esys_Load,
    Esys_PolicyCounterTimer, Esys_PolicyPCR, Esys_PolicyRestart, Esys_StartAuthSession,
    Esys_TRSess_SetAttributes, Esys_Unseal, TPM2B_DIGEST, TPM2B_ENCRYPTED_SECRET, TPM2B_PRIVATE,
    TPM2B_PUBLIC, TPM2B_SENSITIVE_DATA, TPMT_SYM_DEF, TPMT_SYM_DEF_OBJECT,
};
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Error as TssError, Result, TctiNameConf};
use zeroize::{Zeroize as _, Zeroizing};

use super::banks::selection;
use super::{ALG_SHA256, Allocated, Esys, WRONG_VALUE, check};

/// `TPM_SE_POLICY` (Part 2 §6.11).
const SE_POLICY: u8 = 1;
/// `continueSession` and `encrypt` of `TPMA_SESSION` (§8.4): the TPM encrypts the first parameter of its answers.
const ENCRYPTING: u8 = 0x41;

/// What the TPM was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tpm) enum Step {
    /// To take the release key back into a slot, or to begin a session.
    Begin,
    /// To take the object in.
    Import,
    /// To compare the PCRs.
    Pcrs,
    /// To compare the counters.
    Counters,
    /// To compare the clock.
    Lease,
    /// To give the secret out.
    Unseal,
}

/// Where it ended, and what the TPM said.
#[derive(Debug)]
pub(in crate::tpm) struct Halt {
    pub(in crate::tpm) at: Step,
    pub(in crate::tpm) why: TssError,
}

impl Step {
    fn halt(self) -> impl FnOnce(TssError) -> Halt {
        move |why| Halt { at: self, why }
    }
}

/// Opens `sealed` under the release key that was saved as `parent`. An extend between policy and use lets it begin
/// anew, `attempts` times in all.
pub(in crate::tpm) fn open_release(
    tcti: &TctiNameConf,
    parent: TpmsContext,
    sealed: &SealedRelease,
    policy: &ReleasePolicy,
    attempts: usize,
) -> std::result::Result<Zeroizing<Vec<u8>>, Halt> {
    let duplicate = Duplicate::of(sealed).map_err(Step::Import.halt())?;
    let mut esys = Esys::open(tcti).map_err(Step::Begin.halt())?;
    let parent = parent.try_into().map_err(Step::Begin.halt())?;
    let parent = esys.load(&parent).map_err(Step::Begin.halt())?;
    let session = esys
        .encrypting_policy_session(parent)
        .map_err(Step::Begin.halt())?;
    let object = esys
        .import(parent, &duplicate)
        .map_err(Step::Import.halt())?;
    let mut opened = esys.by_policy(session, object, policy);
    for _ in 1..attempts {
        match &opened {
            Err(halt) if pcrs_changed(halt.why) => {}
            _ => break,
        }
        esys.policy_restart(session).map_err(Step::Begin.halt())?;
        opened = esys.by_policy(session, object, policy);
    }
    opened
}

/// `TPM_RC_PCR_CHANGED`: some PCR, not only a selected one, was extended between policy and use.
pub(in crate::tpm) fn pcrs_changed(error: TssError) -> bool {
    matches!(error, TssError::Tss2Error(code) if code.kind() == Some(Tss2ResponseCodeKind::PcrChanged))
}

/// What `TPM2_Import` takes.
struct Duplicate {
    public: TPM2B_PUBLIC,
    private: TPM2B_PRIVATE,
    seed: TPM2B_ENCRYPTED_SECRET,
}

impl Duplicate {
    fn of(sealed: &SealedRelease) -> Result<Self> {
        Ok(Self {
            public: Public::unmarshall(&sealed.public)?.try_into()?,
            private: Private::try_from(&sealed.duplicate[..])?.into(),
            seed: EncryptedSecret::try_from(&sealed.encrypted_seed[..])?.into(),
        })
    }
}

impl Esys {
    /// A policy session, salted with the key `salt`; flushed when `self` is dropped.
    fn encrypting_policy_session(&mut self, salt: ESYS_TR) -> Result<ESYS_TR> {
        let symmetric: TPMT_SYM_DEF = SymmetricDefinition::AES_128_CFB.try_into()?;
        let mut session = ESYS_TR_NONE;
        // SAFETY: the context is initialised and the key its own; `symmetric` outlives the call; ESYS makes a nonce
        // where none is given.
        check(unsafe {
            Esys_StartAuthSession(
                self.context,
                salt,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ptr::null(),
                SE_POLICY,
                &symmetric,
                ALG_SHA256,
                &mut session,
            )
        })?;
        self.loaded.push(session);
        // SAFETY: the session is of this context.
        check(unsafe { Esys_TRSess_SetAttributes(self.context, session, ENCRYPTING, 0xff) })?;
        Ok(session)
    }

    /// Imports under `parent`, whose authorization value is empty, and loads.
    fn import(&mut self, parent: ESYS_TR, duplicate: &Duplicate) -> Result<ESYS_TR> {
        // No inner wrapper: a null key and no algorithm.
        let symmetric: TPMT_SYM_DEF_OBJECT = SymmetricDefinitionObject::Null.into();
        let mut private = ptr::null_mut();
        // SAFETY: the context is initialised and the handle its own; the inputs outlive the call and are only read;
        // ESYS writes to the out pointer either null or what `Esys_Free` frees.
        let code = unsafe {
            Esys_Import(
                self.context,
                parent,
                ESYS_TR_PASSWORD,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ptr::null(),
                &duplicate.public,
                &duplicate.private,
                &duplicate.seed,
                &symmetric,
                &mut private,
            )
        };
        let private = Allocated(private);
        check(code)?;
        let mut object = ESYS_TR_NONE;
        // SAFETY: as above; `private` lives until the end of this function.
        check(unsafe {
            Esys_Load(
                self.context,
                parent,
                ESYS_TR_PASSWORD,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                private.read()?,
                &duplicate.public,
                &mut object,
            )
        })?;
        self.loaded.push(object);
        Ok(object)
    }

    /// Runs the policy in `session`, and unseals `object` by it.
    fn by_policy(
        &mut self,
        session: ESYS_TR,
        object: ESYS_TR,
        policy: &ReleasePolicy,
    ) -> std::result::Result<Zeroizing<Vec<u8>>, Halt> {
        self.policy_pcr(session, policy)
            .map_err(Step::Pcrs.halt())?;
        self.policy_counter_timer(session, &policy.same_boot())
            .map_err(Step::Counters.halt())?;
        self.policy_counter_timer(session, &policy.within_lease())
            .map_err(Step::Lease.halt())?;
        self.unseal(session, object).map_err(Step::Unseal.halt())
    }

    /// The expected digest goes along, so that other PCRs are told as such and not as a failed policy.
    fn policy_pcr(&mut self, session: ESYS_TR, policy: &ReleasePolicy) -> Result<()> {
        let bits = RELEASE_PCRS
            .iter()
            .fold(0, |bits, pcr| bits | (1_u32 << pcr));
        let (selection, digest) = (
            selection(&[ALG_SHA256], bits)?,
            sized(&policy.pcr_digest().0),
        );
        // SAFETY: the context is initialised and the session its own; the inputs outlive the call and are only read.
        check(unsafe {
            Esys_PolicyPCR(
                self.context,
                session,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &digest,
                &selection,
            )
        })
    }

    fn policy_counter_timer(&mut self, session: ESYS_TR, compared: &Comparison) -> Result<()> {
        let operand = sized(&compared.operand);
        // SAFETY: as in `policy_pcr`.
        check(unsafe {
            Esys_PolicyCounterTimer(
                self.context,
                session,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &operand,
                compared.offset,
                compared.operation,
            )
        })
    }

    /// Forgets what the session has shown.
    fn policy_restart(&mut self, session: ESYS_TR) -> Result<()> {
        // SAFETY: the context is initialised and the session its own.
        check(unsafe {
            Esys_PolicyRestart(
                self.context,
                session,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
            )
        })
    }

    fn unseal(&mut self, session: ESYS_TR, object: ESYS_TR) -> Result<Zeroizing<Vec<u8>>> {
        let mut data = ptr::null_mut();
        // SAFETY: as in `import`.
        let code = unsafe {
            Esys_Unseal(
                self.context,
                object,
                session,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &mut data,
            )
        };
        let data = Unsealed(data);
        check(code)?;
        data.copy()
    }
}

/// At most 32 bytes are ever given.
fn sized(bytes: &[u8]) -> TPM2B_DIGEST {
    let mut digest = TPM2B_DIGEST::default();
    for (to, from) in digest.buffer.iter_mut().zip(bytes) {
        *to = *from;
        digest.size += 1;
    }
    digest
}

/// A secret that ESYS allocated for us, or null; wiped before it is freed.
struct Unsealed(*mut TPM2B_SENSITIVE_DATA);

impl Unsealed {
    fn copy(&self) -> Result<Zeroizing<Vec<u8>>> {
        // SAFETY: made only from the out pointer of a command of ESYS, which, where not null, points to an initialised
        // value that nothing else refers to and that lives until `self` is dropped.
        let data = unsafe { self.0.as_ref() }.ok_or(WRONG_VALUE)?;
        let secret = data.buffer.get(..usize::from(data.size));
        Ok(Zeroizing::new(secret.ok_or(WRONG_VALUE)?.to_vec()))
    }
}

impl Drop for Unsealed {
    fn drop(&mut self) {
        // SAFETY: as in `copy`.
        if let Some(data) = unsafe { self.0.as_mut() } {
            data.buffer.zeroize();
        }
        // SAFETY: allocated by ESYS or null, which is allowed, and freed once.
        unsafe { Esys_Free(self.0.cast()) };
    }
}
