//! Commands by ESYS that tss-esapi 7.7 does not wrap, or not byte by byte: `TPM2_NV_Certify` (TPM 2.0
//! Part 3 §31.16), `TPM2_GetSessionAuditDigest` (§18.5), a quote of several banks, and what opens a sealed release.
//!
//! tss-esapi keeps its ESYS pointer to itself, so this opens a context of its own, loads the AK from a
//! saved context, does its work, and undoes all of it in [`Esys`]'s `Drop`.
//! Invariant: the only unsafe code of the agent; no pointer leaves this file and its folder.

mod banks;
mod release;

use std::ffi::CString;
use std::ptr::{self, NonNull};

use tss_esapi::constants::response_code::Tss2ResponseCode;
use tss_esapi::structures::{Signature, SignatureScheme};
use tss_esapi::traits::Marshall as _;
use tss_esapi::tss2_esys::{
    ESYS_CONTEXT, ESYS_TR, ESYS_TR_NONE, ESYS_TR_PASSWORD, Esys_ContextLoad, Esys_Finalize,
    Esys_FlushContext, Esys_Free, Esys_Initialize, Esys_NV_Certify, Esys_TR_FromTPMPublic,
    TPM2B_ATTEST, TPM2B_DATA, TPMS_CONTEXT, TPMT_SIGNATURE, TSS2_TCTI_CONTEXT,
    Tss2_TctiLdr_Finalize, Tss2_TctiLdr_Initialize,
};
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Error as TssError, Result, TctiNameConf, WrapperErrorKind};

pub(super) use banks::{Banks, audit_banks};
pub(super) use release::{Halt, Step, open_release, pcrs_changed};

use super::{NvArea, Signed};

/// Has the AK certify the whole of an NV index, by the index's own empty authorization value.
pub(super) fn nv_certify(
    tcti: &TctiNameConf,
    ak: TpmsContext,
    area: NvArea,
    qualifying: &[u8; 32],
) -> Result<Signed> {
    let mut esys = Esys::open(tcti)?;
    let ak = esys.load(&ak.try_into()?)?;
    let index = esys.nv_index(area.index)?;
    esys.certify(ak, index, area.size, qualifying)
}

/// `TPM_ALG_SHA256` (Part 2 §6.3).
const ALG_SHA256: u16 = 0x000b;

/// An ESYS context, the TCTI under it, and what was loaded through it.
struct Esys {
    tcti: *mut TSS2_TCTI_CONTEXT,
    context: *mut ESYS_CONTEXT,
    loaded: Vec<ESYS_TR>,
}

impl Esys {
    fn open(tcti: &TctiNameConf) -> Result<Self> {
        let name = CString::try_from(tcti.clone())?;
        // From here on `Drop` undoes what was done.
        let mut esys = Self {
            tcti: ptr::null_mut(),
            context: ptr::null_mut(),
            loaded: Vec::new(),
        };
        // SAFETY: `name` is a C string that outlives the call; the out pointer is valid for a write.
        check(unsafe { Tss2_TctiLdr_Initialize(name.as_ptr(), &mut esys.tcti) })?;
        // SAFETY: the TCTI was just initialised and, by `Drop`, outlives the context; a null ABI version
        // is allowed and means the current one.
        check(unsafe { Esys_Initialize(&mut esys.context, esys.tcti, ptr::null_mut()) })?;
        Ok(esys)
    }

    /// Loads a saved object; it is flushed when `self` is dropped.
    fn load(&mut self, saved: &TPMS_CONTEXT) -> Result<ESYS_TR> {
        let mut handle = ESYS_TR_NONE;
        // SAFETY: the context is initialised; ESYS only reads `saved` and checks what is in it.
        check(unsafe { Esys_ContextLoad(self.context, saved, &mut handle) })?;
        self.loaded.push(handle);
        Ok(handle)
    }

