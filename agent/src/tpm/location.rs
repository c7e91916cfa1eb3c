//! The NV index that carries the host's location tag.
//!
//! Its public area is fixed, so that the attestor can recompute the Name that `TPM2_NV_Certify` reports
//! (TPM 2.0 Part 1 §16) from: [`LOCATION_INDEX`], nameAlg SHA-256, [`LOCATION_ATTRIBUTES_WRITTEN`],
//! an empty policy, and dataSize = the tag's length.

pub use touchstone_evidence::nv::{
    LOCATION_ATTRIBUTES as LOCATION_ATTRIBUTES_WRITTEN, LOCATION_INDEX,
};
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::structures::NvPublic;
use tss_esapi::tss2_esys::TPMA_NV;

use super::error::during;
use super::session::PASSWORD;
use super::visit::Visit;
use super::{Error, Result};

/// `TPMA_NV` as defined: [`LOCATION_ATTRIBUTES_WRITTEN`] less WRITTEN, which the TPM sets at the first write.
/// AUTHREAD with an empty value lets any process on the host read and certify it; only the owner writes.
pub const LOCATION_ATTRIBUTES: u32 = LOCATION_ATTRIBUTES_WRITTEN & !WRITTEN;

/// The longest tag, in bytes. Every TPM certifies that much at once.
pub const LOCATION_TAG_MAX: usize = 512;

const WRITTEN: u32 = 1 << 29;

impl Visit<'_> {
    /// What the index holds.
    pub(super) fn location_tag(&mut self) -> Result<Option<Vec<u8>>> {
        match self.nv_find(LOCATION_INDEX)? {
            Some(area) if attributes(&area.public)? & WRITTEN != 0 => self.nv_read(&area).map(Some),
            _ => Ok(None),
        }
    }

    /// Writes a tag. A power cut on the way loses the tag, never leaves half of an old one in the new shape.
    pub(super) fn write_location_tag(&mut self, tag: &[u8]) -> Result<()> {
        if !(1..=LOCATION_TAG_MAX).contains(&tag.len()) {
            return Err(Error::TagSize { size: tag.len() });
        }
        let wanted = public_area(tag.len()).map_err(during("the location index"))?;
        let handle = match self.nv_find(LOCATION_INDEX)? {
            Some(area) if same_shape(&area.public, &wanted)? => area.handle,
            Some(area) => {
                self.undefine(area.handle)?;
                self.define(wanted)?
            }
            None => self.define(wanted)?,
        };
        self.nv_write(handle, tag)
    }

    fn define(&mut self, public: NvPublic) -> Result<NvIndexHandle> {
        self.context
            .execute_with_session(PASSWORD, |context| {
                context.nv_define_space(Provision::Owner, None, public)
            })
            .map_err(during("TPM2_NV_DefineSpace"))
    }

    fn undefine(&mut self, handle: NvIndexHandle) -> Result<()> {
        self.context
            .execute_with_session(PASSWORD, |context| {
                context.nv_undefine_space(Provision::Owner, handle)
            })
            .map_err(during("TPM2_NV_UndefineSpace"))
    }
}

fn public_area(size: usize) -> tss_esapi::Result<NvPublic> {
    let attributes = NvIndexAttributesBuilder::new()
        .with_owner_write(true)
        .with_owner_read(true)
        .with_auth_read(true)
        .with_no_da(true)
        .build()?;
    NvPublic::builder()
        .with_nv_index(NvIndexTpmHandle::new(LOCATION_INDEX)?)
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(attributes)
        .with_data_area_size(size)
        .build()
}

/// Whether what is there gives the Name that the attestor expects, once written.
fn same_shape(there: &NvPublic, wanted: &NvPublic) -> Result<bool> {
    Ok(there.name_algorithm() == wanted.name_algorithm()
        && attributes(there)? & !WRITTEN == attributes(wanted)?
        && there.authorization_policy() == wanted.authorization_policy()
        && there.data_size() == wanted.data_size())
}

fn attributes(public: &NvPublic) -> Result<u32> {
    TPMA_NV::try_from(public.attributes()).map_err(during("TPM2_NV_ReadPublic"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn the_documented_attributes_are_the_ones_defined() {
        let public = public_area(64).unwrap();
        assert_eq!(attributes(&public).unwrap(), LOCATION_ATTRIBUTES);
    }
}
