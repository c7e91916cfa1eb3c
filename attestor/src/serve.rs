//! `touchstone serve` and `touchstone kubernetes`: from settings to a listening server, and its orderly end.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::config::Config;

use crate::attestor::{Attestor, OpenError};
use crate::cluster_file;
use crate::duty::Duty;
use crate::housekeeping;
use crate::http::{self, App};
use crate::keys::ServerKeys;
use crate::kubernetes::controller::{self, ControllerError};
use crate::kubernetes::{Images, Webhook};
use crate::layer_keys::{MasterKey, MasterKeyError, MasterKeyPlaces};
use crate::operator_file;
use crate::other_clusters;
use crate::process;
use crate::server_ca::ServerCa;
use crate::settings::Settings;
use crate::store::Store;
use crate::tls::PeerAcceptor;

/// Time that requests under way get at the end.
const GRACE: Duration = Duration::from_secs(10);

/// Most connections that wait to be accepted; beyond them the kernel lets callers knock again after a second.
const WAITING_MAX: u32 = 4096;

/// How long a request's head, or a sign of life on an idle connection, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs to standard error; `RUST_LOG` chooses what.
pub fn start_logging(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // What that target says of each request that fails, the cluster says once, and better.
        .unwrap_or_else(|_| {
            tracing_subscriber::EnvFilter::new("info,kube_client::client::builder=off")
        });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match json {
        true => builder.json().init(),
        false => builder.init(),
    }
}

/// Exit code of [`serve`] where its token refuses the PIN of the master key, or might lock itself at the next try.
/// What starts the attestor again by itself must not then. 2 is what the parser of the command line exits with.
pub const PIN_REFUSED: u8 = 3;

/// What the program exits with after `error` of [`serve`].
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let of_pin = match error.downcast_ref::<OpenError>() {
        Some(OpenError::MasterKey(error)) => error.is_of_pin(),
        Some(_) => false,
        None => error
            .downcast_ref::<MasterKeyError>()
            .is_some_and(MasterKeyError::is_of_pin),
    };
    if of_pin { PIN_REFUSED } else { 1 }
}

/// Serves until SIGTERM or SIGINT. Prints `listening on URL` on standard output once it answers.
pub async fn serve(settings: Settings, duty: Duty) -> anyhow::Result<()> {
    process::take_small_pages();
    settings.check_duty(duty)?;
    make_folder(&settings.data)?;
    let _lock = lock_folder(&settings.data)?;
    settings.check_names()?;
    let images = Images::new(
        settings.registry_credentials.as_deref(),
        settings.plain_http_registries.clone(),
    )?;
    let listener = listen(settings.listen).with_context(|| {
        format!(
            "cannot listen on {}; choose another with --listen",
            settings.listen
        )
    })?;
    let address = listener.local_addr()?;
    let names = certificate_names(&settings.names, address);
    let url = server_url(&names, address);

    let database = settings
        .database
        .clone()
        .unwrap_or_else(|| format!("sqlite:{}", settings.data.join("touchstone.db").display()));
    let store = Store::open(&database)
        .await
        .context("cannot open the database")?;
    let new_database = store.is_new().await?;
    duty.check_database(new_database)?;
    let ca = ServerCa::load(&settings.data, new_database, names.clone())?;
    let tls = ca.tls();
    let callers = settings.webhook_callers.clone();
    let places = MasterKeyPlaces {
        folder: &settings.data,
        named: settings.master_key.as_deref(),
        previous: settings.previous_master_key.as_deref(),
    };
    let master = MasterKey::load(places, &store).await?;
    let keys = ServerKeys::load(
        &settings.data,
        new_database,
        duty,
        ca,
        url.clone(),
        callers,
        master,
    )?;
    let config = settings.cluster()?;
    let name = config.as_ref().map(|config| config.cluster.clone());
    let attestor = Attestor::open(
        &settings.data,
        store.clone(),
        keys,
        name.unwrap_or_default(),
        settings.production,
    )
    .await?;
    match duty {
        Duty::Attestor => operator_file::refresh(&attestor).await?,
        Duty::Cluster => cluster_file::refresh(&attestor).await?,
    }
    if duty == Duty::Attestor && config.is_some() {
        other_clusters::warn(&attestor).await?;
    }

    let house = tokio::spawn(housekeeping::run(Arc::clone(&attestor)));
    let cluster = cluster(config).await?;
    if let Some(cluster) = &cluster {
        let cluster = Arc::clone(cluster);
        let uids = Box::new(move |node: &str| cluster.node_uid(node));
        attestor.index.see_cluster(uids);
    }
    let app = App::new(Arc::clone(&attestor), Webhook::new(images, cluster.clone()));
    if let Some(cluster) = &cluster {
        // What can be reached is known before anybody asks.
        app.webhook.identity.look(&attestor, cluster).await;
    }
    let (stop, stopped) = oneshot::channel();
    let mut controller = cluster.map(|cluster| {
        let webhook = Arc::clone(&app.webhook);
        let attestor = Arc::clone(&attestor);
        tokio::spawn(controller::run(attestor, cluster, webhook, stopped))
    });
    let handle = Handle::new();
    // Before anybody is told that it serves: from then on it ends in order.
    let terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    tokio::spawn(stop_on_signal(terminate, handle.clone(), stop));
    let acceptor = PeerAcceptor::new(tls);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {url}")?;
    stdout.flush()?;
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .handle(handle)
        .http1_only();
    end_idle_connections(&mut server);
    let router = http::router(app, duty).into_make_service();
    let served = tokio::select! {
        served = server.serve(router) => served.map_err(Into::into),
        error = fails(&mut controller) => Err(error),
    };
    house.abort();
    if let Some(mut controller) = controller
        && timeout(GRACE, &mut controller).await.is_err()
    {
        controller.abort();
    }
    attestor.flush_refusals().await;
    attestor.workloads.flush().await;
    store.close().await;
    tracing::info!("stopped");
    served
}

