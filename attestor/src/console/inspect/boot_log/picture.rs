//! What a boot was: its facts first, then every event under its phase.
//!
//! Only the order within one PCR is proven, never that between two, so events stand by phase and
//! in the log's order there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use touchstone_evidence::boot_log::{
    Bank, BootLog, CommandLine, CommandLineSource, Disorder, Event, Phase, kind,
};

use super::super::paper::Paper;
use super::mark;

/// `start_proven`: replay led to PCR 0, which depends on the starting locality.
pub(super) fn show(paper: &mut Paper, log: &BootLog, bank: Bank, start_proven: bool) {
    for fact in facts(log, bank, start_proven) {
        let mark = fact.proven.map_or(' ', mark);
        paper.entry(&format!("{mark} {:<15}", fact.name), &fact.text);
    }
    for (phase, events) in by_phase(log, bank) {
        paper.blank();
        paper.line(title(phase));
        for event in events {
            let told = event.describe(bank);
            let kind = told.untrusted_kind.trim_start_matches("EV_");
            let head = format!(
                "{:>4}  PCR {:<2} {} ",
                event.number,
                event.pcr,
                mark(told.proven)
            );
            paper.entry(&head, &format!("{kind}  {}", told.text));
        }
    }
    paper.blank();
    paper.line("`=`: the digest is of what is shown; `?`: the log says so, and nothing proves it");
}

pub(super) fn json(log: &BootLog, bank: Bank, disorder: &[Disorder]) -> Value {
    let policy = log.secure_boot_policy(bank);
    let exits = log.exit_boot_services(bank);
    let events: Vec<Value> = log
        .events()
        .iter()
        .map(|event| event_json(event, bank))
        .collect();
    let lines: Vec<Value> = log
        .command_lines(bank)
        .iter()
        .map(|line| {
            json!({
                "event": line.event(),
                "source": source(line.source()).0,
                "text": line.text(),
            })
        })
        .collect();
    json!({
        "form": form(log),
        "log_banks": log.banks().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "shown_bank": bank.to_string(),
        "startup_locality": log.startup_locality(),
        "notices": log.notices().len(),
        "secure_boot": {
            "enabled": policy.secure_boot,
            "pk_bytes": policy.pk,
            "kek_bytes": policy.kek,
            "db_bytes": policy.db,
            "dbx_bytes": policy.dbx,
            "sbat_level": policy.sbat_level,
        },
        "loaders": applications(log, bank),
        "kernels": files(log, bank, Phase::Kernel),
        "initrds": files(log, bank, Phase::Initrd),
        "command_lines": lines,
        "exit_boot_services": {
            "invocations": exits.invocations,
            "failures": exits.failures,
            "successes": exits.successes,
        },
        "events": events,
        "disorder": disorder.iter().map(Disorder::finding).collect::<Vec<_>>(),
    })
}

/// One event as JSON; `proven`: its digest is of `text`.
pub(super) fn event_json(event: &Event, bank: Bank) -> Value {
    let told = event.describe(bank);
    json!({
        "number": event.number,
        "pcr": event.pcr,
        "kind": told.untrusted_kind,
        "phase": title(told.untrusted_phase),
        "text": told.text,
        "proven": told.proven,
        "digest": event.digest(bank).map(|digest| hex::encode(digest.as_bytes())),
    })
}

struct Fact {
    name: &'static str,
    text: String,
    /// `None`: a property of the log's form, which nothing could prove.
    proven: Option<bool>,
}

fn facts(log: &BootLog, bank: Bank, start_proven: bool) -> Vec<Fact> {
    let fact = |name, text: String, proven| Fact { name, text, proven };
    let banks: Vec<String> = log.banks().iter().map(ToString::to_string).collect();
    let count = format!(
        "{}; {} events, {} notices; digests of {}",
        form(log),
        log.events().len(),
        log.notices().len(),
        banks.join(", ")
    );
    let locality = format!("locality {}", log.startup_locality());
    let mut facts = vec![
        fact("log", count, None),
        fact("started from", locality, Some(start_proven)),
        secure_boot(log, bank),
    ];
    facts.extend(
        applications(log, bank)
            .into_iter()
            .map(|path| fact("started", path, Some(false))),
    );
    for (name, phase) in [("kernel", Phase::Kernel), ("initrd", Phase::Initrd)] {
        let files = files(log, bank, phase).join(", ");
        facts.extend((!files.is_empty()).then(|| fact(name, files, Some(false))));
    }
    let lines = log.command_lines(bank);
    if lines.is_empty() {
        facts.push(fact("command line", "not measured".to_owned(), Some(false)));
    }
    facts.extend(lines.iter().map(|line| command_line(log, bank, line)));
    facts.push(exit(log, bank));
    facts
}

