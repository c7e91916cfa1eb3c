//! Generated chains: what real vendors do passes, and each thing that is wrong has its own error.

mod bounds;
mod chains;
mod corpus;
mod encoding;
mod imports;
mod keys;
mod oracles;
mod platform;
mod profile;
mod revocation;
mod workshop;

use super::*;
use workshop::*;

/// Verifies at [`NOW`] against one root of class manufacturer.
fn verify(root: &Ca, offered: &[&Ca], ek: &Ek) -> Result<VerifiedEndorsement, EndorsementError> {
    verify_among(&roots(&[root]), offered, ek)
}

fn verify_among(
    roots: &EndorsementRoots,
    offered: &[&Ca],
    ek: &Ek,
) -> Result<VerifiedEndorsement, EndorsementError> {
    let offered: Vec<&[u8]> = offered.iter().map(|ca| &ca.der[..]).collect();
    roots.verify(&ek.certificate, &offered, &ek.spki, NOW)
}

fn code(result: Result<VerifiedEndorsement, EndorsementError>) -> &'static str {
    match result {
        Ok(_) => "verified",
        Err(error) => error.code(),
    }
}
