//! The one thread that speaks to the token, since each call may block, and what waits for it: bounded, and in bounded
//! time.
//!
//! A session that fails is opened anew, with the module begun anew: a token that was away is found again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::session::{self, Opened};
use super::uri::TokenUri;
use super::{ID, Mac, TokenError, derivation, id_of};
use crate::layer_keys::master::MasterKeyError;

/// How long the first session may take to open: a token across a network, perhaps.
const OPENING: Duration = Duration::from_secs(30);
/// How long an answer may take; a call that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that wait.
const WAITING_MAX: usize = 4096;
/// A token that nobody asks for so long is asked whether it is there.
const PROBE: Duration = Duration::from_secs(2);
/// Between two tries to find it again.
const PAUSE: Duration = Duration::from_secs(1);

type Answer = Result<Mac, Arc<TokenError>>;

/// What HMAC is to be computed over.
struct Ask {
    data: Vec<u8>,
    reply: oneshot::Sender<Answer>,
}

/// A handle of the thread, which ends with it.
pub(super) struct Worker {
    asks: SyncSender<Ask>,
    token: String,
    state: Arc<State>,
}

impl Worker {
    /// Starts the thread, and opens its first session: the key's id. What fails then ends it.
    pub(super) async fn start(uri: TokenUri, may_make: bool) -> Result<(String, Self), TokenError> {
        let (asks, waiting) = sync_channel(WAITING_MAX);
        let (reply, opened) = oneshot::channel();
        let state = Arc::new(State::default());
        let (token, told) = (uri.token.clone(), Arc::clone(&state));
        let run = move || match Speaker::open(uri, may_make, told) {
            Ok(speaker) => {
                let _gone = reply.send(Ok(speaker.id.clone()));
                speaker.serve(&waiting);
            }
            Err(error) => {
                let _gone = reply.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name("token".to_owned()).spawn(run);
        thread.map_err(|_| TokenError::NoThread)?;
        let opened = timeout(OPENING, opened).await;
        let slow = || TokenError::Slow(token.clone());
        let id = opened.map_err(|_| slow())?.map_err(|_| slow())??;
        Ok((id, Self { asks, token, state }))
    }

    /// HMAC-SHA256 over `data`, by the token.
    pub(super) async fn mac(&self, data: Vec<u8>) -> Result<Mac, MasterKeyError> {
        let slow = || MasterKeyError::Away(Arc::new(TokenError::Slow(self.token.clone())));
        if self.state.hangs() {
            return Err(slow());
        }
        let (reply, answer) = oneshot::channel();
        match self.asks.try_send(Ask { data, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(MasterKeyError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(slow()),
        }
        let answer = timeout(PATIENCE, answer).await;
        let answer = answer.map_err(|_| slow())?.map_err(|_| slow())?;
        answer.map_err(MasterKeyError::Away)
    }

    /// Whether it worked when it was last asked, and does not hang.
    pub(super) fn is_there(&self) -> bool {
        !self.state.away.load(Ordering::Relaxed) && !self.state.hangs()
    }
}

/// What others see of the thread.
#[derive(Default)]
struct State {
    away: AtomicBool,
    /// When the call that is under way began.
    calling: Mutex<Option<Instant>>,
}

impl State {
    fn set_calling(&self, calling: Option<Instant>) {
        *self.calling.lock().unwrap_or_else(PoisonError::into_inner) = calling;
    }

    fn hangs(&self) -> bool {
        let calling = *self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        calling.is_some_and(|since| since.elapsed() > PATIENCE)
    }
}

/// What the thread works with.
struct Speaker {
    uri: TokenUri,
    module: Pkcs11,
    opened: Option<Opened>,
    /// Of the key that was found first, and must be found again.
    id: String,
    state: Arc<State>,
    /// Why the last try failed, and when.
    failed: Option<(Arc<TokenError>, Instant)>,
}

impl Speaker {
    fn open(uri: TokenUri, may_make: bool, state: Arc<State>) -> Result<Self, TokenError> {
        let module = session::module(&uri)?;
        let opened = Opened::open(&module, &uri, may_make)?;
        let id = id_of(&opened.mac(&derivation(ID, &[]), &uri)?);
        Ok(Self {
            uri,
            module,
            opened: Some(opened),
            id,
            state,
            failed: None,
        })
    }

    fn serve(mut self, waiting: &Receiver<Ask>) {
        loop {
            match waiting.recv_timeout(PROBE) {
                // It waited in vain, and is gone.
                Ok(ask) if ask.reply.is_closed() => {}
                Ok(Ask { data, reply }) => {
                    let _gone = reply.send(self.mac(&data));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _told_by_the_state = self.mac(&derivation(ID, &[]));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn mac(&mut self, data: &[u8]) -> Answer {
        self.state.set_calling(Some(Instant::now()));
        let answer = self.attempt(data);
        self.state.set_calling(None);
        let was_away = self.state.away.swap(answer.is_err(), Ordering::Relaxed);
        match &answer {
            Ok(_) if was_away => tracing::warn!("the token that holds the master key is back"),
            Err(error) if !was_away => tracing::error!(
                error = &**error as &dyn std::error::Error,
                "the token that holds the master key is away; no key of a layer is used until it is back"
            ),
            _ => {}
        }
        answer
    }

    fn attempt(&mut self, data: &[u8]) -> Answer {
        if let Some(opened) = &self.opened {
            match opened.mac(data, &self.uri) {
                Ok(mac) => return Ok(mac),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the session with the master key's token is opened anew"
                ),
            }
        }
        self.opened = None;
        if let Some((error, when)) = &self.failed
            && (matches!(**error, TokenError::PinRefused(_)) || when.elapsed() < PAUSE)
        {
            return Err(Arc::clone(error));
        }
        match self.reopen(data) {
            Ok(mac) => {
                self.failed = None;
                Ok(mac)
            }
            Err(error) => {
                let error = Arc::new(error);
                self.failed = Some((Arc::clone(&error), Instant::now()));
                Err(error)
            }
        }
    }

    /// Modules keep a broken connection, or the list of tokens, until they are begun anew.
    fn reopen(&mut self, data: &[u8]) -> Result<Mac, TokenError> {
        let _perhaps_not_begun = self.module.clone().finalize();
        let opened = Opened::open(&self.module, &self.uri, false)?;
        let id = id_of(&opened.mac(&derivation(ID, &[]), &self.uri)?);
        if id != self.id {
            let (token, object) = (self.uri.token.clone(), self.uri.object.clone());
            return Err(TokenError::Exchanged { token, object });
        }
        let mac = opened.mac(data, &self.uri)?;
        self.opened = Some(opened);
        Ok(mac)
    }
}