fn form(log: &BootLog) -> &'static str {
    match log.banks() {
        [Bank::Sha1] => "of the old form, or SHA-1 only",
        _ => "crypto-agile",
    }
}

fn secure_boot(log: &BootLog, bank: Bank) -> Fact {
    let policy = log.secure_boot_policy(bank);
    let state = match policy.secure_boot {
        Some(true) => "on",
        Some(false) => "off",
        None => "not measured",
    };
    let databases = [
        ("PK", policy.pk),
        ("KEK", policy.kek),
        ("db", policy.db),
        ("dbx", policy.dbx),
    ];
    let sizes: Vec<String> = databases
        .into_iter()
        .filter_map(|(name, size)| {
            Some(match size? {
                0 => format!("{name} empty"),
                size => format!("{name} {size} bytes"),
            })
        })
        .collect();
    let mut text = state.to_owned();
    if !sizes.is_empty() {
        text.push_str(&format!("; {}", sizes.join(", ")));
    }
    if let Some(level) = &policy.sbat_level {
        text.push_str(&format!("; SBAT level {}", level.escape_debug()));
    }
    Fact {
        name: "Secure Boot",
        text,
        proven: Some(policy.secure_boot.is_some()),
    }
}

/// Paths of what firmware and boot loaders started; claims.
fn applications(log: &BootLog, bank: Bank) -> Vec<String> {
    log.events()
        .iter()
        .filter(|event| {
            event.pcr == 4 && event.untrusted_kind == kind::EFI_BOOT_SERVICES_APPLICATION
        })
        .map(|event| match event.describe(bank).text {
            text if text.ends_with(" bytes") => format!("an application without a path ({text})"),
            path => path,
        })
        .collect()
}

/// Files that were measured in a phase, by name; claims.
fn files(log: &BootLog, bank: Bank, phase: Phase) -> Vec<String> {
    let of_phase = log.events().iter().map(|event| event.describe(bank));
    let mut names: Vec<String> = of_phase
        .filter(|told| told.untrusted_phase == phase)
        // A section of a unified kernel image stands there by name and by content.
        .map(|told| told.text.trim_start_matches("section ").to_owned())
        .collect();
    names.dedup();
    names
}

/// A word for JSON, and words for people.
fn source(source: CommandLineSource) -> (&'static str, &'static str) {
    match source {
        CommandLineSource::Grub => ("grub", "by GRUB"),
        CommandLineSource::LoadOptions => {
            ("load-options", "by the kernel, from its EFI load options")
        }
        CommandLineSource::UkiSection => (
            "uki-section",
            "by systemd-stub, from the unified kernel image",
        ),
        CommandLineSource::Systemd => ("systemd", "by systemd-boot or systemd-stub"),
        CommandLineSource::Unknown => ("unknown", "by something unknown"),
    }
}

fn command_line(log: &BootLog, bank: Bank, line: &CommandLine) -> Fact {
    let (_, by) = source(line.source());
    let text = match line.text() {
        Some(text) => format!("{} ({by}, event {})", text.escape_debug(), line.event()),
        None => {
            let event = log
                .events()
                .iter()
                .find(|event| event.number == line.event());
            let digest = event.and_then(|event| event.digest(bank));
            let digest = digest.map(ToString::to_string).unwrap_or_default();
            format!(
                "only its digest is known: {digest} ({by}, event {})",
                line.event()
            )
        }
    };
    Fact {
        name: "command line",
        text,
        proven: Some(line.text().is_some()),
    }
}

fn exit(log: &BootLog, bank: Bank) -> Fact {
    let exits = log.exit_boot_services(bank);
    let text = match (exits.successes, exits.invocations) {
        (0, 0) => "not measured".to_owned(),
        (0, calls) => format!("called {calls} times, success not measured"),
        (_, calls) => format!(
            "left after {calls} call(s), {} of them failed",
            exits.failures
        ),
    };
    Fact {
        name: "boot services",
        text,
        proven: Some(exits != touchstone_evidence::boot_log::ExitBootServices::default()),
    }
}

fn by_phase(log: &BootLog, bank: Bank) -> BTreeMap<Phase, Vec<&Event>> {
    let mut phases: BTreeMap<Phase, Vec<&Event>> = BTreeMap::new();
    for event in log.events() {
        let phase = event.describe(bank).untrusted_phase;
        phases.entry(phase).or_default().push(event);
    }
    phases
}

fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Firmware => "firmware",
        Phase::OptionRoms => "option ROMs and drivers",
        Phase::SecureBootPolicy => "Secure Boot databases and authorities",
        Phase::BootLoader => "boot loader",
        Phase::Kernel => "kernel",
        Phase::CommandLine => "kernel command line",
        Phase::Initrd => "initrd",
        Phase::ExitBootServices => "exit from boot services",
        Phase::Other => "other",
    }
}
