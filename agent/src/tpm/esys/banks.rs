//! Which PCR banks the TPM has, signed, and a quote of several of them: `TPM2_GetCapability` in an audit session (TPM 2.0
//! Part 3 §30.2), `TPM2_GetSessionAuditDigest` (§18.5), `TPM2_Quote` (§18.4).

use std::ptr;

use tss_esapi::structures::SignatureScheme;
use tss_esapi::tss2_esys::{
    ESYS_TR, ESYS_TR_NONE, ESYS_TR_PASSWORD, ESYS_TR_RH_ENDORSEMENT, Esys_GetCapability,
    Esys_GetSessionAuditDigest, Esys_Quote, Esys_StartAuthSession, Esys_TRSess_SetAttributes,
    TPML_PCR_SELECTION, TPMS_PCR_SELECTION, TPMT_SYM_DEF,
};
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Result, TctiNameConf};

use super::super::Signed;
use super::{ALG_SHA256, Allocated, Esys, WRONG_VALUE, check, qualifying_data, signed};

/// `TPM_CAP_PCRS` (Part 2 §6.12).
const CAP_PCRS: u32 = 5;
/// `propertyCount`: more banks than there are hash algorithms. The attestor rebuilds the command.
const BANKS_ASKED: u32 = 16;
/// `TPM_SE_HMAC` (Part 2 §6.11) and `TPM_ALG_NULL` (§6.3).
const SE_HMAC: u8 = 0;
const ALG_NULL: u16 = 0x0010;
/// `continueSession` and `audit` of `TPMA_SESSION` (§8.4).
const AUDITING: u8 = 0x81;
/// Bytes of a PCR bitmap.
const BITMAP: u8 = 3;

/// What the TPM says of its PCR banks, and what it quotes of them.
pub(in crate::tpm) struct Banks {
    /// `TPMS_CAPABILITY_DATA`.
    pub(in crate::tpm) capability: Vec<u8>,
    /// The answer, signed.
    pub(in crate::tpm) audit: Signed,
    /// Quote of the PCRs asked for in each of `quoted`.
    pub(in crate::tpm) quote: Signed,
    /// `TPM_ALG_ID` of the banks, in the order of the quote's selection.
    pub(in crate::tpm) quoted: Vec<u16>,
}

/// Has the AK sign which banks are allocated, and quote `pcrs`, a bitmap, of those that are in `known`.
pub(in crate::tpm) fn audit_banks(
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

pub(super) fn selection(banks: &[u16], pcrs: u32) -> Result<TPML_PCR_SELECTION> {
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

impl Esys {
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
        // SAFETY: as in `Esys::certify`.
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
        // SAFETY: as in `Esys::certify`.
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
