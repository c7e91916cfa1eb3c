//! `touchstone workload …`: what workloads were made of, and from which host to which their pods went.

use clap::Subcommand;
use serde_json::{Value, json};
use touchstone_kubernetes::cluster_name::ClusterName;

use super::answers::{items, strings};
use super::client::Client;
use super::node::qualified;
use super::output::{cut, line, moment, print, table, text};

/// `touchstone workload …`
#[derive(Subcommand, Debug)]
pub enum Workload {
    /// List workloads, by the record of the first pod of each
    List {
        /// Only of this cluster
        #[arg(long)]
        cluster: Option<ClusterName>,
        /// Only of this namespace
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Show what a workload was made of and where its pods went: each revision of a controller, or of a Deployment
    Show {
        /// Namespace and name of the controller, the Deployment or the pod
        #[arg(value_name = "NAMESPACE/NAME", value_parser = named)]
        workload: Named,
    },
}

/// `NAMESPACE/NAME`.
#[derive(Clone, Debug)]
pub struct Named(String);

fn named(text: &str) -> Result<Named, String> {
    let good = |part: &str| {
        let byte =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        !part.is_empty() && part.bytes().all(byte)
    };
    match text.split_once('/') {
        Some((namespace, name)) if good(namespace) && good(name) => Ok(Named(text.to_owned())),
        _ => Err("write the namespace, a slash and the name, as in `payments/api`".to_owned()),
    }
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Workload) -> anyhow::Result<()> {
    match command {
        Workload::List { cluster, namespace } => {
            let cluster = cluster.as_ref().map(ClusterName::as_str);
            list(client, json, cluster, namespace.as_deref()).await
        }
        Workload::Show { workload } => {
            let answer = client.get(&format!("/v1/workloads/{}", workload.0)).await?;
            match json {
                true => line(json, &answer, String::new),
                false => show(&answer),
            }
        }
    }
}

/// Every page, one after the other.
async fn list(
    client: &Client,
    json: bool,
    cluster: Option<&str>,
    namespace: Option<&str>,
) -> anyhow::Result<()> {
    let mut workloads: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let parts = [
            ("cluster", cluster),
            ("namespace", namespace),
            ("after", after.as_deref()),
        ];
        let parts: Vec<(&str, &str)> = parts
            .into_iter()
            .filter_map(|(part, value)| Some((part, value?)))
            .collect();
        let answer = client.get_where("/v1/workloads", &parts).await?;
        workloads.extend(items(&answer, "workloads").cloned());
        let Some(next) = answer.get("next").and_then(Value::as_str) else {
            break;
        };
        after = Some(next.to_owned());
    }
    let rows = workloads.iter().map(row).collect();
    let answer = json!({ "workloads": workloads });
    let header = [
        "cluster",
        "namespace",
        "workload",
        "revision",
        "images",
        "recorded",
        "seen",
    ];
    table(json, &answer, &header, rows)
}

fn row(workload: &Value) -> Vec<String> {
    let images: Vec<String> = items(workload, "images").map(short).collect();
    vec![
        text(workload, "cluster"),
        text(workload, "namespace"),
        format!("{} {}", text(workload, "kind"), text(workload, "name")),
        text(workload, "revision"),
        images.join("\n"),
        moment(workload, "recorded_at"),
        moment(workload, "seen_at"),
    ]
}

fn short(image: &Value) -> String {
    format!(
        "{} {}",
        text(image, "container"),
        cut(&text(image, "manifest"))
    )
}

/// For each workload: who it is, what it was made of, and its moves.
fn show(answer: &Value) -> anyhow::Result<()> {
    for workload in items(answer, "workloads") {
        print(&format!(
            "{} {}/{}, revision {}\nrecorded {} (entry {}), seen {}\n",
            text(workload, "kind"),
            qualified(workload, "namespace"),
            text(workload, "name"),
            text(workload, "revision"),
            moment(workload, "recorded_at"),
            text(workload, "entry"),
            moment(workload, "seen_at"),
        ))?;
        let rows = items(workload, "images").map(image).collect();
        let header = [
            "container",
            "manifest",
            "config",
            "layers",
            "encrypted",
            "publisher",
            "signed with",
        ];
        table(false, workload, &header, rows)?;
        let rows: Vec<Vec<String>> = items(workload, "moves").map(moved).collect();
        if !rows.is_empty() {
            let header = ["moved", "from", "to", "same images"];
            table(false, workload, &header, rows)?;
        }
    }
    Ok(())
}

fn image(image: &Value) -> Vec<String> {
    let layers = items(image, "layers").count();
    let signers: Vec<String> = strings(image, "signers").map(cut).collect();
    let signers = Some(signers.join("\n")).filter(|signers| !signers.is_empty());
    vec![
        text(image, "container"),
        cut(&text(image, "manifest")),
        cut(&text(image, "config")),
        match image.get("layers") {
            Some(Value::Array(_)) => layers.to_string(),
            _ => "-".to_owned(),
        },
        text(image, "encrypted"),
        text(image, "publisher"),
        signers.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn moved(moved: &Value) -> Vec<String> {
    let place = |side: &str| {
        let place = moved.get(side).unwrap_or(&Value::Null);
        let (node, host, tier) = (
            text(place, "node"),
            text(place, "host"),
            text(place, "tier"),
        );
        format!("{}\n{node} = {host} ({tier})", text(place, "pod"))
    };
    let same = match moved.get("same").and_then(Value::as_bool) {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "no record",
    };
    vec![
        moment(moved, "moved_at"),
        place("from"),
        place("to"),
        same.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_named_by_its_namespace_and_its_name() {
        assert!(named("payments/api-0.x").is_ok());
        for wrong in [
            "api",
            "payments/",
            "/api",
            "payments/a/b",
            "payments/a?b",
            "a b/c",
        ] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
