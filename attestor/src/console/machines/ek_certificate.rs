//! A file with the certificate of one endorsement key, and the digest by which the inventory knows it.
//!
//! Whose word the certificate is worth is judged when the machine enrols; here it is only seen to be
//! one certificate, and no CA's.

use std::path::Path;

use anyhow::{Context as _, bail};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::certified_key;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The digest of the EK in a certificate, DER or PEM, as its TPM shows it.
pub(super) fn digest(path: &Path) -> anyhow::Result<Sha256Digest> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    of_bytes(&bytes).with_context(|| format!("`{}` names no endorsement key", path.display()))
}

fn of_bytes(bytes: &[u8]) -> anyhow::Result<Sha256Digest> {
    let der = match bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        true => the_one(bytes)?,
        false => bytes.to_vec(),
    };
    // The parser's words are about ASN.1, not about what to do.
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        bail!("it is no certificate in DER or PEM; give the EK certificate of the TPM");
    };
    let constraints = certificate.basic_constraints().ok().flatten();
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        bail!(
            "it is the certificate of a CA, `{}`; give the EK certificate of the TPM, and the CA to \
             `touchstone endorsement import`",
            certificate.subject()
        );
    }
    // As its TPM shows it, whatever the maker wrote.
    let key = certified_key(&der).context(
        "it is no certificate of an RSA, P-256 or P-384 key; export the EK certificate from the TPM's NV \
         index, DER or PEM",
    )?;
    Ok(Sha256Digest::of(&key))
}

/// The only PEM block of a file: which of several is meant would be a guess.
fn the_one(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let blocks: Result<Vec<Pem>, _> = Pem::iter_from_buffer(bytes).collect();
    let mut blocks = blocks.ok().context("its PEM is broken")?;
    match (blocks.len(), blocks.pop()) {
        (1, Some(block)) if block.label == "CERTIFICATE" => Ok(block.contents),
        (1, Some(block)) => bail!(
            "it holds a PEM block of {}; give the EK certificate of the TPM",
            block.label.escape_debug()
        ),
        (count, _) => bail!(
            "it holds {count} PEM blocks; give the EK certificate of the TPM in a file of its own"
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    const EK: &[u8] = include_bytes!("../../../../tpm-sim/profiles/shim_sb/ekcert.der");
    /// Several CAs.
    const CAS: &str = include_str!("../../../../tpm-sim/profiles/localca.pem");

    fn pem(label: &str, der: &[u8]) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&[u8]> = text.as_bytes().chunks(64).collect();
        let body = String::from_utf8(lines.join(&b'\n')).unwrap();
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn one_certificate_of_a_tpm_is_taken_and_nothing_else() {
        let known = of_bytes(EK).unwrap();
        let ca = CAS.split_inclusive("-----END CERTIFICATE-----\n").next();
        let once = pem("CERTIFICATE", EK);
        assert_eq!(of_bytes(once.as_bytes()).unwrap(), known);
        assert_eq!(of_bytes(format!("EK:\n{once}").as_bytes()).unwrap(), known);
        for (part, bytes) in [
            ("2 PEM blocks", [once.as_bytes(), once.as_bytes()].concat()),
            ("2 PEM blocks", CAS.into()),
            ("certificate of a CA", ca.unwrap().into()),
            ("no certificate", b"hello".to_vec()),
            ("no certificate", Vec::new()),
            ("block of PRIVATE KEY", pem("PRIVATE KEY", EK).into_bytes()),
            ("PEM is broken", once.as_bytes()[..200].to_vec()),
        ] {
            let said = of_bytes(&bytes).unwrap_err().to_string();
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
