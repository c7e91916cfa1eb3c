//! An EK certificate: whose TPM, and each step up to a root given.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{
    EndorsementError, EndorsementRoots, PathCertificate, RootClass, VerifiedEndorsement,
    certified_key,
};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::output::moment;
use super::paper::Paper;
use super::{InspectError, Inspected, read, unparsed};

pub(super) fn inspect(
    file: &Path,
    roots: &[PathBuf],
    class: Option<RootClass>,
    at: i64,
) -> Result<Inspected, InspectError> {
    let der = read_der(file)?;
    let (_, certificate) = X509Certificate::from_der(&der)
        .map_err(|error| unparsed(file, "a certificate, DER or PEM", error))?;
    let mut trusted = EndorsementRoots::new();
    for path in roots {
        // The class is the operator's word, not the certificate's: any serves to look at the path.
        trusted
            .add_pem(&read(path)?, class.unwrap_or(RootClass::Manufacturer), &[])
            .map_err(|error| unparsed(path, "a bundle of certificates", error))?;
    }
    // A key that no TPM has is shown as it stands there; the verdict says what it lacks.
    let spki = certified_key(&der).unwrap_or_else(|| certificate.public_key().raw.to_vec());
    let verified = trusted.verify(&der, &[] as &[&[u8]], &spki, at);
    let digest = Sha256Digest::of(&spki);
    Ok(show(&certificate, digest, &verified, class))
}

fn read_der(file: &Path) -> Result<Vec<u8>, InspectError> {
    let bytes = read(file)?;
    if !bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Ok(bytes);
    }
    parse_x509_pem(&bytes)
        .map(|(_, pem)| pem.contents)
        .map_err(|error| unparsed(file, "a certificate, DER or PEM", error))
}

fn show(
    certificate: &X509Certificate<'_>,
    digest: Sha256Digest,
    verified: &Result<VerifiedEndorsement, EndorsementError>,
    class: Option<RootClass>,
) -> Inspected {
    let class = class.map(|class| json!(class));
    let class = class.as_ref().and_then(Value::as_str);
    let mut paper = Paper::new();
    let mut json = json!({
        "verified": verified.is_ok(),
        "ek_digest": digest,
        "issuer": certificate.issuer().to_string(),
        "subject": certificate.subject().to_string(),
    });
    let mut fields = serde_json::Map::new();
    match verified {
        Ok(endorsement) => {
            paper.entry("ok      ", "the certificate leads to a root given");
            paper.blank();
            show_endorsement(&mut paper, &mut fields, endorsement, class);
        }
        Err(error) => {
            paper.entry("FAILED  ", &format!("{error} ({})", error.code()));
            paper.blank();
            let named = |name: String| match name.is_empty() {
                true => "-".to_owned(),
                false => name.escape_debug().to_string(),
            };
            paper.entry("subject    ", &named(certificate.subject().to_string()));
            paper.entry("issuer     ", &named(certificate.issuer().to_string()));
            fields.insert("code".to_owned(), json!(error.code()));
            fields.insert("error".to_owned(), json!(error.to_string()));
        }
    }
    paper.entry("EK digest  ", &digest.to_string());
    if let Some(object) = json.as_object_mut() {
        object.extend(fields);
    }
    Inspected {
        json,
        text: paper.text(),
        verified: verified.is_ok(),
    }
}

fn show_endorsement(
    paper: &mut Paper,
    fields: &mut serde_json::Map<String, Value>,
    endorsement: &VerifiedEndorsement,
    class: Option<&str>,
) {
    let class_told = match class {
        Some(class) => format!("{class}, as --class says"),
        None => "not told: --class says what the roots vouch for".to_owned(),
    };
    let until = json!({ "at": endorsement.valid_until() });
    for (head, body) in [
        ("maker      ", endorsement.manufacturer().to_string()),
        ("model      ", endorsement.model().to_owned()),
        ("version    ", endorsement.version().to_owned()),
        ("root class ", class_told),
        (
            "valid      ",
            match endorsement.valid_until() {
                Some(_) => format!("until {}", moment(&until, "at")),
                None => "without end".to_owned(),
            },
        ),
    ] {
        paper.entry(head, &body);
    }
    paper.blank();
    paper.line("path, from the EK to the root");
    for (number, step) in (1..).zip(endorsement.path()) {
        paper.entry(&format!("{number:>3}  "), &told(step));
    }
    paper.blank();
    fields.extend([
        ("manufacturer".to_owned(), json!(endorsement.manufacturer())),
        ("model".to_owned(), json!(endorsement.model())),
        ("version".to_owned(), json!(endorsement.version())),
        ("class".to_owned(), json!(class)),
        ("valid_until".to_owned(), json!(endorsement.valid_until())),
        (
            "root_key_digest".to_owned(),
            json!(endorsement.root_key_digest()),
        ),
        (
            "path".to_owned(),
            endorsement.path().iter().map(step_json).collect(),
        ),
    ]);
}

fn told(step: &PathCertificate) -> String {
    let times = json!({ "from": step.not_before, "until": step.not_after });
    let until = match step.not_after {
        Some(_) => format!("until {}", moment(&times, "until")),
        None => "without end".to_owned(),
    };
    let subject = match step.subject.as_str() {
        "" => "(no subject)",
        subject => subject,
    };
    format!("{subject}; valid from {} {until}", moment(&times, "from"))
}

fn step_json(step: &PathCertificate) -> Value {
    json!({
        "subject": step.subject,
        "digest": step.digest,
        "not_before": step.not_before,
        "not_after": step.not_after,
    })
}
