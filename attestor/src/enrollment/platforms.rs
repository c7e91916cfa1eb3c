//! Machines whose maker says which TPM it put into them: a platform certificate of a configured OEM puts
//! them into the inventory.
//!
//! Invariant: only what no operator has spoken of gets in this way, neither a name nor an EK.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{
    Oem, OemError, PlatformCertificate, PlatformCertificateError, VerifiedEndorsement,
};
use touchstone_evidence::host_id::HostId;

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::store::{InventoryEntry, StoreError, StoredOem, Tx};

/// Most certificates of OEMs; each may cost a signature check.
const OEMS_MAX: usize = 64;

/// Longest beginning of a machine's name.
const PREFIX_MAX: usize = 32;

/// Why an OEM was not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OemAddError {
    #[error("the certificate cannot be that of an oem: {0}")]
    Certificate(#[from] OemError),
    #[error(
        "no machine's name can begin with `{0}`: use 1 to {PREFIX_MAX} of a-z, 0-9, `-` and `.`, a letter or \
         digit first"
    )]
    Prefix(String),
    #[error("this certificate is there already; see `touchstone inventory oem list`")]
    Known,
    #[error("there are {OEMS_MAX} certificates of oems already")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OemAddError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "oem-certificate-refused",
            Self::Prefix(_) => "oem-host-prefix",
            Self::Known => "oem-already-added",
            Self::TooMany => "oem-too-many",
            Self::Store(_) => "internal",
        }
    }
}

/// Why a platform certificate put no machine into the inventory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlatformRefusal {
    #[error(transparent)]
    Certificate(#[from] PlatformCertificateError),
    #[error("no name can be made of the platform's serial number, `{}`", .0.escape_debug())]
    SerialUnusable(String),
    #[error("`{0}` is, or was, another machine of the inventory")]
    NameTaken(HostId),
}

impl PlatformRefusal {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Certificate(error) => error.code(),
            Self::SerialUnusable(_) => "platform-serial-unusable",
            Self::NameTaken(_) => "platform-name-taken",
        }
    }
}

/// What became of a machine that the inventory does not know.
pub(super) enum Admission {
    /// It is in the inventory now.
    Admitted(HostId),
    /// No platform certificate could say anything about it.
    NotAsked,
    Refused(PlatformRefusal),
}

/// What a machine that the inventory does not know shows of its maker.
pub(super) struct Offer<'a> {
    pub(super) platform_certificate: Option<&'a [u8]>,
    pub(super) ek_certificate: &'a [u8],
    pub(super) endorsement: &'a VerifiedEndorsement,
}

/// Believes the platform certificates of an OEM; names of its machines begin with `host_prefix`.
pub(crate) async fn add_oem(
    attestor: &Attestor,
    actor: &Actor,
    der: Vec<u8>,
    host_prefix: String,
) -> Result<Oem, OemAddError> {
    let oem = Oem::parse(&der)?;
    let whole = format!("{host_prefix}0");
    if !(1..=PREFIX_MAX).contains(&host_prefix.len()) || whole.parse::<HostId>().is_err() {
        let shown: String = host_prefix.chars().take(PREFIX_MAX).collect();
        return Err(OemAddError::Prefix(shown.escape_debug().to_string()));
    }
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    if tx.oems().await?.len() >= OEMS_MAX {
        return Err(OemAddError::TooMany);
    }
    let event = Event::OemAdded {
        oem: oem.digest(),
        subject: oem.subject(),
        host_prefix: host_prefix.clone(),
    };
    let stored = StoredOem {
        der,
        host_prefix,
        added_at: now,
    };
    if !tx.add_oem(&oem.digest(), &stored).await? {
        return Err(OemAddError::Known);
    }
    let entry = Entry::new(&event, actor, now)?;
    entry.append(&mut tx).await?;
    tx.commit().await?;
    Ok(oem)
}

