//! What an event says, where its digest proves it.

use super::read::LittleEndian;
use super::{Event, kind};
use crate::digest::Sha256Digest;

/// What GRUB puts before the text in the event's data; the digest covers only the text after it.
const GRUB_LABELS: [&str; 3] = ["grub_cmd", "kernel_cmdline", "module_cmdline"];

/// EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c (UEFI §3.3), as it lies in memory.
const GLOBAL_VARIABLE: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];

impl Event {
    /// Label and text of what GRUB measured, if the digest is that of the text.
    #[must_use]
    pub fn proven_text(&self) -> Option<(&str, &str)> {
        if self.untrusted_kind != kind::IPL {
            return None;
        }
        let data = self
            .untrusted_data
            .strip_suffix(&[0])
            .unwrap_or(&self.untrusted_data);
        let (label, text) = std::str::from_utf8(data).ok()?.split_once(": ")?;
        let known = GRUB_LABELS.contains(&label);
        (known && Sha256Digest::of(text.as_bytes()) == self.digest).then_some((label, text))
    }

    /// A short line for people, of the event's own words where they are printable. Unproven.
    #[must_use]
    pub fn untrusted_description(&self) -> String {
        let data = self
            .untrusted_data
            .strip_suffix(&[0])
            .unwrap_or(&self.untrusted_data);
        match std::str::from_utf8(data) {
            Ok(text) if !text.is_empty() => text
                .chars()
                .take(240)
                .collect::<String>()
                .escape_debug()
                .to_string(),
            _ => format!("event type {:#010x}", self.untrusted_kind),
        }
    }

    /// The value of the `SecureBoot` variable, if this is its measurement and the digest is that of
    /// the data (`UEFI_VARIABLE_DATA`, PFP §10.2.6).
    pub(super) fn proven_secure_boot(&self) -> Option<bool> {
        let measured = self.untrusted_kind == kind::EFI_VARIABLE_DRIVER_CONFIG
            && Sha256Digest::of(&self.untrusted_data) == self.digest;
        let mut reader = LittleEndian::new(measured.then_some(&self.untrusted_data)?);
        let vendor = reader.bytes(16).ok()?;
        let name_length = usize::try_from(reader.u64().ok()?).ok()?;
        let value_length = usize::try_from(reader.u64().ok()?).ok()?;
        let name = reader.bytes(name_length.checked_mul(2)?).ok()?;
        let value = reader.bytes(value_length).ok()?;
        let expected: Vec<u8> = "SecureBoot"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        (vendor == GLOBAL_VARIABLE && name == expected && reader.rest().is_empty())
            .then(|| value == [1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u32, data: &[u8], digest: Sha256Digest) -> Event {
        Event {
            number: 1,
            pcr: 8,
            untrusted_kind: kind,
            digest,
            untrusted_data: data.to_vec(),
        }
    }

    #[test]
    fn text_whose_digest_is_another_proves_nothing() {
        let line = |digest| event(kind::IPL, b"kernel_cmdline: /vmlinuz\0", digest);
        let proven = line(Sha256Digest::of(b"/vmlinuz"));
        assert_eq!(proven.proven_text(), Some(("kernel_cmdline", "/vmlinuz")));
        assert_eq!(line(Sha256Digest::of(b"/other")).proven_text(), None);
    }

    #[test]
    fn a_secure_boot_variable_whose_digest_is_another_proves_nothing() {
        let mut data = GLOBAL_VARIABLE.to_vec();
        data.extend(10u64.to_le_bytes());
        data.extend(1u64.to_le_bytes());
        data.extend("SecureBoot".encode_utf16().flat_map(u16::to_le_bytes));
        data.push(1);
        let variable = |digest| event(kind::EFI_VARIABLE_DRIVER_CONFIG, &data, digest);
        let proven = variable(Sha256Digest::of(&data));
        assert_eq!(proven.proven_secure_boot(), Some(true));
        assert_eq!(variable(Sha256Digest::ZERO).proven_secure_boot(), None);
    }
}
