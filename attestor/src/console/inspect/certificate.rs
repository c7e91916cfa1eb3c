//! An EK certificate: whose TPM, and whether it leads to a root given.

use std::path::{Path, PathBuf};

use serde_json::json;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{EndorsementRoots, RootClass};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{InspectError, Inspected, read, unparsed};
use crate::clock;

pub(super) fn inspect(file: &Path, roots: &[PathBuf]) -> Result<Inspected, InspectError> {
    let der = read(file)?;
    let (_, certificate) = X509Certificate::from_der(&der)
        .map_err(|error| unparsed(file, "a certificate, DER", error))?;
    let mut trusted = EndorsementRoots::new();
    for path in roots {
        // The class is the operator's word, not the certificate's: any serves to look at the path.
        trusted
            .add_pem(&read(path)?, RootClass::Manufacturer, &[])
            .map_err(|error| unparsed(path, "a bundle of certificates", error))?;
    }
    let spki = certificate.public_key().raw;
    let digest = Sha256Digest::of(spki);
    let verified = trusted.verify(&der, &[] as &[&[u8]], spki, clock::now());
    let (json, line) = match &verified {
        Ok(endorsement) => (
            json!({
                "verified": true,
                "ek_digest": digest,
                "manufacturer": endorsement.manufacturer(),
                "model": endorsement.model(),
                "version": endorsement.version(),
                "valid_until": endorsement.valid_until(),
            }),
            format!(
                "ok      the certificate leads to a root given\n\nmaker     {}\nmodel     {}\nversion   {}",
                endorsement.manufacturer(),
                endorsement.model(),
                endorsement.version()
            ),
        ),
        Err(error) => (
            json!({ "verified": false, "ek_digest": digest, "code": error.code(), "error": error.to_string() }),
            format!("FAILED  {error}\n"),
        ),
    };
    Ok(Inspected {
        json,
        text: format!("{line}\nEK digest {digest}"),
        verified: verified.is_ok(),
    })
}
