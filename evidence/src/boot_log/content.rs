//! What an event says, where its digest proves it: type and data are claims until the digest
//! recomputes from them, and what it recomputes from differs between types.

use super::bank::Bank;
use super::command_line::UKI_SECTIONS;
use super::utf16::utf16;
use super::variable::Variable;
use super::{Event, kind};

/// What GRUB puts before the text in the event's data, and what it is called here; the digest covers
/// only the text after it. The last two: GRUB of RHEL 8.
const GRUB_LABELS: [(&str, &str); 5] = [
    ("grub_cmd: ", "grub_cmd"),
    ("kernel_cmdline: ", "kernel_cmdline"),
    ("module_cmdline: ", "module_cmdline"),
    ("grub_kernel_cmdline ", "kernel_cmdline"),
    ("grub_cmd ", "grub_cmd"),
];

/// What an event's digest proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// EV_SEPARATOR with 00000000 or FFFFFFFF.
    Separator,
    /// The string of an EV_EFI_ACTION or EV_ACTION.
    Action(&'a str),
    /// EV_S_CRTM_VERSION: UTF-16 text, or the digits of a GUID or number.
    FirmwareVersion(String),
    /// A UEFI variable with namespace, name and value.
    Variable(Variable<'a>),
    /// EV_EFI_VARIABLE_BOOT as most firmware measures it: of this only the value is proven.
    VariableValue(&'a [u8]),
    /// What GRUB runs or starts.
    Grub {
        /// `grub_cmd`, `kernel_cmdline` or `module_cmdline`; a claim.
        untrusted_label: &'a str,
        /// The command or command line.
        text: &'a str,
    },
    /// Text that systemd-boot or systemd-stub measured.
    LoaderText(String),
    /// Name of a section of a unified kernel image; the next event of the PCR is its content.
    UkiSection(&'static str),
    /// The data is what was measured; what it means is not known here.
    Data(&'a [u8]),
}

impl Event {
    /// What the digest of `bank` proves about the event; `None`: nothing, type and data are claims.
    #[must_use]
    pub fn proven_content(&self, bank: Bank) -> Option<Content<'_>> {
        if let Some(content) = self.proven_beside_data(bank) {
            return Some(content);
        }
        if !self.proves_data(bank) {
            return None;
        }
        let data = self.untrusted_data.as_slice();
        let known = match self.untrusted_kind {
            kind::SEPARATOR => matches!(data, [0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff])
                .then_some(Content::Separator),
            kind::EFI_ACTION | kind::ACTION => std::str::from_utf8(data).ok().map(Content::Action),
            kind::S_CRTM_VERSION => Some(Content::FirmwareVersion(version(data))),
            kind::IPL => self.proven_wide_text(bank).map(Content::LoaderText),
            _ => self.proven_variable(bank).map(Content::Variable),
        };
        Some(known.unwrap_or(Content::Data(data)))
    }

    /// Label and text of what GRUB measured, if the SHA-256 digest is that of the text.
    #[must_use]
    pub fn proven_text(&self) -> Option<(&str, &str)> {
        self.grub_text(Bank::Sha256)
    }

    /// Whether the digest of `bank` is that of the data.
    #[must_use]
    pub fn proves_data(&self, bank: Bank) -> bool {
        self.hashes_to(bank, &self.untrusted_data)
    }

    /// Content whose digest is of a part of the data, or of another form of it.
    fn proven_beside_data(&self, bank: Bank) -> Option<Content<'_>> {
        match self.untrusted_kind {
            kind::IPL => {
                if let Some((untrusted_label, text)) = self.grub_text(bank) {
                    return Some(Content::Grub {
                        untrusted_label,
                        text,
                    });
                }
                UKI_SECTIONS
                    .into_iter()
                    .find(|name| self.names_section(name, bank))
                    .map(Content::UkiSection)
            }
            kind::EFI_VARIABLE_BOOT => {
                let variable = Variable::read(&self.untrusted_data)?;
                self.hashes_to(bank, variable.value)
                    .then_some(Content::VariableValue(variable.value))
            }
            _ => None,
        }
    }

    fn grub_text(&self, bank: Bank) -> Option<(&'static str, &str)> {
        if self.untrusted_kind != kind::IPL {
            return None;
        }
        let data = std::str::from_utf8(&self.untrusted_data).ok()?;
        let (label, measured) = GRUB_LABELS
            .iter()
            .find_map(|(prefix, label)| Some((*label, data.strip_prefix(prefix)?)))?;
        let text = measured.strip_suffix('\0').unwrap_or(measured);
        // RHEL 8 measures commands with their NUL.
        [text, measured]
            .into_iter()
            .any(|form| self.hashes_to(bank, form.as_bytes()))
            .then_some((label, text))
    }

    /// systemd-stub logs a section's name in UTF-16 and measures it in ASCII, both with NUL; for the
    /// content it logs the name again.
    fn names_section(&self, name: &str, bank: Bank) -> bool {
        let logged = utf16(&self.untrusted_data);
        logged.as_deref().and_then(|text| text.strip_suffix('\0')) == Some(name)
            && self.hashes_to(bank, &[name.as_bytes(), &[0]].concat())
    }

    fn hashes_to(&self, bank: Bank, bytes: &[u8]) -> bool {
        let digest = self.digest(bank);
        digest.is_some() && bank.hash(bytes).as_ref() == digest
    }
}

/// PFP §10.4.1: a NUL-terminated UTF-16 string or a GUID; UTF-16 is taken only if all of it prints.
fn version(data: &[u8]) -> String {
    let text = utf16(data.strip_suffix(&[0, 0]).unwrap_or(data));
    text.filter(|text| {
        text.chars()
            .all(|letter| letter.is_ascii_graphic() || letter == ' ')
    })
    .unwrap_or_else(|| hex::encode(data))
}
