//! A unix socket: of mode 0600, and one service's at a time.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a service that is alive may take to let somebody in.
const ANSWER: Duration = Duration::from_secs(1);
/// After what keeps the kernel from giving us a connection, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something else has the name.
    #[error("`{path}` is there and is no socket; name another with `{setting}`")]
    NotASocket {
        path: PathBuf,
        setting: &'static str,
    },

    /// Somebody answers there.
    #[error("another process serves at `{path}`; stop it, or name another socket with `{setting}`")]
    InUse {
        path: PathBuf,
        setting: &'static str,
    },

    /// It cannot be made.
    #[error(
        "cannot serve at `{path}`; let the agent's user write in its folder, or name another with `{setting}`"
    )]
    Unusable {
        path: PathBuf,
        setting: &'static str,
        source: io::Error,
    },
}

/// A socket that listens. Its name goes with this value.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// The next caller, and its user (SO_PEERCRED).
    async fn accept(&self) -> io::Result<(UnixStream, u32)> {
        let (stream, _) = self.listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        Ok((stream, user))
    }

    /// Serves until it is dropped, and with it every connection, of which there are `most` at once.
    pub(crate) async fn serve<F>(self, most: usize, connection: impl Fn(UnixStream, u32) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let (stream, user) = match self.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot take a call at {self}: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Who is turned away here sees that the connection closes, and tries again.
            if connections.len() < most {
                connections.spawn(connection(stream, user));
            }
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}`", self.path.display())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _taken_away = fs::remove_file(&self.path);
    }
}

/// Whether `user` may ask: the mode of the socket says the same, and a descriptor may have been given on.
pub(crate) fn lets_in(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

/// Makes the socket beside its place, and puts it there when nobody else can use it any more. One that was left over is
/// replaced, and its folder is made if that is all that is missing. `setting`: the option that names the path.
pub(crate) async fn listen(path: &Path, setting: &'static str) -> Result<Socket, Error> {
    let unusable = |source| Error::Unusable {
        path: path.to_owned(),
        setting,
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let path = path.to_owned();
            return Err(Error::NotASocket { path, setting });
        }
        Ok(_) if is_served(path).await => {
            let path = path.to_owned();
            return Err(Error::InUse { path, setting });
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(error)),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(unusable(error)),
            _ => {}
        }
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let _left_over = fs::remove_file(&unfinished);
    let listener = UnixListener::bind(&unfinished).map_err(unusable)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(unusable)?;
    Ok(Socket {
        listener,
        path: path.to_owned(),
    })
}

/// A service whose queue is full is one too.
async fn is_served(path: &Path) -> bool {
    !matches!(timeout(ANSWER, UnixStream::connect(path)).await, Ok(Err(_)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    const SETTING: &str = "--keyprovider";

    #[tokio::test]
    async fn a_socket_is_its_owners_and_one_services() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/keyprovider.sock");
        let socket = listen(&path, SETTING).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let (called, accepted) = tokio::join!(UnixStream::connect(&path), socket.accept());
        called.unwrap();
        assert!(lets_in(accepted.unwrap().1));
        assert!(matches!(
            listen(&path, SETTING).await,
            Err(Error::InUse { .. })
        ));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_service_left_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyprovider.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(listen(&path, SETTING).await.unwrap());
        fs::write(&path, "text").unwrap();
        assert!(matches!(
            listen(&path, SETTING).await,
            Err(Error::NotASocket { .. })
        ));
        let nowhere = folder.path().join("a/b/keyprovider.sock");
        assert!(matches!(
            listen(&nowhere, SETTING).await,
            Err(Error::Unusable { .. })
        ));
    }

    #[test]
    fn strangers_are_not_let_in() {
        let us = geteuid().as_raw();
        assert!(lets_in(0) && lets_in(us) && !lets_in(us.wrapping_add(1)));
    }
}
