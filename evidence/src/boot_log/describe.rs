//! Events in words, for people: what kind, in which phase of the boot, what it says, and whether its
//! digest proves that.

use super::bank::Bank;
use super::command_line::{INITRD_TAG, LOAD_OPTIONS_TAG, UKI_SECTIONS};
use super::content::Content;
use super::order::EXIT_STEPS;
use super::utf16::utf16;
use super::variable::Variable;
use super::{Event, kind};
use crate::little_endian::LittleEndian;

/// Letters of a text that are shown.
const SHOWN: usize = 240;

/// A phase of the boot, told by PCR (PFP §3.3.4; systemd's and GRUB's documents for 8 and above) and
/// by type and data, which are claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Firmware and its settings.
    Firmware,
    /// Option ROMs and drivers that firmware loaded, and their settings.
    OptionRoms,
    /// Secure Boot variables and the authorities that were used, shim's own included.
    SecureBootPolicy,
    /// Boot manager and boot loader with their files and commands.
    BootLoader,
    /// Kernel, and other sections of a unified kernel image.
    Kernel,
    /// Kernel command line.
    CommandLine,
    /// Initial RAM disk.
    Initrd,
    /// The kernel's call to leave boot services.
    ExitBootServices,
    /// Anything else, e.g. what the running system measured.
    Other,
}

/// An event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// TCG's name of the type, e.g. `EV_SEPARATOR`; its number if it has none.
    pub untrusted_kind: String,
    /// The phase.
    pub untrusted_phase: Phase,
    /// What it says, printable and at most a line; may be empty.
    pub text: String,
    /// Whether the digest is of what `text` tells.
    pub proven: bool,
}

impl Event {
    /// The event in words, with what the digest of `bank` proves.
    #[must_use]
    pub fn describe(&self, bank: Bank) -> Description {
        let proven = self.proven_content(bank).map(|content| match content {
            Content::VariableValue(value) => self.told_value(value),
            content => told(&content),
        });
        Description {
            untrusted_kind: kind::name(self.untrusted_kind).map_or_else(
                || format!("{:#010x}", self.untrusted_kind),
                ToOwned::to_owned,
            ),
            untrusted_phase: self.phase(),
            proven: proven.is_some(),
            text: proven.unwrap_or_else(|| self.untrusted_text()),
        }
    }

    /// A short line for people, of the event's own words where they are printable. Unproven.
    #[must_use]
    pub fn untrusted_description(&self) -> String {
        let data = self
            .untrusted_data
            .strip_suffix(&[0])
            .unwrap_or(&self.untrusted_data);
        match std::str::from_utf8(data) {
            Ok(text) if !text.is_empty() => printable(text),
            _ => format!("event type {:#010x}", self.untrusted_kind),
        }
    }

    fn phase(&self) -> Phase {
        match self.pcr {
            7 | 14 => Phase::SecureBootPolicy,
            2 | 3 => Phase::OptionRoms,
            5 if self.names_exit() => Phase::ExitBootServices,
            4 | 5 => Phase::BootLoader,
            0..=6 => Phase::Firmware,
            8 => match self.untrusted_data.starts_with(b"kernel_cmdline")
                || self.untrusted_data.starts_with(b"grub_kernel_cmdline")
            {
                true => Phase::CommandLine,
                false => Phase::BootLoader,
            },
            9 => match self.tag() {
                Some(LOAD_OPTIONS_TAG) => Phase::CommandLine,
                Some(INITRD_TAG) => Phase::Initrd,
                _ if self.names_file(&["initr"]) => Phase::Initrd,
                _ if self.names_file(&["vmlinu", "linux", "bzImage", "kernel"]) => Phase::Kernel,
                _ => Phase::BootLoader,
            },
            11 => match self.section() {
                Some(".cmdline") => Phase::CommandLine,
                Some(".initrd") => Phase::Initrd,
                Some(_) => Phase::Kernel,
                // The boot manager of Windows uses this PCR and the next.
                None => Phase::Other,
            },
            12 if self.untrusted_kind == kind::IPL => Phase::CommandLine,
            _ => Phase::Other,
        }
    }

    fn names_exit(&self) -> bool {
        let data = self.untrusted_data.as_slice();
        self.untrusted_kind == kind::EFI_ACTION && EXIT_STEPS.contains(&data)
    }

