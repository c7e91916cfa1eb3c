//! UEFI variables that were measured (`UEFI_VARIABLE_DATA`, PFP §10.2.6), and what those of PCR 7 say
//! about Secure Boot. A variable is proven where the digest is that of the whole structure.

use super::bank::Bank;
use super::utf16::utf16;
use super::{BootLog, Event, kind};
use crate::little_endian::LittleEndian;

/// EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c (UEFI §3.3), as it lies in memory.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// EFI_IMAGE_SECURITY_DATABASE, d719b2cb-3d3a-4596-a3bc-dad00e67656f (UEFI §32.4.1).
const IMAGE_SECURITY: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// Shim's own, 605dab50-e046-4300-abb6-3dd810dd8b23.
const SHIM: [u8; 16] = [
    0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23,
];

/// Types of events whose data is a variable.
const VARIABLE_KINDS: [u32; 4] = [
    kind::EFI_VARIABLE_DRIVER_CONFIG,
    kind::EFI_VARIABLE_AUTHORITY,
    kind::EFI_VARIABLE_BOOT,
    kind::EFI_VARIABLE_BOOT2,
];

/// A measured variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Its namespace, as the GUID lies in memory.
    pub vendor: [u8; 16],
    /// Its name.
    pub name: String,
    /// Its value; empty for a variable that does not exist.
    pub value: &'a [u8],
}

impl<'a> Variable<'a> {
    /// Reads a `UEFI_VARIABLE_DATA` to its end.
    pub(super) fn read(data: &'a [u8]) -> Option<Self> {
        let mut reader = LittleEndian::new(data);
        let vendor = *reader.array()?;
        let name_length = usize::try_from(reader.u64()?).ok()?;
        let value_length = usize::try_from(reader.u64()?).ok()?;
        let name = utf16(reader.bytes(name_length.checked_mul(2)?)?)?;
        let value = reader.bytes(value_length)?;
        reader.rest().is_empty().then_some(Self {
            vendor,
            name,
            value,
        })
    }

    fn is(&self, vendor: [u8; 16], name: &str) -> bool {
        self.vendor == vendor && self.name == name
    }
}

impl Event {
    /// The variable of this event, if its type is that of a variable and its digest in `bank` is that
    /// of namespace, name and value together. EV_EFI_VARIABLE_BOOT covers only the value: see
    /// [`Event::proven_content`].
    #[must_use]
    pub fn proven_variable(&self, bank: Bank) -> Option<Variable<'_>> {
        (VARIABLE_KINDS.contains(&self.untrusted_kind) && self.proves_data(bank))
            .then(|| Variable::read(&self.untrusted_data))
            .flatten()
    }

    /// The name of the variable that the event's type and data claim.
    pub(super) fn untrusted_variable_name(&self) -> Option<String> {
        VARIABLE_KINDS
            .contains(&self.untrusted_kind)
            .then(|| Variable::read(&self.untrusted_data))
            .flatten()
            .map(|variable| variable.name)
    }
}

impl BootLog {
    /// What the measured variables say about Secure Boot, told by the digests of `bank`: what the log
    /// says, until replay shows that it is the history of the PCRs.
    #[must_use]
    pub fn secure_boot_policy(&self, bank: Bank) -> SecureBootPolicy {
        SecureBootPolicy::of(&self.events, bank)
    }
}

/// What the measured variables of PCR 7 say. A part is `None` when no proven event says, or two say
/// different things.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SecureBootPolicy {
    /// `SecureBoot`: whether images are verified.
    pub secure_boot: Option<bool>,
    /// Bytes of `PK`, the platform key; 0: setup mode.
    pub pk: Option<usize>,
    /// Bytes of `KEK`.
    pub kek: Option<usize>,
    /// Bytes of `db`: what may start.
    pub db: Option<usize>,
    /// Bytes of `dbx`: what may not; 0: nothing was ever revoked here.
    pub dbx: Option<usize>,
    /// Shim's `SbatLevel`: revoked generations of boot loaders.
    /// It is measured after the separator, where the running system can measure too: rely on it only
    /// with a known-good value of PCR 7.
    pub sbat_level: Option<String>,
}

impl SecureBootPolicy {
    pub(super) fn of(events: &[Event], bank: Bank) -> Self {
        let variables = |wanted: u32| -> Vec<Variable<'_>> {
            events
                .iter()
                .filter(|event| event.pcr == 7 && event.untrusted_kind == wanted)
                .filter_map(|event| event.proven_variable(bank))
                .collect()
        };
        let policy = variables(kind::EFI_VARIABLE_DRIVER_CONFIG);
        let authorities = variables(kind::EFI_VARIABLE_AUTHORITY);
        let size = |vendor, name| only(&policy, vendor, name).map(<[u8]>::len);
        Self {
            secure_boot: only(&policy, GLOBAL, "SecureBoot").map(|value| value == [1]),
            pk: size(GLOBAL, "PK"),
            kek: size(GLOBAL, "KEK"),
            db: size(IMAGE_SECURITY, "db"),
            dbx: size(IMAGE_SECURITY, "dbx"),
            sbat_level: only(&authorities, SHIM, "SbatLevel")
                .and_then(|value| std::str::from_utf8(value).ok())
                .map(|text| text.trim_end_matches(['\n', '\0']).to_owned()),
        }
    }
}

/// The value of a variable that is there once, or more often with one value.
fn only<'a>(variables: &[Variable<'a>], vendor: [u8; 16], name: &str) -> Option<&'a [u8]> {
    let mut values = variables
        .iter()
        .filter(|variable| variable.is(vendor, name))
        .map(|variable| variable.value);
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}
