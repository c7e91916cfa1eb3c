//! What the commands print: text for people, or one line of JSON for programs.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use touchstone_agent::check::{Report, Verdict};
use touchstone_agent::purge::{Mode, Purged};
use touchstone_agent::status::NodeTokenStatus;
use touchstone_agent::{Enrolment, Outcome, Status};
use touchstone_evidence::finding::Finding;

pub(crate) fn enrolment(enrolment: &Enrolment, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(enrolment);
    }
    let Enrolment { host, server, new } = enrolment;
    let text = if *new {
        format!("enrolled as {host} with {server}\nnext: touchstone-agent attest --once\n")
    } else {
        format!("enrolled before as {host} with {server}; nothing to do\n")
    };
    print(&text)
}

pub(crate) fn trusted(server: &str, believed: &str) -> anyhow::Result<()> {
    print(&format!(
        "the attestor is {server}, under the CA with SHA-256 {believed}\nnext: touchstone-agent attest --once\n"
    ))
}

pub(crate) fn outcome(outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(outcome);
    }
    print(&outcome_text(outcome))
}

pub(crate) fn pages(folder: &Path) -> anyhow::Result<()> {
    let first = folder.join("touchstone-agent.1");
    print(&format!(
        "wrote man pages; read them with: man -l {}\n",
        first.display()
    ))
}

pub(crate) fn status(status: &Status, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(status);
    }
    print(&status_text(status))
}

/// What holds a key or a secret. Past the buffer of standard output, which would keep a copy of it.
pub(crate) fn secret(bytes: &[u8]) -> anyhow::Result<()> {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    stdout
        .and_then(|stdout| File::from(stdout).write_all(bytes))
        .context("cannot write to standard output")
}

pub(crate) fn report(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(report);
    }
    print(&report_text(report))
}

pub(crate) fn purged(purged: &[Purged], mode: Mode, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&purged);
    }
    print(
        &purged
            .iter()
            .map(|one| purged_text(one, mode))
            .collect::<String>(),
    )
}

fn purged_text(purged: &Purged, mode: Mode) -> String {
    let (runtime, place) = (purged.runtime.word(), &purged.place);
    let word = match mode {
        Mode::Purge if purged.is_complete() => "purged",
        Mode::Purge => "not purged",
        Mode::DryRun => "would go",
    };
    let said = |words: String| line(&format!("{runtime} {place}: {words}"));
    let mut text = String::new();
    for digest in &purged.digests {
        text.push_str(&said(format!("{word} {digest}")));
    }
    if !purged.names.is_empty() {
        text.push_str(&said(format!("called {}", purged.names.join(" "))));
    }
    for left in purged.left.iter().filter(|_| mode == Mode::Purge) {
        text.push_str(&said(format!("left {left}")));
    }
    if let Some(error) = &purged.error {
        text.push_str(&said(error.clone()));
    }
    if text.is_empty() {
        text = said("nothing to purge".to_owned());
    }
    text
}

/// A line each, and another where there is something to do.
fn report_text(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let verdict = match check.verdict {
            Verdict::Good => "good",
            Verdict::Notice => "notice",
            Verdict::Bad => "bad",
        };
        text.push_str(&line(&format!(
            "{verdict:<6}  {:<16}  {}",
            check.subject, check.seen
        )));
        if let Some(next) = &check.next {
            text.push_str(&line(&format!("{:<26}next: {next}", "")));
        }
    }
    text
}

/// What others said must not move the cursor.
fn line(text: &str) -> String {
    text.replace(char::is_control, " ") + "\n"
}

