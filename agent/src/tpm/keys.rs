//! Gets the EK and the AK into the TPM.
//!
//! Deriving an RSA EK takes seconds on real parts and loading the AK needs the EK, so both are kept as
//! saved contexts (TPM 2.0 Part 1 §30), which only this TPM opens, and only until its next reset.

use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Private, Public};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::utils::TpmsContext;

use super::endorsement::EndorsementKind;
use super::error::{during, during_or};
use super::session::{self, PASSWORD};
use super::visit::Visit;
use super::{AkBlob, Error, Result};

/// Keys that were loaded before.
#[derive(Default)]
pub(super) struct SavedKeys {
    ek: Option<(EndorsementKind, TpmsContext)>,
    ak: Option<(AkBlob, TpmsContext)>,
}

impl SavedKeys {
    /// The context of `ak`, if it was loaded before.
    pub(super) fn ak(&self, ak: &AkBlob) -> Option<TpmsContext> {
        let (of, context) = self.ak.as_ref()?;
        (of == ak).then(|| context.clone())
    }
}

impl Visit<'_> {
    /// The EK of `kind`, loaded. Takes one transient slot.
    pub(super) fn ek(&mut self, kind: EndorsementKind) -> Result<KeyHandle> {
        let saved = self.saved.ek.take().filter(|(of, _)| *of == kind);
        if let Some((_, context)) = saved
            && let Ok(handle) = self.context.context_load(context.clone())
        {
            self.saved.ek = Some((kind, context));
            return Ok(handle.into());
        }
        let handle = self.derive_ek(kind)?;
        self.saved.ek = Some((kind, self.save(handle)?));
        Ok(handle)
    }

    /// The EK of `kind`, derived from the endorsement seed by its default template.
    pub(super) fn derive_ek(&mut self, kind: EndorsementKind) -> Result<KeyHandle> {
        let template = create_ek_public_from_default_template_2(kind.algorithm(), None)
            .map_err(during("the EK template"))?;
        self.context
            .execute_with_session(PASSWORD, |context| {
                context.create_primary(Hierarchy::Endorsement, template, None, None, None, None)
            })
            .map(|created| created.key_handle)
            .map_err(during("TPM2_CreatePrimary"))
    }

    /// The AK, loaded. Takes one transient slot, and a second one for the EK until it returns.
    pub(super) fn ak(&mut self, ak: &AkBlob) -> Result<KeyHandle> {
        if let Some(context) = self.saved.ak(ak)
            && let Ok(handle) = self.context.context_load(context)
        {
            return Ok(handle.into());
        }
        self.saved.ak = None;
        let ek = self.ek(EndorsementKind::DEFAULT)?;
        let handle = self.load_ak(ek, ak)?;
        self.flush(ek.into())?;
        self.saved.ak = Some((ak.clone(), self.save(handle)?));
        Ok(handle)
    }

    /// Loads the AK under an EK that is loaded.
    fn load_ak(&mut self, ek: KeyHandle, ak: &AkBlob) -> Result<KeyHandle> {
        let public = Public::unmarshall(&ak.public).map_err(Error::AkLost)?;
        let private = Private::try_from(ak.private.as_slice()).map_err(Error::AkLost)?;
        let policy = session::endorsement_policy(&mut self.context)?;
        let handle = self
            .context
            .execute_with_session(Some(policy), |context| context.load(ek, private, public))
            .map_err(during_or("TPM2_Load", Error::AkLost))?;
        self.end(policy)?;
        Ok(handle)
    }

    /// Frees a transient slot before the visit ends.
    pub(super) fn flush(&mut self, handle: ObjectHandle) -> Result<()> {
        self.context
            .flush_context(handle)
            .map_err(during("TPM2_FlushContext"))
    }

    /// Frees a session slot before the visit ends.
    pub(super) fn end(&mut self, session: AuthSession) -> Result<()> {
        self.flush(SessionHandle::from(session).into())
    }

    fn save(&mut self, handle: KeyHandle) -> Result<TpmsContext> {
        self.context
            .context_save(handle.into())
            .map_err(during("TPM2_ContextSave"))
    }
}
