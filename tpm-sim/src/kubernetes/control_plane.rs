//! etcd, API server, scheduler and controller-manager, on free ports, in a folder of their own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::api::Api;
use super::assets::Assets;
use super::certificates::{Authority, Pair, ServiceAccounts};
use super::flags::{self, ApiServerFiles, Ports, loopback};
use super::program::Program;
use super::{Error, Result, kubeconfig, namespaces, until};

/// Longest that a start may take; on two idle cores it takes about ten seconds.
const START_MAX: Duration = Duration::from_secs(120);
const SCHEDULER: &str = "kube-scheduler";
/// Who may do everything.
const ADMINISTRATORS: &str = "system:masters";

/// A running control plane; without nodes at first.
pub struct ControlPlane {
    assets: Assets,
    folder: PathBuf,
    ports: Ports,
    authority: Authority,
    served: Pair,
    service_accounts: ServiceAccounts,
    admission: PathBuf,
    webhook_caller: Pair,
    admin: Api,
    names_namespaces: bool,
    /// In the order in which they were started.
    programs: Vec<Program>,
}

impl ControlPlane {
    /// Starts one with all its files in `folder`, which nobody else may enter, and waits until it works. Start it from
    /// a thread that lasts: the programs end with it.
    ///
    /// # Errors
    /// A program ends, or is not ready in time; a file cannot be written.
    pub async fn start(assets: Assets, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let ports = free_ports().map_err(Error::Ports)?;
        let authority = Authority::make(folder)?;
        let webhook_caller = authority.client("webhook-caller", None)?;
        let admin = authority.client("admin", Some(ADMINISTRATORS))?;
        let mut plane = Self {
            admin: Api::new(loopback("https", ports.api), &authority.pem(), &admin)?,
            served: authority.server()?,
            service_accounts: ServiceAccounts::make(folder)?,
            admission: kubeconfig::write_admission(folder, &webhook_caller)?,
            webhook_caller,
            authority,
            assets,
            folder: folder.to_owned(),
            ports,
            names_namespaces: false,
            programs: Vec::new(),
        };
        plane.begin().await?;
        plane.names_namespaces = namespaces::name_those_of_the_system(&plane.admin).await?;
        Ok(plane)
    }

    /// Starts what [`ControlPlane::cut_power`] ended, on the same data, and waits until it works.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn begin(&mut self) -> Result<()> {
        self.run("etcd", flags::etcd(&self.folder.join("etcd"), self.ports))?;
        let files = ApiServerFiles {
            ca: &self.authority.file(),
            served: &self.served,
            service_accounts: &self.service_accounts,
            admission: &self.admission,
        };
        self.run("kube-apiserver", flags::api_server(&files, self.ports))?;
        let admin = self.admin.clone();
        let ready = async || Ok(admin.is_ready().await.then_some(()));
        self.wait("the API server is ready", ready).await?;
        let scheduler = self.kubeconfig("system:kube-scheduler", None)?;
        let flags = flags::scheduler(&scheduler, self.assets.insecure_port);
        self.run(SCHEDULER, flags)?;
        let manager = self.kubeconfig("system:kube-controller-manager", None)?;
        let (ca, key) = (self.authority.file(), &self.service_accounts);
        let flags = flags::controller_manager(&manager, self.assets.insecure_port, &ca, key);
        self.run("kube-controller-manager", flags)?;
        let works = async || namespaces::is_usable(&admin, "default").await;
        self.wait("the controller-manager works", works).await
    }

    /// Ends everything at once, as a power cut does.
    pub fn cut_power(&mut self) {
        self.programs.clear();
    }

    /// Exchanges the scheduler for one that asks `extender`, as `KubeSchedulerConfiguration` has it.
    ///
    /// # Errors
    /// It does not start; a file cannot be written.
    pub fn schedule_by(&mut self, extender: &Value) -> Result<()> {
        self.programs.retain(|program| program.name() != SCHEDULER);
        let client = self.kubeconfig("system:kube-scheduler", None)?;
        let config = self.folder.join("scheduler.config");
        kubeconfig::write_scheduler(&config, self.version(), &client, extender)?;
        self.run(SCHEDULER, flags::configured_scheduler(&config))
    }

    /// Whether all its programs run.
    ///
    /// # Errors
    /// The first that ended, and its last words.
    pub fn still_runs(&mut self) -> Result<()> {
        self.programs.iter_mut().try_for_each(Program::still_runs)
    }

    /// The version of the API server.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.assets.version
    }

    /// Whether the API server puts the label `kubernetes.io/metadata.name` on namespaces by itself, and defends it: from
    /// 1.21 on.
    #[must_use]
    pub fn names_namespaces(&self) -> bool {
        self.names_namespaces
    }

    /// The API server, as somebody who may do everything.
    #[must_use]
    pub fn admin(&self) -> &Api {
        &self.admin
    }

    /// The API server, as whoever.
    ///
    /// # Errors
    /// A certificate cannot be made or written.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Api> {
        let pair = self.authority.client(user, group)?;
        Api::new(self.url(), &self.authority.pem(), &pair)
    }

    /// A file that tells a program how to speak to the API server as whoever.
    ///
    /// # Errors
    /// A certificate cannot be made or written.
    pub fn kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let pair = self.authority.client(user, group)?;
        let path = pair.key.with_extension("kubeconfig");
        kubeconfig::write(&path, &self.url(), &self.authority, &pair)?;
        Ok(path)
    }

    /// SubjectPublicKeyInfo, DER, of the certificate that the API server shows to webhooks.
    #[must_use]
    pub fn webhook_caller(&self) -> &[u8] {
        &self.webhook_caller.public_key
    }

    fn url(&self) -> String {
        loopback("https", self.ports.api)
    }

    fn run(&mut self, name: &'static str, flags: Vec<std::ffi::OsString>) -> Result<()> {
        let path = match name {
            "etcd" => &self.assets.etcd,
            "kube-apiserver" => &self.assets.api_server,
            SCHEDULER => &self.assets.scheduler,
            _ => &self.assets.controller_manager,
        };
        let program = Program::start(name, path, flags, &self.folder)?;
        self.programs.push(program);
        Ok(())
    }

    /// Waits as long as all programs run.
    async fn wait(
        &mut self,
        what: &str,
        mut look: impl AsyncFnMut() -> Result<Option<()>>,
    ) -> Result<()> {
        until(what, START_MAX, async || {
            self.still_runs()?;
            look().await
        })
        .await
    }
}

/// Ports that were free a moment ago.
fn free_ports() -> std::io::Result<Ports> {
    let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [listener()?, listener()?, listener()?];
    let [etcd, etcd_peers, api] = &held;
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    Ok(Ports {
        etcd: port(etcd)?,
        etcd_peers: port(etcd_peers)?,
        api: port(api)?,
    })
}