fn status_text(status: &Status) -> String {
    let Some(enrolled) = &status.enrolled else {
        let begun = if status.enrolment_pending {
            " (begun, not completed)"
        } else {
            ""
        };
        return format!("not enrolled{begun}\nnext: touchstone-agent enrol --join-token FILE\n");
    };
    let mut text = format!(
        "host     {}\nserver   {}\ntls key  {}\n",
        enrolled.host, enrolled.server, enrolled.tls_key
    );
    match &status.last {
        Some(last) => text.push_str(&format!(
            "last     {} at {}, entry {}\n{}",
            last.tier,
            moment(last.at),
            last.entry,
            findings(&last.findings)
        )),
        None => text.push_str("last     never attested\nnext: touchstone-agent attest --once\n"),
    }
    match &status.node_token {
        Some(NodeTokenStatus {
            digest: Some(digest),
            ..
        }) => text.push_str(&format!("node     token with SHA-256 {digest}\n")),
        Some(NodeTokenStatus { error, .. }) => text.push_str(&line(&format!(
            "node     no token: {}",
            error.as_deref().unwrap_or_default()
        ))),
        None => {}
    }
    if status.layers_opened > 0 {
        text.push_str(&format!(
            "opened   {} encrypted layers\n",
            status.layers_opened
        ));
    }
    text
}

/// Seconds since 1970 as RFC 3339, UTC.
fn moment(seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    text.unwrap_or_else(|| seconds.to_string())
}

fn outcome_text(outcome: &Outcome) -> String {
    format!(
        "host     {}\ntier     {}\nentry    {}\n{}",
        outcome.host,
        outcome.tier,
        outcome.entry,
        findings(&outcome.findings)
    )
}

/// One line each: `code: subject; expected …; observed …`.
fn findings(findings: &[Finding]) -> String {
    let finding_line = |finding: &Finding| {
        let details = [
            Some(finding.subject.clone()).filter(|subject| !subject.is_empty()),
            finding
                .expected
                .as_ref()
                .map(|value| format!("expected {value}")),
            finding
                .observed
                .as_ref()
                .map(|value| format!("observed {value}")),
            finding
                .consequence_of
                .as_ref()
                .map(|code| format!("because of {code}")),
        ];
        let details: Vec<_> = details.into_iter().flatten().collect();
        let colon = if details.is_empty() { "" } else { ": " };
        line(&format!(
            "finding  {}{colon}{}",
            finding.code,
            details.join("; ")
        ))
    };
    findings.iter().map(finding_line).collect()
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value).context("cannot write JSON")?;
    line.push('\n');
    print(&line)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        let plain = Finding::new("boot-log-missing");
        let full = Finding::new("x-y")
            .about("PCR 8")
            .expected("a\n")
            .observed("b")
            .because_of("z");
        assert_eq!(
            findings(&[plain, full]),
            "finding  boot-log-missing\nfinding  x-y: PCR 8; expected a ; observed b; because of z\n"
        );
    }

    #[test]
    fn the_last_round_is_told_with_its_time() {
        let host: touchstone_evidence::host_id::HostId = "de-1".parse().unwrap();
        let digest = touchstone_evidence::digest::Sha256Digest::ZERO;
        let text = status_text(&Status {
            enrolled: Some(touchstone_agent::status::EnrolledAs {
                host: host.clone(),
                server: "https://attestor:8443".to_owned(),
                tls_key: digest,
            }),
            enrolment_pending: false,
            last: Some(Outcome {
                host,
                at: 1_795_824_000,
                tier: touchstone_evidence::result::TrustTier::Affirming,
                findings: Vec::new(),
                entry: digest,
                result: String::new(),
                revoked: Vec::new(),
            }),
            layers_opened: 2,
            node_token: Some(NodeTokenStatus {
                digest: Some(digest),
                error: None,
            }),
        });
        let last = "last     affirming at 2026-11-28T00:00:00Z, entry 0000";
        assert!(text.contains(last), "{text}");
        let token = "node     token with SHA-256 0000";
        assert!(text.contains(token), "{text}");
        assert!(text.ends_with("opened   2 encrypted layers\n"), "{text}");
    }

    #[test]
    fn a_new_host_is_told_what_to_do() {
        let status = Status {
            enrolled: None,
            enrolment_pending: true,
            last: None,
            layers_opened: 0,
            node_token: None,
        };
        let text = status_text(&status);
        assert!(text.starts_with("not enrolled (begun") && text.contains("enrol --join-token"));
    }
}