    /// Names an NV index to ESYS. Nothing is loaded: `Esys_Finalize` frees what ESYS remembers of it.
    fn nv_index(&mut self, index: u32) -> Result<ESYS_TR> {
        let mut handle = ESYS_TR_NONE;
        // SAFETY: the context is initialised; a handle that is no NV index comes back as an error.
        check(unsafe {
            Esys_TR_FromTPMPublic(
                self.context,
                index,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &mut handle,
            )
        })?;
        Ok(handle)
    }

    fn certify(
        &mut self,
        ak: ESYS_TR,
        index: ESYS_TR,
        size: u16,
        qualifying: &[u8; 32],
    ) -> Result<Signed> {
        let data = qualifying_data(qualifying);
        // The AK's own scheme.
        let scheme = SignatureScheme::Null.into();
        let (mut attest, mut signature) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the context is initialised and the handles are its own; the inputs outlive the call and
        // are only read; ESYS writes to the out pointers either null or what `Esys_Free` frees.
        let code = unsafe {
            Esys_NV_Certify(
                self.context,
                ak,
                index,
                index,
                ESYS_TR_PASSWORD,
                ESYS_TR_PASSWORD,
                ESYS_TR_NONE,
                &data,
                &scheme,
                size,
                0,
                &mut attest,
                &mut signature,
            )
        };
        signed(code, attest, signature)
    }
}

fn qualifying_data(qualifying: &[u8; 32]) -> TPM2B_DATA {
    let mut data = TPM2B_DATA {
        size: 32,
        ..Default::default()
    };
    data.buffer[..32].copy_from_slice(qualifying);
    data
}

/// What a command that attests gave: `attest` and `signature` are its out pointers, and are freed.
fn signed(code: u32, attest: *mut TPM2B_ATTEST, signature: *mut TPMT_SIGNATURE) -> Result<Signed> {
    // Both are owned before anything can return.
    let (attest, signature) = (Allocated(attest), Allocated(signature));
    check(code)?;
    let attest = attest.read()?;
    let attest = attest
        .attestationData
        .get(..usize::from(attest.size))
        .ok_or(WRONG_VALUE)?;
    Ok(Signed {
        attest: attest.to_vec(),
        signature: Signature::try_from(*signature.read()?)?.marshall()?,
    })
}

impl Drop for Esys {
    fn drop(&mut self) {
        for handle in self.loaded.drain(..) {
            // SAFETY: something is loaded only through an initialised context, and flushed once.
            if let Err(error) = check(unsafe { Esys_FlushContext(self.context, handle) }) {
                tracing::warn!(%error, "a key or session stays in a slot of the TPM");
            }
        }
        // SAFETY: both calls accept a pointer to null, set what they freed to null, and are reached once.
        // The context goes first because it uses the TCTI.
        unsafe {
            Esys_Finalize(&mut self.context);
            Tss2_TctiLdr_Finalize(&mut self.tcti);
        }
    }
}

/// What ESYS allocated for us, or null.
struct Allocated<T>(*mut T);

impl<T> Allocated<T> {
    fn read(&self) -> Result<&T> {
        let there = NonNull::new(self.0).ok_or(WRONG_VALUE)?;
        // SAFETY: made only from the out pointers of a command of ESYS, which, where not null, point to an
        // initialised `T` that nothing else refers to and that lives until `self` is dropped.
        Ok(unsafe { there.as_ref() })
    }
}

impl<T> Drop for Allocated<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by ESYS or null, which is allowed, and freed once.
        unsafe { Esys_Free(self.0.cast()) };
    }
}

const WRONG_VALUE: TssError = TssError::WrapperError(WrapperErrorKind::WrongValueFromTpm);

fn check(code: u32) -> Result<()> {
    match Tss2ResponseCode::from(code) {
        Tss2ResponseCode::Success => Ok(()),
        failure => Err(TssError::Tss2Error(failure)),
    }
}
