//! Changes what the maker of a running TPM left in it: certificates in NV, persistent endorsement keys.

use std::str::FromStr as _;

use touchstone_agent::tpm::EkTemplate;
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{MaxNvBuffer, NvPublicBuilder, Public};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::{Context, TctiNameConf};

use super::{Error, Result, RunningTpm};

/// Bytes of one write, which every TPM takes.
const STEP: usize = 512;

impl RunningTpm {
    /// Undefines an NV index that the maker defined, such as that of an EK certificate.
    ///
    /// # Errors
    /// [`Error::Endorsement`], for example that there is none.
    pub fn remove_index(&self, index: u32) -> Result<()> {
        self.with_context(|context| {
            let handle = find(context, index)?;
            context.nv_undefine_space(Provision::Platform, handle)
        })
    }

    /// Defines an NV index as the owner, and writes `contents` into it: anybody may read them.
    ///
    /// # Errors
    /// [`Error::Endorsement`], for example that it is there already.
    pub fn store_index(&self, index: u32, contents: &[u8]) -> Result<()> {
        self.with_context(|context| {
            let attributes = NvIndexAttributesBuilder::new()
                .with_owner_write(true)
                .with_owner_read(true)
                .with_auth_read(true)
                .with_no_da(true)
                .build()?;
            let public = NvPublicBuilder::new()
                .with_nv_index(NvIndexTpmHandle::new(index)?)
                .with_index_name_algorithm(HashingAlgorithm::Sha256)
                .with_index_attributes(attributes)
                .with_data_area_size(contents.len())
                .build()?;
            let handle = context.nv_define_space(Provision::Owner, None, public)?;
            let mut offset = 0;
            for part in contents.chunks(STEP) {
                let data = MaxNvBuffer::try_from(part)?;
                context.nv_write(NvAuth::Owner, handle, data, offset)?;
                offset += part.len() as u16;
            }
            Ok(())
        })
    }

    /// `TPMT_PUBLIC` of the EK by a default template, with or without a certificate.
    ///
    /// # Errors
    /// [`Error::Endorsement`].
    pub fn ek_public(&self, template: EkTemplate) -> Result<Vec<u8>> {
        self.with_context(|context| {
            let template = Public::unmarshall(&template.bytes())?;
            let hierarchy = Hierarchy::Endorsement;
            let created = context.create_primary(hierarchy, template, None, None, None, None)?;
            context.flush_context(created.key_handle.into())?;
            created.out_public.marshall()
        })
    }

    /// Takes a persistent object away.
    ///
    /// # Errors
    /// [`Error::Endorsement`], for example that there is none.
    pub fn evict(&self, handle: u32) -> Result<()> {
        self.with_context(|context| {
            let persistent = PersistentTpmHandle::new(handle)?;
            let found = context.execute_without_session(|context| {
                context.tr_from_tpm_public(TpmHandle::Persistent(persistent))
            })?;
            let away = Persistent::Persistent(persistent);
            context
                .evict_control(Provision::Owner, found, away)
                .map(drop)
        })
    }

    fn with_context<T>(
        &self,
        work: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T> {
        let open = || Context::new(TctiNameConf::from_str(&self.tcti())?);
        let mut context = open().map_err(Error::Endorsement)?;
        context.set_sessions((Some(AuthSession::Password), None, None));
        work(&mut context).map_err(Error::Endorsement)
    }
}

fn find(context: &mut Context, index: u32) -> tss_esapi::Result<NvIndexHandle> {
    let index = TpmHandle::NvIndex(NvIndexTpmHandle::new(index)?);
    context
        .execute_without_session(|context| context.tr_from_tpm_public(index))
        .map(NvIndexHandle::from)
}