/// Waits until the controller cannot go on; where there is none, or where it was told to stop, for ever.
async fn fails(controller: &mut Option<JoinHandle<Result<(), ControllerError>>>) -> anyhow::Error {
    let ended = match controller {
        Some(running) => running.await,
        None => std::future::pending().await,
    };
    *controller = None;
    let error = match ended {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) => error.into(),
        Err(error) => anyhow::Error::from(error),
    };
    error.context("the node controller ended, and without it no pod is")
}

/// The cluster that is configured. It may be away: it is reached once it is there.
async fn cluster(config: Option<Config>) -> anyhow::Result<Option<Arc<Cluster>>> {
    Ok(match config {
        Some(config) => Some(Arc::new(Cluster::connect(config).await?)),
        None => None,
    })
}

/// With room for as many as may come in one breath, such as a fleet after a restart.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)?.into_std()
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    if !folder.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    let mode = fs::metadata(folder)?.mode();
    anyhow::ensure!(
        mode & 0o077 == 0,
        "`{}` is open to others (mode {:o}); run `chmod 700` on it",
        folder.display(),
        mode & 0o777
    );
    Ok(())
}

/// Held until the process ends: a second attestor on the same keys would take over the operator's file.
fn lock_folder(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
    lock.try_lock().map_err(|_| {
        anyhow::anyhow!(
            "another attestor works with `{}`; stop it, or give this one a folder of its own with --data",
            folder.display()
        )
    })?;
    Ok(lock)
}

/// The names given, or the address itself; loopback also answers to `localhost`.
fn certificate_names(given: &[String], address: SocketAddr) -> Vec<String> {
    let mut names = given.to_vec();
    if names.is_empty() {
        names.push(address.ip().to_string());
    }
    if address.ip().is_loopback() {
        names.extend([address.ip().to_string(), "localhost".to_owned()]);
    }
    names.sort_unstable();
    names.dedup();
    // What was given first stays first: it goes into join tokens.
    if let Some(first) = given.first() {
        names.retain(|name| name != first);
        names.insert(0, first.clone());
    }
    names
}

fn server_url(names: &[String], address: SocketAddr) -> String {
    let name = names.first().map_or("localhost", String::as_str);
    match name.contains(':') {
        true => format!("https://[{name}]:{}", address.port()),
        false => format!("https://{name}:{}", address.port()),
    }
}

/// Most bytes that a connection keeps room for while it is read, and of a request's head: without a bound it grows with
/// the largest body that came, and stays so.
const READ_BUFFER: usize = 16 << 10;

/// A caller that sends nothing, or half a request, must not hold a connection for ever. HTTP/1.1 alone: telling
/// two protocols apart waits for a first byte without end, and streams would be connections that nobody counts.
fn end_idle_connections(server: &mut axum_server::Server<SocketAddr, PeerAcceptor>) {
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .max_buf_size(READ_BUFFER)
        .header_read_timeout(PATIENCE);
}

/// `controller`: ends the work on the cluster, so that another attestor goes on with it while requests here come to an end.
async fn stop_on_signal(
    mut terminate: Signal,
    handle: Handle<SocketAddr>,
    controller: oneshot::Sender<()>,
) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let _where_none_is = controller.send(());
    handle.graceful_shutdown(Some(GRACE));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_is_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        make_folder(&data).unwrap();
        for mode in [0o750, 0o701] {
            fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
            assert!(make_folder(&data).is_err(), "{mode:o}");
        }
    }
}
