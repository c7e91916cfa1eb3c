//! Commands by ESYS that tss-esapi 7.7 does not wrap, or not byte by byte: `TPM2_NV_Certify` (TPM 2.0
//! Part 3 §31.16), `TPM2_GetSessionAuditDigest` (§18.5), a quote of several banks, and what opens a sealed release.
//!
//! tss-esapi keeps its ESYS pointer to itself, so this opens a context of its own, loads the AK from a
//! saved context, does its work, and undoes all of it in [`Esys`]'s `Drop`.
//! Invariant: the only unsafe code of the agent; no pointer leaves this file and its folder.

mod release;

use std::ffi::CString;
use std::ptr::{self, NonNull};

use tss_esapi::constants::response_code::Tss2ResponseCode;
use tss_esapi::structures::{Signature, SignatureScheme};
use tss_esapi::traits::Marshall as _;
use tss_esapi::tss2_esys::{
    ESYS_CONTEXT, ESYS_TR, ESYS_TR_NONE, ESYS_TR_PASSWORD, ESYS_TR_RH_ENDORSEMENT,
    Esys_ContextLoad, Esys_Finalize, Esys_FlushContext, Esys_Free, Esys_GetCapability,
    Esys_GetSessionAuditDigest, Esys_Initialize, Esys_NV_Certify, Esys_Quote,
    Esys_StartAuthSession, Esys_TR_FromTPMPublic, Esys_TRSess_SetAttributes, TPM2B_ATTEST,
    TPM2B_DATA, TPML_PCR_SELECTION, TPMS_CONTEXT, TPMS_PCR_SELECTION, TPMT_SIGNATURE, TPMT_SYM_DEF,
    TSS2_TCTI_CONTEXT, Tss2_TctiLdr_Finalize, Tss2_TctiLdr_Initialize,
};
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Error as TssError, Result, TctiNameConf, WrapperErrorKind};

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

/// `TPM_CAP_PCRS` (Part 2 §6.12).
const CAP_PCRS: u32 = 5;
/// `propertyCount`: more banks than there are hash algorithms. The attestor rebuilds the command.
const BANKS_ASKED: u32 = 16;
/// `TPM_SE_HMAC` (Part 2 §6.11), `TPM_ALG_NULL` and `TPM_ALG_SHA256` (§6.3).
const SE_HMAC: u8 = 0;
const ALG_NULL: u16 = 0x0010;
const ALG_SHA256: u16 = 0x000b;
/// `continueSession` and `audit` of `TPMA_SESSION` (§8.4).
const AUDITING: u8 = 0x81;
/// Bytes of a PCR bitmap.
const BITMAP: u8 = 3;

/// What the TPM says of its PCR banks, and what it quotes of them.
pub(super) struct Banks {
    /// `TPMS_CAPABILITY_DATA`.
    pub(super) capability: Vec<u8>,
    /// The answer, signed.
    pub(super) audit: Signed,
    /// Quote of the PCRs asked for in each of `quoted`.
    pub(super) quote: Signed,
    /// `TPM_ALG_ID` of the banks, in the order of the quote's selection.
    pub(super) quoted: Vec<u16>,
}

/// Has the AK sign which banks are allocated, and quote `pcrs`, a bitmap, of those that are in `known`.
pub(super) fn audit_banks(
    tcti: &TctiNameConf,
    ak: TpmsContext,
    known: &[u16],
    pcrs: u32,
    qualifying: &[u8; 32],
) -> Result<Banks> {
    let mut esys = Esys::open(tcti)?;
    let session = esys.audit_session()?;
    let allocated = esys.allocated_banks(session)?;
    let ak = esys.load(&ak.try_into()?)?;
    let audit = esys.session_audit(ak, session, qualifying)?;
    let quoted: Vec<u16> = selections(&allocated)?
        .iter()
        .filter(|bank| bank.pcrSelect.iter().any(|byte| *byte != 0))
        .map(|bank| bank.hash)
        .filter(|bank| known.contains(bank))
        .collect();
    let quote = esys.quote(ak, &selection(&quoted, pcrs)?, qualifying)?;
    Ok(Banks {
        capability: capability(&allocated)?,
        audit,
        quote,
        quoted,
    })
}

