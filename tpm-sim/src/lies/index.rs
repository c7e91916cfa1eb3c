//! What root on a host does to NV indices behind the agent's back.

use std::str::FromStr as _;

use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{MaxNvBuffer, NvPublic};
use tss_esapi::{Context, Error as TssError, TctiNameConf};

use super::{Error, Result};

/// Who may write an index besides the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// Nobody.
    Owner,
    /// Whoever knows its empty authorization value.
    Anybody,
}

/// Defines an index that is not there and writes `contents`.
pub(super) fn define(tcti: &str, index: u32, writer: Writer, contents: &[u8]) -> Result<()> {
    let change = |context: &mut Context| -> tss_esapi::Result<()> {
        let attributes = NvIndexAttributesBuilder::new()
            .with_owner_write(true)
            .with_auth_write(writer == Writer::Anybody)
            .with_owner_read(true)
            .with_auth_read(true)
            .with_no_da(true)
            .build()?;
        let public = NvPublic::builder()
            .with_nv_index(NvIndexTpmHandle::new(index)?)
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_data_area_size(contents.len())
            .build()?;
        let handle = context.nv_define_space(Provision::Owner, None, public)?;
        let contents = MaxNvBuffer::try_from(contents)?;
        context.nv_write(NvAuth::Owner, handle, contents, 0)
    };
    with_password(tcti, change)
}

/// Removes an index that is there.
pub(super) fn undefine(tcti: &str, index: u32) -> Result<()> {
    with_password(tcti, |context| {
        let index = TpmHandle::NvIndex(NvIndexTpmHandle::new(index)?);
        let handle =
            context.execute_without_session(|context| context.tr_from_tpm_public(index))?;
        context.nv_undefine_space(Provision::Owner, NvIndexHandle::from(handle))
    })
}

/// A context of its own: swtpm serves one command after the other, whoever sends it.
fn with_password(
    tcti: &str,
    change: impl FnOnce(&mut Context) -> tss_esapi::Result<()>,
) -> Result<()> {
    let changed = || -> std::result::Result<(), TssError> {
        let mut context = Context::new(TctiNameConf::from_str(tcti)?)?;
        context.execute_with_session(Some(AuthSession::Password), change)
    };
    changed().map_err(Error::Index)
}
