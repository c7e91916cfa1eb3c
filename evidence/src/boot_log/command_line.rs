//! Kernel command lines, wherever boot loaders measure them: GRUB (PCR 8), the Linux EFI stub (PCR 9),
//! sections of a unified kernel image (PCR 11), systemd-boot and systemd-stub (PCR 12).
//!
//! Some log the text, some only its digest. Then the text is proven by one who already knows it.

use super::bank::{Bank, BankDigest};
use super::content::Content;
use super::utf16::utf16;
use super::{BootLog, Event, kind};

/// `LOAD_OPTIONS_EVENT_TAG_ID` of Linux, drivers/firmware/efi/libstub/efistub.h.
pub(super) const LOAD_OPTIONS_TAG: u32 = 0x8f3b_22ed;
/// `INITRD_EVENT_TAG_ID`, in the same file.
pub(super) const INITRD_TAG: u32 = 0x8f3b_22ec;
/// Section names that systemd-stub measures: ASCII with NUL, each followed by its content.
pub(super) const UKI_SECTIONS: [&str; 14] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".dtbauto", ".hwids",
    ".uname", ".sbat", ".pcrpkey", ".profile", ".efifw",
];

/// Who measured a command line, and so what was hashed.
///
/// A proven line was measured; that no other one was is proven in PCR 8 and 12 by the absence of
/// [`Unknown`](Self::Unknown), and in PCR 9 and 11 only by a known-good value of the PCR, since whoever
/// runs on the host can extend a PCR later and call earlier events what he likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandLineSource {
    /// GRUB: the text, `kernel_cmdline` (PCR 8).
    Grub,
    /// The kernel's EFI stub: `LoadOptions` in UTF-16 with its NUL (PCR 9).
    LoadOptions,
    /// The `.cmdline` section of a unified kernel image, as it is in the file (PCR 11).
    UkiSection,
    /// systemd-boot or systemd-stub: what was chosen or typed, in UTF-16 with its NUL (PCR 12; 8 before
    /// systemd 251).
    Systemd,
    /// An event of PCR 8 or 12 whose digest proves nothing: it may be any command line.
    Unknown,
}

/// One measurement of a kernel command line, in the bank that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    event: usize,
    source: CommandLineSource,
    digest: BankDigest,
    text: Option<String>,
}

impl CommandLine {
    /// Position of the event in the log.
    #[must_use]
    pub fn event(&self) -> usize {
        self.event
    }

    /// Who measured it.
    #[must_use]
    pub fn source(&self) -> CommandLineSource {
        self.source
    }

    /// The text, where the log holds it and the digest is of it. As measured: GRUB names the kernel's
    /// file first, systemd-boot keeps spaces at either end.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Whether `candidate` is the command line that was measured: a proof also where the log does not
    /// hold the text. Never true for [`CommandLineSource::Unknown`].
    #[must_use]
    pub fn is(&self, candidate: &str) -> bool {
        let measured = |bytes: &[u8]| self.digest.bank().hash(bytes) == Some(self.digest);
        let wide = |text: &str| -> Vec<u8> {
            text.encode_utf16()
                .chain([0])
                .flat_map(u16::to_le_bytes)
                .collect()
        };
        match self.source {
            CommandLineSource::Grub => measured(candidate.as_bytes()),
            // The section may end in a line feed or NUL, as its maker's text file did.
            CommandLineSource::UkiSection => ["", "\n", "\0", "\n\0"]
                .iter()
                .any(|end| measured([candidate, end].concat().as_bytes())),
            CommandLineSource::LoadOptions | CommandLineSource::Systemd => {
                measured(&wide(candidate))
            }
            CommandLineSource::Unknown => false,
        }
    }
}

impl BootLog {
    /// Measurements of kernel command lines, told by the digests of `bank`: what the log says, until
    /// replay shows that it is the history of the PCRs.
    #[must_use]
    pub fn command_lines(&self, bank: Bank) -> Vec<CommandLine> {
        find(&self.events, bank)
    }
}

/// All measurements of command lines, in the order of the log.
pub(super) fn find(events: &[Event], bank: Bank) -> Vec<CommandLine> {
    let name = bank.hash(b".cmdline\0");
    // Whether the event before this one in PCR 11 was the name of the section.
    let mut named = false;
    let mut lines = Vec::new();
    for event in events {
        let Some(digest) = event.digest(bank).copied() else {
            continue;
        };
        let found = match event.pcr {
            8 | 12 => text(event, bank),
            9 if event.tag() == Some(LOAD_OPTIONS_TAG) => {
                Some((CommandLineSource::LoadOptions, None))
            }
            11 => {
                let content = std::mem::take(&mut named);
                named = !content && name == Some(digest);
                content.then_some((CommandLineSource::UkiSection, None))
            }
            _ => None,
        };
        if let Some((source, text)) = found {
            lines.push(CommandLine {
                event: event.number,
                source,
                digest,
                text,
            });
        }
    }
    lines
}

/// What an event of a PCR of texts says about the command line.
fn text(event: &Event, bank: Bank) -> Option<(CommandLineSource, Option<String>)> {
    match event.proven_content(bank) {
        Some(Content::Grub {
            untrusted_label: "kernel_cmdline",
            text,
        }) => Some((CommandLineSource::Grub, Some(text.to_owned()))),
        Some(Content::LoaderText(text)) => Some((CommandLineSource::Systemd, Some(text))),
        Some(_) => None,
        None => Some((CommandLineSource::Unknown, None)),
    }
}

impl Event {
    /// `taggedEventID` of an EV_EVENT_TAG (PFP §10.4.1).
    pub(super) fn tag(&self) -> Option<u32> {
        let tag = self.untrusted_data.first_chunk::<4>()?;
        (self.untrusted_kind == kind::EVENT_TAG).then(|| u32::from_le_bytes(*tag))
    }

    /// UTF-16 text of an EV_IPL without its NUL, if the digest is that of the data.
    pub(super) fn proven_wide_text(&self, bank: Bank) -> Option<String> {
        if self.untrusted_kind != kind::IPL || !self.proves_data(bank) {
            return None;
        }
        let text = self.untrusted_data.strip_suffix(&[0, 0])?;
        utf16(text).filter(|text| !text.contains('\0'))
    }
}
