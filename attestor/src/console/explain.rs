//! `touchstone host explain`: why a host stands where it stands, in prose, and what to do next.

use serde_json::Value;
use touchstone_evidence::host_id::HostId;

use super::answers::{items, strings};
use super::client::{Client, is_refusal};
use super::commands::{not_enrolled, place};
use super::location::told_move;
use super::output::{line, moment, text};

pub(super) async fn explain(client: &Client, json: bool, host: &HostId) -> anyhow::Result<()> {
    let answer = match client.get(&format!("/v1/hosts/{host}/explanation")).await {
        Err(error) if is_refusal(&error, "host-unknown") => {
            return Err(not_enrolled(client, host, error).await);
        }
        answer => answer?,
    };
    line(json, &answer, || prose(&answer))
}

fn prose(answer: &Value) -> String {
    let parts = [
        standing(answer),
        demands(answer),
        findings(answer),
        standing_place(answer),
        before(answer),
    ];
    let told: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    told.join("\n\n")
}

/// The first lines: what it is, until when, and for which nodes that matters.
fn standing(answer: &Value) -> String {
    let host = text(answer, "host");
    let tier = text(answer, "tier");
    let until = moment(answer, "expires_at");
    let fresh = answer.get("fresh").and_then(Value::as_bool) == Some(true);
    let first = match (answer.get("issued_at"), fresh) {
        _ if is_voided(answer) => format!(
            "{host} has no verdict: that of {} was taken away since. Its next round brings another.",
            moment(answer, "issued_at")
        ),
        (None | Some(Value::Null), _) => format!(
            "{host} is enrolled and has not attested yet: nothing is known of it.\n\
             Next: see whether touchstone-agent runs there and reaches the attestor."
        ),
        (_, true) => format!(
            "{host} is {tier}. The verdict of {} ends at {until}, unless the next round replaces it.",
            moment(answer, "issued_at")
        ),
        (_, false) => format!(
            "{host} has no verdict: the last one, {tier}, ended at {until}.\n\
             Next: see whether touchstone-agent runs there and reaches the attestor."
        ),
    };
    let nodes = strings(answer, "nodes").collect::<Vec<_>>().join(", ");
    match nodes.is_empty() {
        true => format!("{first}\nNo Kubernetes node is mapped to it."),
        false => format!("{first}\nIt stands behind the Kubernetes nodes: {nodes}"),
    }
}

/// Whether its verdict was taken away after it was reached.
fn is_voided(answer: &Value) -> bool {
    answer.get("voided").and_then(Value::as_bool) == Some(true)
}

fn demands(answer: &Value) -> String {
    let Some(policy) = answer.get("policy").filter(|policy| !policy.is_null()) else {
        return "No policy is for it, or several are: see the findings.".to_owned();
    };
    let mut told = vec![format!("Policy `{}` demands:", text(policy, "name"))];
    for demand in items(policy, "demands") {
        let (mark, by) = match demand.get("proof").and_then(Value::as_str) {
            Some(proof) => ("met    ", format!("\n           by {proof}")),
            None if is_voided(answer) => {
                ("unknown", "\n           until the next round".to_owned())
            }
            None => (
                "NOT MET",
                format!("\n           it is {}", text(demand, "tier")),
            ),
        };
        told.push(format!("  {mark}  {}{by}", text(demand, "what")));
    }
    if policy.get("in_force").and_then(Value::as_bool) == Some(false) {
        told.push("  Its last verdict was reached under earlier manifests; the next round is judged by these.".to_owned());
    }
    told.join("\n")
}

fn findings(answer: &Value) -> String {
    let findings: Vec<&Value> = items(answer, "findings").collect();
    if findings.is_empty() {
        return String::new();
    }
    let mut told = vec!["Why:".to_owned()];
    for (number, finding) in findings.iter().enumerate() {
        let code = text(finding, "code");
        let follows = match finding.get("consequence_of").and_then(Value::as_str) {
            Some(cause) => format!(", follows from {cause}"),
            None => String::new(),
        };
        told.push(format!(
            "  {}. {} ({code}{follows})",
            number + 1,
            text(finding, "sentence")
        ));
        for field in ["expected", "observed"] {
            if finding.get(field).is_some() {
                told.push(format!("     {field}: {}", text(finding, field)));
            }
        }
        // The cause is to be mended, and its advice stands there.
        if let (true, Some(advice)) = (
            follows.is_empty(),
            finding.get("advice").and_then(Value::as_str),
        ) {
            told.push(format!("     next: {}", plain(advice)));
        }
    }
    told.join("\n")
}

fn standing_place(answer: &Value) -> String {
    let Some(part) = answer.get("place").filter(|part| !part.is_null()) else {
        let unknown = "Where it stands is not known: no location tag is current.".to_owned();
        return with_moves(unknown, answer);
    };
    let proven = match part.get("proven").and_then(Value::as_bool) {
        Some(true) => "proven in its last round",
        _ => "NOT proven by its last round",
    };
    let stands = format!(
        "It stands in {}, grade {}, {proven}: tag {} of authority {}, which vouches until {}.",
        place(part),
        text(part, "grade"),
        text(part, "serial"),
        text(part, "authority"),
        moment(part, "valid_until"),
    );
    with_moves(stands, answer)
}

fn with_moves(stands: String, answer: &Value) -> String {
    let moves = items(answer, "moves").map(told_move);
    let told: Vec<String> = std::iter::once(stands).chain(moves).collect();
    told.join("\n")
}

fn before(answer: &Value) -> String {
    let Some(before) = answer.get("before").filter(|before| !before.is_null()) else {
        return String::new();
    };
    let mut told = vec![format!(
        "Before that it was {}, last at {} (entry {} of the audit log).",
        text(before, "tier"),
        moment(before, "reached_at"),
        text(before, "index"),
    )];
    if place(before) != "-" {
        told.push(format!("It stood in {} then.", place(before)));
    }
    for (list, word) in [
        ("new_codes", "New since then"),
        ("gone_codes", "Gone since then"),
    ] {
        let codes = strings(before, list).collect::<Vec<_>>().join(", ");
        if !codes.is_empty() {
            told.push(format!("{word}: {codes}"));
        }
    }
    if before.get("policies_changed").and_then(Value::as_bool) == Some(true) {
        told.push("Other policy manifests came into force in between.".to_owned());
    }
    told.join("\n")
}

/// Markdown without the addresses of its links: a terminal follows none.
fn plain(markdown: &str) -> String {
    let mut out = String::new();
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once("](") {
        out.push_str(&before.replacen('[', "", 1));
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lose_their_addresses() {
        assert_eq!(
            plain("see [officers](officers.md#x), then `a`"),
            "see officers, then `a`"
        );
        assert_eq!(plain("nothing [of] that"), "nothing [of] that");
    }
}
