//! One function for each command: ask, then print.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::CommandFactory as _;
use serde_json::{Value, json};
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::{ResultError, ResultKey, VerifiedResult};
use touchstone_policies::manifest::SCHEMA;

use super::answers::{items, lines, rows};
use super::client::{Client, is_refusal};
use super::output::{line, moment, print, table, text};
use super::{
    Arguments, Audit, Command, Endorsement, Host, Policy, Target, audit, credentials, endorsement,
    firmware, image, keyprovider, keys, layer_keys, leases, location, machines, man, node, policy,
    reference, workload,
};
use crate::clock;

pub(super) async fn run(command: Command, target: &Target) -> anyhow::Result<ExitCode> {
    match command {
        Command::Audit(Audit::Verify { file, key, heads }) => {
            return audit::verify(target.json, &file, key.as_deref(), &heads);
        }
        Command::Inspect(inspect) => return super::inspect::run(&inspect, target.json),
        Command::Policy(Policy::Check { files }) => return policy::check(target.json, &files),
        Command::Policy(Policy::Schema) => {
            print(SCHEMA)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::KeyProvider(command) => {
            keyprovider::run(&target.operator, command).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man { folder } => return man::write(target.json, &folder),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "touchstone", &mut script);
            print(&String::from_utf8(script)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let client = Client::new(&target.operator)?;
    if let Command::Policy(command) = command {
        return policy::run(&client, target.json, command).await;
    }
    ask(command, &client, target.json).await?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(command: Command, client: &Client, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Endorsement(Endorsement::Import {
            class,
            manufacturers,
            files,
        }) => endorsement::import(client, json, class.as_deref(), &manufacturers, &files).await,
        Command::Endorsement(Endorsement::List) => endorsement::list(client, json).await,
        Command::Endorsement(Endorsement::Unmatched) => endorsement::unmatched(client, json).await,
        Command::Inventory(command) => machines::inventory(client, json, command).await,
        Command::JoinToken(command) => machines::join_token(client, json, command).await,
        Command::Location(command) => location::run(client, json, command).await,
        Command::Credential(command) => credentials::run(client, json, command).await,
        Command::Image(command) => image::run(client, json, command).await,
        Command::Key(command) => layer_keys::run(client, json, command).await,
        Command::Lease(command) => leases::run(client, json, command).await,
        Command::Node(command) => node::run(client, json, command).await,
        Command::Workload(command) => workload::run(client, json, command).await,
        Command::Reference(command) => reference::run(client, json, command).await,
        Command::Host(Host::List) => host_list(client, json).await,
        Command::Host(Host::Show { host }) => host_show(client, json, &host).await,
        Command::Host(Host::Explain { host }) => super::explain::explain(client, json, &host).await,
        Command::Host(Host::Result { host }) => host_result(client, json, &host).await,
        Command::Host(Host::Service(command)) => machines::service(client, json, command).await,
        Command::Host(Host::AcceptFirmware {
            host,
            firmware: version,
        }) => firmware::accept(client, json, &host, version).await,
        Command::Audit(Audit::Export { out }) => audit::export(client, json, out.as_deref()).await,
        Command::Audit(Audit::Checkpoint) => print(&client.get_text("/v1/audit/checkpoint").await?),
        Command::Keys { command } => keys::run(client, json, command).await,
        // Handled before a client was made.
        Command::Serve(_)
        | Command::Kubernetes(_)
        | Command::Audit(Audit::Verify { .. })
        | Command::Inspect(_)
        | Command::KeyProvider(_)
        | Command::Policy(_)
        | Command::Man { .. }
        | Command::Completions { .. } => bail!("this command asks no attestor"),
    }
}

async fn host_list(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/hosts").await?;
    let rows = rows(&answer, "hosts", |host| {
        let fresh = host.get("fresh").and_then(Value::as_bool) == Some(true);
        let identity = host.get("identity").unwrap_or(&Value::Null);
        let state = text(identity, "state");
        let tier = match (fresh, text(host, "issued_at").as_str()) {
            (true, _) => text(host, "tier"),
            (false, "-") => "none (no verdict yet)".to_owned(),
            (false, _) => format!("{} (stale)", text(host, "tier")),
        };
        let why = text(host, "summary");
        vec![text(host, "host"), state, place(host), tier, why]
    });
    let header = ["host", "state", "place", "tier", "why"];
    table(json, &answer, &header, rows)?;
    Ok(())
}

async fn host_show(client: &Client, json: bool, host: &HostId) -> anyhow::Result<()> {
    let answer = match client.get(&format!("/v1/hosts/{host}")).await {
        Err(error) if is_refusal(&error, "host-unknown") => {
            return Err(not_enrolled(client, host, error).await);
        }
        answer => answer?,
    };
    let mut rows: Vec<Vec<String>> = ["host", "tier", "fresh", "policy", "entry"]
        .into_iter()
        .map(|field| vec![field.to_owned(), text(&answer, field)])
        .collect();
    for field in ["issued_at", "expires_at"] {
        rows.push(vec![field.to_owned(), moment(&answer, field)]);
    }
    rows.insert(1, vec!["place".to_owned(), place(&answer)]);
    let nodes = lines(&answer, "nodes");
    if !nodes.is_empty() {
        rows.insert(2, vec!["nodes".to_owned(), nodes]);
    }
    rows.extend(identity_rows(&answer));
    if let Some(vector) = answer.get("vector").and_then(Value::as_object) {
        for entry in vector.keys() {
            rows.push(vec![entry.clone(), text(&answer["vector"], entry)]);
        }
    }
    for finding in items(&answer, "findings") {
        let code = match finding.get("consequence_of").and_then(Value::as_str) {
            Some(cause) => format!("{} (follows from {cause})", text(finding, "code")),
            None => text(finding, "code"),
        };
        rows.push(vec![code, text(finding, "sentence")]);
    }
    table(json, &answer, &["about", host.as_str()], rows)?;
    Ok(())
}

/// What to say instead of `unknown`: a machine of the inventory only has to enrol.
pub(super) async fn not_enrolled(
    client: &Client,
    host: &HostId,
    unknown: anyhow::Error,
) -> anyhow::Error {
    let machine = client.get(&format!("/v1/inventory/{host}")).await;
    match machine.map(|machine| text(&machine, "state")).as_deref() {
        Ok("active") => anyhow!(
            "`{host}` is in the inventory and has not enrolled; next: touchstone join-token create --host {host} \
             --out join-token; then on the machine: touchstone-agent enrol --join-token join-token"
        ),
        _ => unknown,
    }
}

/// Who the host is: state, TPM, keys.
fn identity_rows(answer: &Value) -> Vec<Vec<String>> {
    let identity = answer.get("identity").unwrap_or(&Value::Null);
    let tpm = identity.get("tpm").unwrap_or(&Value::Null);
    let row = |word: &str, value: String| vec![word.to_owned(), value];
    let mut rows = vec![
        row("state", text(identity, "state")),
        row("enrolled_at", moment(answer, "enrolled_at")),
        row(
            "reenrolled",
            format!("{} times", text(identity, "reenrolled")),
        ),
        row("root_class", text(identity, "root_class")),
        row(
            "tpm",
            format!("{} {}", text(tpm, "manufacturer"), text(tpm, "model")),
        ),
        row("endorsement keys", lines(identity, "ek_digests")),
    ];
    if let "awaiting-re-enrolment" = text(identity, "state").as_str() {
        rows.push(row(
            "may enrol until",
            moment(identity, "reenrolment_until"),
        ));
    }
    rows
}

/// Verifies the result with the attestor's key before it prints it.
async fn host_result(client: &Client, json: bool, host: &HostId) -> anyhow::Result<()> {
    let keys = client.get("/v1/keys").await?;
    let answer = client.get(&format!("/v1/hosts/{host}/result")).await?;
    let token = text(&answer, "result");
    let verified = verified(&token, &keys)?;
    let claims = serde_json::to_value(verified.result())?;
    let answer = json!({ "result": token, "claims": claims });
    line(json, &answer, || format!("{claims:#}"))?;
    Ok(())
}

/// By the key that the token names, if that was not revoked.
fn verified(token: &str, keys: &Value) -> anyhow::Result<VerifiedResult> {
    for view in items(keys, "result_keys") {
        let mut key = [0; 32];
        hex::decode_to_slice(text(view, "public_key"), &mut key)
            .context("a result key of the attestor is malformed")?;
        let key =
            ResultKey::from_bytes(&key).context("a result key of the attestor is malformed")?;
        match VerifiedResult::verify(token, &key, clock::now()) {
            Err(ResultError::OtherKey(_)) => {}
            Ok(_) if text(view, "state") == "revoked" => {
                bail!(
                    "the result is signed with a key that was revoked; the host's next round brings another"
                )
            }
            verified => return Ok(verified?),
        }
    }
    bail!("the result is not signed with a key of the attestor")
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

pub(super) fn place(host: &Value) -> String {
    host.get("place")
        .and_then(|place| serde_json::from_value::<Place>(place.clone()).ok())
        .map_or_else(|| "-".to_owned(), |place| place.to_string())
}
