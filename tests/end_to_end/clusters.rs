//! Several clusters on one database: what is of one is nothing in another, and who serves one alone answers no operator.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::programs;
use touchstone_tests::review::create;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};

/// Settings of a cluster that is away.
fn settings(server: &Server, name: &str) -> String {
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: t}}]\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\n";
    let path = server.folder().join(format!("{name}.kubeconfig"));
    server.write_private(&path, kubeconfig.as_bytes());
    let text = format!("cluster = {name:?}\nkubeconfig = {path:?}\n");
    server.file(&format!("{name}.toml"), &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_a_cluster_alone_answers_its_hosts_and_no_operator() {
    let (database, maker) = (Database::postgres(), Maker::new());
    let world = World::start(&database, &maker);
    let server = &world.server;
    let west = server.beside(&settings(server, "west"));
    // The best credential that there is opens nothing.
    let token = server.operator()["token"].as_str().unwrap().to_owned();
    let mapping = json!({ "cluster": "west", "node": "w", "uid": "u", "host": "de-1" });
    for (method, path, body) in [
        (Method::GET, "/v1/hosts", None),
        (Method::POST, "/v1/nodes", Some(&mapping)),
        (Method::GET, "/v1/audit/export", None),
        (Method::POST, "/v1/keys/webhook/rotate", Some(&json!({}))),
    ] {
        let (status, said) = west.send(method, path, Some(&token), body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {said}");
        assert_eq!(code(&said), "route-elsewhere", "{path}");
        assert!(
            said["detail"].as_str().unwrap().contains("`west`"),
            "{said}"
        );
    }
    let (status, said) = west.send(Method::GET, "/metrics", Some(&token), None).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (status, _) = west.send(Method::GET, "/metrics", None, None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // Rounds of hosts are rounds, wherever they are sent: one log.
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.admit(&host, Some("DE")).await;
    let token = server.folder().join("west-token");
    let out = token.to_str().unwrap();
    server.command(&["join-token", "create", "--server", &west.url, "--out", out]);
    host.enrol(&west, &token).unwrap();
    assert_eq!(host.attest(&west).unwrap()["tier"], "affirming");
    assert_eq!(server.get("/v1/hosts/de-1").await["tier"], "affirming");
    // Its webhook has a secret of its own.
    let path = |of: &Server| of.operator()["webhook"].as_str().unwrap().to_owned();
    let secret = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    assert_ne!(secret(&path(server)), secret(&path(&west)));
    assert!(!west.folder().join("operator.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_s_secret_of_a_cluster_is_exchanged_with_an_entry_and_both_are_let_in() {
    let server = Server::start(&Database::postgres());
    let settings = settings(&server, "west");
    let mut west = server.beside(&settings);
    let secret = |west: &Server| {
        let operator = west.operator();
        let url = operator["webhook"].as_str().unwrap();
        url.rsplit('/').next().unwrap().to_owned()
    };
    let exchanged = || {
        let entries = server.audit_entries().into_iter();
        let exchanged = entries.filter(|entry| entry["kind"] == "webhook-rotated");
        exchanged.collect::<Vec<_>>()
    };
    let first = secret(&west);
    west.serve_cluster_again(&settings);
    assert_eq!((secret(&west), exchanged().len()), (first.clone(), 0));
    let file = |name| west.folder().join(name);
    std::fs::rename(file("webhook.key"), file("webhook.key.before")).unwrap();
    west.serve_cluster_again(&settings);
    let second = secret(&west);
    assert_ne!(first, second);
    let entries = exchanged();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entries[0]["cluster"], &entries[0]["actor"]),
        (&json!("west"), &json!("attestor"))
    );
    let pod = create("u1", "payments", None);
    for (secret, status) in [
        (&first, StatusCode::OK),
        (&second, StatusCode::OK),
        (&"0".repeat(64), StatusCode::UNAUTHORIZED),
    ] {
        let path = format!("/kubernetes/v1/validate/{secret}");
        let (answered, said) = west.send(Method::POST, &path, None, Some(&pod)).await;
        assert_eq!(answered, status, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_cannot_be_served_with_is_told_with_what_to_do() {
    let server = Server::start(&Database::postgres());
    let file = settings(&server, "west");
    let url = server.database().url().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = server.folder_for_cluster(folder.path());
    let kubernetes = ["--kubernetes", &file];
    let database = ["--database", &url];
    let refusal = |more: &[&[&str]]| refusal(&data, &more.concat());
    let said = refusal(&[&database]);
    assert!(said.contains("--kubernetes <KUBERNETES>"), "{said}");
    for sqlite in [&["--database", "sqlite:/tmp/touchstone.db"][..], &[]] {
        let said = refusal(&[&kubernetes, sqlite]);
        assert!(said.contains("--database postgres://"), "{said}");
        assert!(
            said.contains("`touchstone serve --kubernetes FILE`"),
            "{said}"
        );
    }
    let fresh = Database::postgres();
    let said = refusal(&[&kubernetes, &["--database", &fresh.url().unwrap()]]);
    assert!(
        said.contains("start `touchstone serve` on it first"),
        "{said}"
    );
    let whole = [&kubernetes[..], &database].concat();
    let secret = server.folder().join("west.kubeconfig");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
    let said = refusal(&[&whole]);
    let advice = format!(
        "(mode 0640), and with it whatever the attestor may do in the cluster; run `chmod 600 {}`",
        secret.display()
    );
    assert!(said.contains(&advice), "{said}");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    std::fs::write(data.join("operator.json"), "{}").unwrap();
    let said = refusal(&[&whole]);
    assert!(said.contains("the operator's credential"), "{said}");
    std::fs::remove_file(data.join("operator.json")).unwrap();
    std::fs::remove_file(data.join("head")).unwrap();
    let said = refusal(&[&whole]);
    assert!(said.contains("no `head` of the audit log"), "{said}");
    // And the log did not begin anew.
    let resumed = |entry: &Value| entry["kind"] == "log-resumed";
    assert!(!server.audit_entries().iter().any(resumed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_that_the_attestor_does_not_see_is_mapped_by_its_uid() {
    let (database, maker) = (Database::under_test(), Maker::new());
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    let server = &world.server;
    let map = ["node", "map", "node-de-1", "de-1", "--cluster", "west"];
    assert_eq!(server.refusal(&map), "node-uid-missing");
    // As where the command within the command found nothing.
    let empty = [&map[..], &["--uid", ""]].concat();
    assert_eq!(server.refusal(&empty), "node-uid-missing");
    let mapped = server.command(&[&map[..], &["--uid", "u-7"]].concat());
    assert_eq!(
        (&mapped["cluster"], &mapped["uid"]),
        (&json!("west"), &json!("u-7"))
    );
    let list = |server: &Server| server.command(&["node", "list"])["nodes"].clone();
    let of = |cluster: &str, uid: Option<&str>| {
        let mut node =
            json!({ "cluster": cluster, "node": "node-de-1", "host": "de-1", "by": "operator" });
        if let Some(uid) = uid {
            node["uid"] = uid.into();
        }
        node
    };
    assert_eq!(
        list(server),
        json!([of("default", None), of("west", Some("u-7"))])
    );
    let only =
        |cluster: &str| server.command(&["node", "list", "--cluster", cluster])["nodes"].clone();
    assert_eq!(only("default"), json!([of("default", None)]));
    assert_eq!(only("west"), json!([of("west", Some("u-7"))]));
    assert_eq!(only("east"), json!([]));
    let table = programs::command(&programs::path("touchstone"))
        .args(["node", "list"])
        .env("TOUCHSTONE_OPERATOR", server.folder().join("operator.json"))
        .output();
    let table = String::from_utf8(table.unwrap().stdout).unwrap();
    let columns = |line: &str| {
        line.replace(['│', '┆'], " ")
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let lines: Vec<String> = table.lines().map(columns).collect();
    for line in [
        "cluster node uid",
        "default node-de-1 -",
        "west node-de-1 u-7",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {table}");
    }
    let operator = server.operator();
    let token = operator["token"].as_str();
    let (status, said) = server
        .send(Method::GET, "/v1/nodes?cluster=We/st", token, None)
        .await;
    assert_eq!(
        (status, code(&said)),
        (StatusCode::BAD_REQUEST, "malformed-query")
    );
    assert_eq!(
        server.get("/v1/hosts/de-1").await["nodes"],
        json!(["node-de-1", "west/node-de-1"])
    );
    // One of the name is taken back, and the other stays.
    server.command(&["node", "unmap", "node-de-1"]);
    assert_eq!(list(server), json!([of("west", Some("u-7"))]));
    assert!(!server.admits("u1", "node-de-1").await);
    let entries = server.audit_entries();
    let unmapped = entries
        .iter()
        .rfind(|entry| entry["kind"] == "node-unmapped");
    assert_eq!(unmapped.unwrap()["cluster"], "default");
    server.command(&["node", "unmap", "node-de-1", "--cluster", "west"]);
    assert_eq!(list(server), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_says_at_its_start_that_its_cluster_had_another_name() {
    let database = Database::under_test();
    let mut server = Server::start(&database);
    let ek = "7".repeat(64);
    server.command(&["inventory", "add", "--host", "de-1", "--ek-digest", &ek]);
    let map = ["node", "map", "node-de-1", "de-1"];
    server.command(&[&map[..], &["--cluster", "west", "--uid", "u-7"]].concat());
    server.stop();
    // It ends after it said so: no kubeconfig is there.
    let said = |cluster: &str| {
        let settings = format!("cluster = {cluster:?}\nkubeconfig = '/nowhere'\n");
        let settings = server.file("kubernetes.toml", &settings);
        let said = server.refusal_to_start(&database, &["--kubernetes", &settings]);
        assert!(
            said.contains("the kubeconfig `/nowhere` cannot be used"),
            "{said}"
        );
        said
    };
    let warning = "no host stands behind a node of the cluster";
    let renamed = said("east");
    let whole = format!(
        "{warning} `east`, as this one is called here, but hosts stand behind nodes of `west` (1)"
    );
    assert!(
        renamed.contains("WARN") && renamed.contains(&whole),
        "{renamed}"
    );
    assert_eq!(renamed.matches(warning).count(), 1, "{renamed}");
    assert!(renamed.contains("`cluster = \"NAME\"`"), "{renamed}");
    assert!(!said("west").contains(warning));
}

fn code(problem: &Value) -> &str {
    let code = problem["type"].as_str().unwrap_or_default();
    code.rsplit(':').next().unwrap_or_default()
}

/// What `touchstone kubernetes` says that does not start.
fn refusal(data: &Path, more: &[&str]) -> String {
    let mut command = programs::command(&programs::path("touchstone"));
    command.args(["kubernetes", "--listen", "127.0.0.1:0", "--data"]);
    let output = command.arg(data).args(more).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}
