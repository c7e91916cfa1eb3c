//! Gets the EK and the AK into the TPM, and keeps what was loaded.
//!
//! Deriving an RSA EK takes seconds on real parts and loading the AK needs the EK, so both are kept as
//! saved contexts (TPM 2.0 Part 1 §30), which only this TPM opens, and only until its next reset.

use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{CapabilityData, Private, Public};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::utils::TpmsContext;

use super::error::{during, during_or};
use super::session::{self, PASSWORD};
use super::template::EkTemplate;
use super::visit::Visit;
use super::{AkBlob, EkReference, Error, Result};

/// Persistent handles of the endorsement hierarchy (TCG Registry of Reserved TPM 2.0 Handles, §2.3.1).
const PERSISTENT_EKS: std::ops::RangeInclusive<u32> = 0x8101_0000..=0x8101_ffff;
/// Most of them that are looked at.
const PERSISTENT_EKS_MAX: u32 = 16;

/// Keys that were loaded before.
#[derive(Default)]
pub(super) struct SavedKeys {
    ek: Option<(EkTemplate, TpmsContext)>,
    ak: Option<(AkBlob, TpmsContext)>,
    /// The release key and its `TPMT_PUBLIC`.
    pub(super) release_key: Option<(Vec<u8>, TpmsContext)>,
    /// The EK that was found by its certificate.
    pub(super) chosen: Option<EkReference>,
}

/// An EK that commands can use.
#[derive(Clone, Copy)]
pub(super) enum LoadedEk {
    /// In a transient slot.
    Transient(KeyHandle),
    /// Always there: it takes no slot and is not flushed.
    Persistent(KeyHandle),
}

impl LoadedEk {
    pub(super) fn handle(self) -> KeyHandle {
        match self {
            Self::Transient(handle) | Self::Persistent(handle) => handle,
        }
    }
}

impl SavedKeys {
    /// The context of `ak`, if it was loaded before.
    pub(super) fn ak(&self, ak: &AkBlob) -> Option<TpmsContext> {
        let (of, context) = self.ak.as_ref()?;
        (of == ak).then(|| context.clone())
    }
}

impl Visit<'_> {
    /// The EK, loaded: a persistent copy where there is one, else a saved one, else derived anew. Takes
    /// at most one transient slot.
    pub(super) fn ek(&mut self, ek: &EkReference) -> Result<LoadedEk> {
        let template = ek.template;
        let saved = self.saved.ek.take().filter(|(of, _)| *of == template);
        if let Some((_, context)) = saved
            && let Ok(handle) = self.context.context_load(context.clone())
        {
            self.saved.ek = Some((template, context));
            return Ok(LoadedEk::Transient(handle.into()));
        }
        if let Some(handle) = self.persistent_ek(&ek.name)? {
            return Ok(LoadedEk::Persistent(handle));
        }
        let handle = self.derive_ek(template)?;
        self.saved.ek = Some((template, self.save(handle)?));
        Ok(LoadedEk::Transient(handle))
    }

    /// The EK, derived from the endorsement seed by its default template.
    pub(super) fn derive_ek(&mut self, template: EkTemplate) -> Result<KeyHandle> {
        let template = template.public().map_err(during("the EK template"))?;
        self.context
            .execute_with_session(PASSWORD, |context| {
                context.create_primary(Hierarchy::Endorsement, template, None, None, None, None)
            })
            .map(|created| created.key_handle)
            .map_err(during("TPM2_CreatePrimary"))
    }

    /// The persistent object with this Name, which says that it is the same key with the same
    /// attributes and policy (TPM 2.0 Part 1 §16).
    fn persistent_ek(&mut self, name: &[u8]) -> Result<Option<KeyHandle>> {
        if name.is_empty() {
            return Ok(None);
        }
        let first = *PERSISTENT_EKS.start();
        let (handles, _) = self
            .context
            .execute_without_session(|context| {
                context.get_capability(CapabilityType::Handles, first, PERSISTENT_EKS_MAX)
            })
            .map_err(during("TPM2_GetCapability"))?;
        let CapabilityData::Handles(handles) = handles else {
            return Ok(None);
        };
        let handles: Vec<u32> = handles.iter().map(|handle| u32::from(*handle)).collect();
        for handle in handles
            .into_iter()
            .filter(|one| PERSISTENT_EKS.contains(one))
        {
            let (key, found) = self
                .context
                .execute_without_session(|context| {
                    let handle = TpmHandle::Persistent(PersistentTpmHandle::new(handle)?);
                    let key = KeyHandle::from(context.tr_from_tpm_public(handle)?);
                    let (_, name, _) = context.read_public(key)?;
                    Ok((key, name))
                })
                .map_err(during("TPM2_ReadPublic"))?;
            if found.value() == name {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The AK, loaded. Takes one transient slot, and a second one for the EK until it returns.
    pub(super) fn ak(&mut self, ak: &AkBlob) -> Result<KeyHandle> {
        if let Some(context) = self.saved.ak(ak)
            && let Ok(handle) = self.context.context_load(context)
        {
            return Ok(handle.into());
        }
        self.saved.ak = None;
        let ek = self.ek(&ak.ek)?;
        let handle = self.load_ak(ek.handle(), ak)?;
        if let LoadedEk::Transient(ek) = ek {
            self.flush(ek.into())?;
        }
        self.saved.ak = Some((ak.clone(), self.save(handle)?));
        Ok(handle)
    }

    /// Loads the AK under an EK that is loaded.
    fn load_ak(&mut self, ek: KeyHandle, ak: &AkBlob) -> Result<KeyHandle> {
        let public = Public::unmarshall(&ak.public).map_err(Error::AkLost)?;
        let private = Private::try_from(ak.private.as_slice()).map_err(Error::AkLost)?;
        let policy = session::endorsement_policy(&mut self.context, ak.ek.template)?;
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

    /// The key for later visits.
    pub(super) fn save(&mut self, handle: KeyHandle) -> Result<TpmsContext> {
        self.context
            .context_save(handle.into())
            .map_err(during("TPM2_ContextSave"))
    }
}