/// Every OEM with the beginning of its machines' names.
pub(crate) async fn oems(tx: &mut Tx) -> Result<Vec<(Oem, StoredOem)>, StoreError> {
    let stored = tx.oems().await?.into_iter();
    stored
        .map(|stored| {
            let oem = Oem::parse(&stored.der);
            let oem = oem.map_err(|_| StoreError::Malformed("certificate of an oem"))?;
            Ok((oem, stored))
        })
        .collect()
}

/// Puts a machine that the inventory does not know into it, if its maker vouches for its TPM. A refusal has
/// written nothing.
pub(super) async fn admit(
    tx: &mut Tx,
    offer: Offer<'_>,
    now: i64,
) -> Result<Admission, StoreError> {
    let ek = offer.endorsement.ek_digest();
    let Some(der) = offer.platform_certificate else {
        return Ok(Admission::NotAsked);
    };
    let oems = oems(tx).await?;
    if oems.is_empty() || tx.is_barred(&ek).await? {
        return Ok(Admission::NotAsked);
    }
    let vouched = match vouched(der, &oems, &offer, now) {
        Ok(vouched) => vouched,
        Err(refusal) => return Ok(Admission::Refused(refusal)),
    };
    // A name that was removed is taken too: what was said about it was about another machine.
    if tx.machine_state(&vouched.host).await?.is_some() {
        let taken = PlatformRefusal::NameTaken(vouched.host);
        return Ok(Admission::Refused(taken));
    }
    let entry = InventoryEntry {
        host: vouched.host.clone(),
        ek_digests: vec![ek],
    };
    if !tx.add_inventory(&[entry], now).await? {
        return Err(StoreError::Malformed("inventory"));
    }
    tx.leave_quarantine(&ek).await?;
    let event = Event::PlatformAdmitted {
        host: vouched.host.clone(),
        ek_digest: ek,
        oem: vouched.oem,
        platform_certificate: vouched.certificate,
    };
    let entry = Entry::new(&event, &Actor::JoinToken, now)?;
    entry.append(tx).await?;
    Ok(Admission::Admitted(vouched.host))
}

/// A machine as its maker names it.
struct Vouched {
    host: HostId,
    oem: Sha256Digest,
    certificate: Sha256Digest,
}

fn vouched(
    der: &[u8],
    oems: &[(Oem, StoredOem)],
    offer: &Offer<'_>,
    now: i64,
) -> Result<Vouched, PlatformRefusal> {
    let believed: Vec<Oem> = oems.iter().map(|(oem, _)| oem.clone()).collect();
    let certificate = PlatformCertificate::parse(der)?;
    let platform = certificate.verify(&believed, offer.endorsement, offer.ek_certificate, now)?;
    let by_it = oems.iter().find(|(oem, _)| oem.digest() == platform.oem());
    let prefix = by_it.map_or("", |(_, stored)| &stored.host_prefix);
    let serial = platform.platform().serial.as_deref().unwrap_or_default();
    Ok(Vouched {
        host: name(prefix, serial)?,
        oem: platform.oem(),
        certificate: platform.certificate_digest(),
    })
}

/// The prefix and the serial number in lower case, every character but a-z and 0-9 as `-`.
fn name(prefix: &str, serial: &str) -> Result<HostId, PlatformRefusal> {
    let plain = |letter: char| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    let serial_part: String = serial.trim().chars().map(plain).collect();
    let unusable = || PlatformRefusal::SerialUnusable(serial.to_owned());
    if prefix.is_empty() || !serial_part.contains(|letter: char| letter != '-') {
        return Err(unusable());
    }
    format!("{prefix}{serial_part}")
        .parse()
        .map_err(|_| unusable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_serial_numbers_or_refused() {
        let named = |serial| name("rack-", serial).map(String::from);
        for (serial, host) in [
            ("SN0042", "rack-sn0042"),
            (" S/N 7 ", "rack-s-n-7"),
            ("Ä7", "rack--7"),
        ] {
            assert_eq!(named(serial).ok().as_deref(), Some(host));
        }
        for serial in ["", " ", "---", "abc-", "\u{0}", &"9".repeat(59)] {
            let refused = named(serial).map_err(|refusal| refusal.code());
            assert_eq!(refused, Err("platform-serial-unusable"), "{serial:?}");
        }
    }
}
