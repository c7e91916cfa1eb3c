//! Whole NV indices: find, read, write, in steps that the TPM takes.

use tss_esapi::abstraction::nv::max_nv_buffer_size;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::NvAuth;
use tss_esapi::structures::{CapabilityData, MaxNvBuffer, NvPublic};

use super::Result;
use super::error::during;
use super::session::PASSWORD;
use super::visit::Visit;

/// A defined NV index. Its handle is closed when the visit ends.
pub(super) struct Area {
    pub(super) handle: NvIndexHandle,
    pub(super) public: NvPublic,
}

impl Visit<'_> {
    /// The index, if it is defined. (Asking for its public area instead would blur "absent" and "failed".)
    pub(super) fn nv_find(&mut self, index: u32) -> Result<Option<Area>> {
        let (first, _) = self
            .context
            .execute_without_session(|context| {
                context.get_capability(CapabilityType::Handles, index, 1)
            })
            .map_err(during("TPM2_GetCapability"))?;
        match first {
            CapabilityData::Handles(handles)
                if handles.iter().any(|handle| u32::from(*handle) == index) =>
            {
                self.nv_open(index).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn nv_open(&mut self, index: u32) -> Result<Area> {
        self.context
            .execute_without_session(|context| {
                let index = TpmHandle::NvIndex(NvIndexTpmHandle::new(index)?);
                let handle = NvIndexHandle::from(context.tr_from_tpm_public(index)?);
                let (public, _) = context.nv_read_public(handle)?;
                Ok(Area { handle, public })
            })
            .map_err(during("TPM2_NV_ReadPublic"))
    }

    /// All its bytes, by the index's own empty authorization value.
    pub(super) fn nv_read(&mut self, area: &Area) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(area.public.data_size());
        let step = self.nv_step()?;
        while bytes.len() < area.public.data_size() {
            let (offset, size) = span(bytes.len(), area.public.data_size(), step);
            let part = self
                .context
                .execute_with_session(PASSWORD, |context| {
                    context.nv_read(NvAuth::NvIndex(area.handle), area.handle, size, offset)
                })
                .map_err(during("TPM2_NV_Read"))?;
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// Writes `bytes` from the start of the index, as the owner.
    pub(super) fn nv_write(&mut self, handle: NvIndexHandle, bytes: &[u8]) -> Result<()> {
        let step = self.nv_step()?;
        let mut offset = 0;
        for part in bytes.chunks(step) {
            self.context
                .execute_with_session(PASSWORD, |context| {
                    let part = MaxNvBuffer::try_from(part)?;
                    context.nv_write(NvAuth::Owner, handle, part, offset)
                })
                .map_err(during("TPM2_NV_Write"))?;
            offset = offset.saturating_add(u16::try_from(part.len()).unwrap_or(u16::MAX));
        }
        Ok(())
    }

    /// How many bytes one command may carry: `TPM_PT_NV_BUFFER_MAX` (TPM 2.0 Part 2 §6.13), never none.
    fn nv_step(&mut self) -> Result<usize> {
        max_nv_buffer_size(&mut self.context)
            .map(|most| most.clamp(1, MaxNvBuffer::MAX_SIZE))
            .map_err(during("TPM2_GetCapability"))
    }
}

/// The offset and size of the next read. NV indices are smaller than 64 KiB (`TPMS_NV_PUBLIC.dataSize`).
fn span(done: usize, of: usize, step: usize) -> (u16, u16) {
    let size = of.saturating_sub(done).min(step);
    let cut = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    (cut(done), cut(size))
}