/// `TPMS_CAPABILITY_DATA` as the TPM sent it (Part 2 §10.10.2).
fn capability(allocated: &TPML_PCR_SELECTION) -> Result<Vec<u8>> {
    let mut bytes = CAP_PCRS.to_be_bytes().to_vec();
    bytes.extend(allocated.count.to_be_bytes());
    for bank in selections(allocated)? {
        let bitmap = bank.pcrSelect.get(..usize::from(bank.sizeofSelect));
        bytes.extend(bank.hash.to_be_bytes());
        bytes.push(bank.sizeofSelect);
        bytes.extend(bitmap.ok_or(WRONG_VALUE)?);
    }
    Ok(bytes)
}

fn selections(list: &TPML_PCR_SELECTION) -> Result<&[TPMS_PCR_SELECTION]> {
    usize::try_from(list.count)
        .ok()
        .and_then(|count| list.pcrSelections.get(..count))
        .ok_or(WRONG_VALUE)
}

fn selection(banks: &[u16], pcrs: u32) -> Result<TPML_PCR_SELECTION> {
    let mut list = TPML_PCR_SELECTION {
        count: u32::try_from(banks.len()).map_err(|_| WRONG_VALUE)?,
        ..Default::default()
    };
    for (bank, entry) in banks.iter().zip(&mut list.pcrSelections) {
        entry.hash = *bank;
        entry.sizeofSelect = BITMAP;
        entry.pcrSelect = pcrs.to_le_bytes();
    }
    Ok(list)
}

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

    /// A session whose one use is to be audited: not salted, since it authorizes nothing; flushed when
    /// `self` is dropped.
    fn audit_session(&mut self) -> Result<ESYS_TR> {
        let symmetric = TPMT_SYM_DEF {
            algorithm: ALG_NULL,
            ..Default::default()
        };
        let mut session = ESYS_TR_NONE;
        // SAFETY: the context is initialised; `symmetric` outlives the call; ESYS makes a nonce where none
        // is given.
        check(unsafe {
            Esys_StartAuthSession(
                self.context,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                ptr::null(),
                SE_HMAC,
                &symmetric,
                ALG_SHA256,
                &mut session,
            )
        })?;
        self.loaded.push(session);
        // SAFETY: the session is of this context.
        check(unsafe { Esys_TRSess_SetAttributes(self.context, session, AUDITING, 0xff) })?;
        Ok(session)
    }

    /// Which PCRs of which banks are allocated, asked in `session`.
    fn allocated_banks(&mut self, session: ESYS_TR) -> Result<TPML_PCR_SELECTION> {
        let (mut more, mut data) = (0, ptr::null_mut());
        // SAFETY: the context is initialised and the session its own; ESYS writes to the out pointer either
        // null or what `Esys_Free` frees.
        let code = unsafe {
            Esys_GetCapability(
                self.context,
                session,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                CAP_PCRS,
                0,
                BANKS_ASKED,
                &mut more,
                &mut data,
            )
        };
        let data = Allocated(data);
        check(code)?;
        let data = data.read()?;
        if data.capability != CAP_PCRS || more != 0 {
            return Err(WRONG_VALUE);
        }
        // SAFETY: `capability` says that this member of the union is the one that was written.
        Ok(unsafe { data.data.assignedPCR })
    }

    /// Has the AK sign what `session` carried, by the empty authorization of the endorsement hierarchy.
    fn session_audit(
        &mut self,
        ak: ESYS_TR,
        session: ESYS_TR,
        qualifying: &[u8; 32],
    ) -> Result<Signed> {
        let data = qualifying_data(qualifying);
        let scheme = SignatureScheme::Null.into();
        let (mut attest, mut signature) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: as in `certify`.
        let code = unsafe {
            Esys_GetSessionAuditDigest(
                self.context,
                ESYS_TR_RH_ENDORSEMENT,
                ak,
                session,
                ESYS_TR_PASSWORD,
                ESYS_TR_PASSWORD,
                ESYS_TR_NONE,
                &data,
                &scheme,
                &mut attest,
                &mut signature,
            )
        };
        signed(code, attest, signature)
    }

    fn quote(
        &mut self,
        ak: ESYS_TR,
        selection: &TPML_PCR_SELECTION,
        qualifying: &[u8; 32],
    ) -> Result<Signed> {
        let data = qualifying_data(qualifying);
        let scheme = SignatureScheme::Null.into();
        let (mut attest, mut signature) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: as in `certify`.
        let code = unsafe {
            Esys_Quote(
                self.context,
                ak,
                ESYS_TR_PASSWORD,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &data,
                &scheme,
                selection,
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
