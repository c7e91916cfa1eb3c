//! What the kernel keeps of this boot.

use std::path::Path;

use touchstone_evidence::boot_log::BootLog;
use touchstone_evidence::ima::whole_entries;

use super::Check;
use crate::settings::Settings;
use crate::{attest, boot, runtime_list};

pub(super) fn checks(settings: &Settings) -> [Check; 3] {
    [
        boot_id(&settings.boot_id),
        boot_log(&settings.boot_log),
        runtime_list(&settings.ima_list),
    ]
}

fn boot_id(path: &Path) -> Check {
    const SUBJECT: &str = "boot id";
    match boot::boot_id(path) {
        Ok(id) => Check::good(SUBJECT, hex::encode(id)),
        Err(error) => Check::bad(SUBJECT, &attest::Error::from(error)),
    }
}

/// A log that does not parse is sent all the same: what to make of it is for the attestor.
fn boot_log(path: &Path) -> Check {
    const SUBJECT: &str = "boot log";
    let log = match boot::boot_log(path) {
        Ok(log) => log,
        Err(error) => return Check::bad(SUBJECT, &attest::Error::from(error)),
    };
    match BootLog::parse(&log) {
        Ok(parsed) => Check::good(
            SUBJECT,
            format!("{} bytes, {} events", log.len(), parsed.events().len()),
        ),
        Err(error) => {
            let next =
                "the attestor will find the same; `touchstone inspect boot-log FILE` shows where";
            Check::notice(SUBJECT, format!("it does not parse: {error}"), next)
        }
    }
}

/// Of a list that is larger than a message, the first part.
fn runtime_list(path: &Path) -> Check {
    const SUBJECT: &str = "runtime list";
    let part = match runtime_list::part(path, 0) {
        Ok(Some(part)) => part,
        Ok(None) => {
            let next = "boot with `ima_policy=tcb` if a policy asks for the runtime";
            return Check::notice(SUBJECT, "the kernel keeps none", next);
        }
        Err(error) => return Check::bad(SUBJECT, &attest::Error::from(error)),
    };
    let (size, whole) = (part.entries.len(), whole_entries(&part.entries));
    if whole < size {
        let next = "the attestor will find the same; `touchstone inspect ima FILE` shows where";
        return Check::notice(SUBJECT, format!("it parses up to byte {whole}"), next);
    }
    let beginning = if part.more { "more than " } else { "" };
    Check::good(SUBJECT, format!("{beginning}{size} bytes"))
}
