//! One watch of all objects of a kind, for as long as the process lives.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::{StreamExt as _, future};
use kube::Client;
use kube::api::{Api, ApiResource, Object};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;

use crate::error::ClusterError;
use crate::lenient::Lenient;
use crate::reach::Reach;

/// Objects in a page of a list. A page is held as it came and as it is read, and a pod may be of a megabyte and more.
const PAGE: u32 = 50;

/// Watches all objects of a resource for as long as the process lives. What nobody looks at is not kept.
pub(crate) fn watched<P, U>(
    client: &Client,
    reach: &Arc<Reach>,
    resource: &ApiResource,
    watches: &mut Vec<AbortHandle>,
) -> Store<Object<P, U>>
where
    P: Clone + Debug + Default + DeserializeOwned + Serialize + Send + Sync + 'static,
    U: Clone + Debug + Default + DeserializeOwned + Serialize + Send + Sync + 'static,
{
    let writer = reflector::store::Writer::new(resource.clone());
    let store = writer.as_reader();
    let api = Api::<Lenient<P, U>>::all_with(client.clone(), resource);
    let stream = watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .filter_map(|event| {
            let shown = event.map(Lenient::shown).transpose();
            future::ready(shown)
        })
        .reflect(writer);
    let mut listener = Listener {
        reach: Arc::clone(reach),
        kind: resource.kind.clone(),
        complained: false,
    };
    let run = async move {
        stream
            .for_each(|event| {
                // A watch begins with that, before it asks.
                let is_answer = |event| !matches!(event, watcher::Event::Init);
                listener.note(event.map(is_answer));
                future::ready(())
            })
            .await;
    };
    watches.push(tokio::spawn(run).abort_handle());
    store
}

/// Who tells what becomes of a watch.
struct Listener {
    reach: Arc<Reach>,
    kind: String,
    /// Whether a fault of this watch was told since it last worked.
    complained: bool,
}

impl Listener {
    /// `answer`: whether something came from the server.
    fn note(&mut self, answer: Result<bool, watcher::Error>) {
        let error = match answer {
            Ok(false) => return,
            Ok(true) => {
                self.reach.answered();
                self.complained = false;
                return;
            }
            Err(error) => error,
        };
        let error = fault(error).or_undefined(&self.kind);
        self.reach.failed(&error);
        // What is wrong with the way to the server is told of the server, once for all watches.
        let told = error.trouble().is_some() || std::mem::replace(&mut self.complained, true);
        let error = &error as &dyn std::error::Error;
        match told {
            true => tracing::debug!(error, k8s.kind = self.kind, "a watch was interrupted"),
            false => tracing::warn!(error, k8s.kind = self.kind, "a watch was interrupted"),
        }
    }
}

fn fault(error: watcher::Error) -> ClusterError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error.into(),
        watcher::Error::WatchError(status) => kube::Error::Api(status).into(),
        watcher::Error::NoResourceVersion => ClusterError::Unreadable {
            name: "metadata".to_owned(),
            why: error.to_string(),
        },
    }
}
