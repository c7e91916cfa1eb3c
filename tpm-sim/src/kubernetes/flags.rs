//! The command lines of a control plane's programs, for 1.20 and newer.
//!
//! Each serves on the loopback alone. A flag that a version took away is given only where it is known.

use std::ffi::OsString;
use std::path::Path;

use super::certificates::{Pair, ServiceAccounts};

/// Where etcd and the API server listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) etcd_peers: u16,
    pub(super) api: u16,
}

/// Files that the API server reads.
pub(super) struct ApiServerFiles<'a> {
    pub(super) ca: &'a Path,
    pub(super) served: &'a Pair,
    pub(super) service_accounts: &'a ServiceAccounts,
    pub(super) admission: &'a Path,
}

/// Without its promise that what it acknowledged is on the disk: power is never cut under this one.
pub(super) fn etcd(data: &Path, ports: Ports) -> Vec<OsString> {
    let clients = loopback("http", ports.etcd);
    let peers = loopback("http", ports.etcd_peers);
    vec![
        flag("data-dir", data),
        flag("listen-client-urls", &clients),
        flag("advertise-client-urls", &clients),
        flag("listen-peer-urls", &peers),
        flag("initial-advertise-peer-urls", &peers),
        flag("initial-cluster", format!("default={peers}")),
        flag("log-level", "warn"),
        "--unsafe-no-fsync".into(),
    ]
}

pub(super) fn api_server(files: &ApiServerFiles<'_>, ports: Ports) -> Vec<OsString> {
    vec![
        flag("etcd-servers", loopback("http", ports.etcd)),
        flag("bind-address", "127.0.0.1"),
        flag("advertise-address", "127.0.0.1"),
        flag("secure-port", ports.api.to_string()),
        flag("tls-cert-file", &files.served.certificate),
        flag("tls-private-key-file", &files.served.key),
        flag("client-ca-file", files.ca),
        flag("anonymous-auth", "false"),
        flag("authorization-mode", "Node,RBAC"),
        flag("enable-admission-plugins", "NodeRestriction"),
        flag("admission-control-config-file", files.admission),
        // An endpoint on the loopback is none, and there would be no kube-proxy to use it.
        flag("endpoint-reconciler-type", "none"),
        flag("service-cluster-ip-range", "10.96.0.0/16"),
        flag("service-account-issuer", "https://kubernetes.default.svc"),
        flag(
            "service-account-key-file",
            &files.service_accounts.public_key,
        ),
        flag(
            "service-account-signing-key-file",
            &files.service_accounts.key,
        ),
        flag("allow-privileged", "true"),
    ]
}

pub(super) fn scheduler(kubeconfig: &Path, insecure_port: bool) -> Vec<OsString> {
    client(kubeconfig, insecure_port)
}

/// A scheduler whose other settings are in a file.
pub(super) fn configured_scheduler(config: &Path) -> Vec<OsString> {
    vec![flag("config", config), flag("secure-port", "0")]
}

/// Nodes that are only entries send no heartbeats, and are to stay ready: the controller that would miss them waits for
/// a day. Up to 1.28 it also evicts by `NoExecute` taints, so it cannot be left out.
pub(super) fn controller_manager(
    kubeconfig: &Path,
    insecure_port: bool,
    ca: &Path,
    service_accounts: &ServiceAccounts,
) -> Vec<OsString> {
    let own = [
        flag("service-account-private-key-file", &service_accounts.key),
        flag("root-ca-file", ca),
        flag("use-service-account-credentials", "true"),
        flag("node-monitor-grace-period", "24h"),
    ];
    let mut flags = client(kubeconfig, insecure_port);
    flags.extend(own);
    flags
}

/// What the scheduler and the controller-manager have in common.
fn client(kubeconfig: &Path, insecure_port: bool) -> Vec<OsString> {
    let mut flags = vec![
        flag("kubeconfig", kubeconfig),
        flag("bind-address", "127.0.0.1"),
        flag("secure-port", "0"),
        flag("leader-elect", "false"),
    ];
    if insecure_port {
        flags.push(flag("port", "0"));
    }
    flags
}

/// The URL of a port of the loopback.
pub(super) fn loopback(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}