    /// Whether GRUB measured a file whose name begins like this, as distributions name theirs.
    fn names_file(&self, beginnings: &[&str]) -> bool {
        let path = String::from_utf8_lossy(&self.untrusted_data);
        let file = path.rsplit('/').next().unwrap_or_default();
        beginnings
            .iter()
            .any(|beginning| file.starts_with(beginning))
    }

    fn section(&self) -> Option<&'static str> {
        let name = utf16(&self.untrusted_data)?;
        let name = name.trim_end_matches('\0');
        UKI_SECTIONS.into_iter().find(|section| *section == name)
    }

    /// The value is proven, its name is not.
    fn told_value(&self, value: &[u8]) -> String {
        let told = told_value(value);
        match self.untrusted_variable_name() {
            Some(name) => format!("{told}; the log names it {}", printable(&name)),
            None => told,
        }
    }

    /// What the data claims, where the digest proves nothing.
    fn untrusted_text(&self) -> String {
        let data = self.untrusted_data.as_slice();
        let known = match self.untrusted_kind {
            kind::EFI_BOOT_SERVICES_APPLICATION
            | kind::EFI_BOOT_SERVICES_DRIVER
            | kind::EFI_RUNTIME_SERVICES_DRIVER => image_path(data),
            kind::EVENT_TAG => data.get(8..).and_then(text),
            kind::EFI_VARIABLE_DRIVER_CONFIG
            | kind::EFI_VARIABLE_AUTHORITY
            | kind::EFI_VARIABLE_BOOT
            | kind::EFI_VARIABLE_BOOT2 => {
                Variable::read(data).map(|variable| told_variable(&variable))
            }
            kind::IPL if self.section().is_some() => self.section().map(ToOwned::to_owned),
            _ => text(data),
        };
        known.unwrap_or_else(|| format!("{} bytes", data.len()))
    }
}

fn told(content: &Content<'_>) -> String {
    match content {
        Content::Separator => String::new(),
        Content::Action(text) | Content::Grub { text, .. } => printable(text),
        Content::FirmwareVersion(text) | Content::LoaderText(text) => printable(text),
        Content::Variable(variable) => told_variable(variable),
        Content::VariableValue(value) => told_value(value),
        Content::UkiSection(name) => format!("section {name}"),
        Content::Data(data) => text(data).unwrap_or_else(|| format!("{} bytes", data.len())),
    }
}

fn told_value(value: &[u8]) -> String {
    format!("value of {} bytes", value.len())
}

fn told_variable(variable: &Variable<'_>) -> String {
    let name = printable(&variable.name);
    match variable.value {
        [byte] => format!("{name} = {byte}"),
        value => format!("{name}, {} bytes", value.len()),
    }
}

/// The text of ASCII data that may end in NUL.
fn text(data: &[u8]) -> Option<String> {
    let data = data.strip_suffix(&[0]).unwrap_or(data);
    let shown = !data.is_empty() && data.iter().all(|byte| (0x20..0x7f).contains(byte));
    shown
        .then(|| std::str::from_utf8(data).ok().map(printable))
        .flatten()
}

fn printable(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    shown.escape_debug().to_string()
}

/// File path of a `UEFI_IMAGE_LOAD_EVENT` (PFP §10.2.3): the file nodes of its device path (UEFI
/// §10.3.5.4, type 4, subtype 4).
fn image_path(data: &[u8]) -> Option<String> {
    let mut reader = LittleEndian::new(data);
    // Address, length and link-time address.
    reader.bytes(24)?;
    let length = usize::try_from(reader.u64()?).ok()?;
    let mut nodes = LittleEndian::new(reader.bytes(length)?);
    let mut path = String::new();
    while let (Some(kind), Some(subtype), Some(size)) = (nodes.u8(), nodes.u8(), nodes.u16()) {
        let body = nodes.bytes(usize::from(size).checked_sub(4)?)?;
        if (kind, subtype) == (4, 4) {
            path.push_str(utf16(body)?.trim_end_matches('\0'));
        }
    }
    (!path.is_empty()).then(|| printable_path(&path))
}

/// Like [`printable`], with the backslashes of a file path as they are.
fn printable_path(path: &str) -> String {
    path.chars()
        .take(SHOWN)
        .map(|letter| match letter {
            '\\' => letter.to_string(),
            _ if letter.is_control() => letter.escape_unicode().to_string(),
            _ => letter.escape_debug().to_string(),
        })
        .collect()
}
