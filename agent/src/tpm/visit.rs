//! A visit is one ESYS context: opened for a piece of work, and dropped at its end.
//!
//! Dropping the context flushes every object and session that it made, on each path.
//! Invariant: at most one context is open at a time, because swtpm and `/dev/tpm0` share three
//! transient slots between all of them and have no resource manager.

use std::str::FromStr as _;

use tss_esapi::constants::PropertyTag;
use tss_esapi::{Context, TctiNameConf};

use super::error::during;
use super::keys::SavedKeys;
use super::{Error, Result};

/// What the thread owns: where the TPM is, and the keys that it need not derive again.
pub(super) struct Owner {
    name: String,
    tcti: TctiNameConf,
    pub(super) saved: SavedKeys,
}

impl Owner {
    pub(super) fn new(tcti: &str) -> Result<Self> {
        let conf = TctiNameConf::from_str(tcti).map_err(|_| Error::Tcti {
            tcti: tcti.to_owned(),
        })?;
        Ok(Self {
            name: tcti.to_owned(),
            tcti: conf,
            saved: SavedKeys::default(),
        })
    }

    pub(super) fn visit(&mut self) -> Result<Visit<'_>> {
        let context = Context::new(self.tcti.clone()).map_err(|source| Error::Unreachable {
            tcti: self.name.clone(),
            source,
        })?;
        Ok(Visit {
            context,
            saved: &mut self.saved,
        })
    }

    pub(super) fn tcti(&self) -> &TctiNameConf {
        &self.tcti
    }
}

/// An open context, and the owner's saved keys.
pub(super) struct Visit<'a> {
    pub(super) context: Context,
    pub(super) saved: &'a mut SavedKeys,
}

impl Visit<'_> {
    /// Any command will do: a TCTI may open without a TPM behind it.
    pub(super) fn probe(&mut self) -> Result<()> {
        self.context
            .get_tpm_property(PropertyTag::Revision)
            .map_err(during("TPM2_GetCapability"))
            .map(drop)
    }
}
