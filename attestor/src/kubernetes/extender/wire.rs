//! What schedulers ask and are answered: keys as Go writes fields that nobody renamed.
//!
//! With `nodeCacheCapable` nodes come and go by name; without, as whole objects, which go back as they came.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use touchstone_kubernetes::pod::Pod;

/// `ExtenderArgs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Args {
    /// Read once it is to be judged.
    pod: Box<RawValue>,
    nodes: Option<NodeList>,
    node_names: Option<Vec<String>>,
}

/// The nodes of a request.
#[derive(Debug)]
pub(super) enum Nodes<'a> {
    Names(&'a [String]),
    Objects(&'a [Node]),
}

impl Args {
    /// The pod that is to be placed; `None`: it is none.
    pub(super) fn pod(&self) -> Option<Pod> {
        serde_json::from_str(self.pod.get()).ok()
    }

    /// The nodes that it may go to; `None`: the request has no list of them.
    pub(super) fn nodes(&self) -> Option<Nodes<'_>> {
        match (&self.node_names, &self.nodes) {
            (Some(names), _) => Some(Nodes::Names(names)),
            (None, Some(list)) => Some(Nodes::Objects(&list.items)),
            (None, None) => None,
        }
    }
}

impl Nodes<'_> {
    /// Their names, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Names(names) => names.iter().map(String::as_str).collect(),
            Self::Objects(nodes) => nodes.iter().map(|node| node.name.as_str()).collect(),
        }
    }

    /// The answer; `reasons` says of each node why not, `None` that it may.
    pub(super) fn filtered(&self, reasons: Vec<Option<String>>) -> Filtered {
        let mut filtered = Filtered::default();
        let fits: Vec<bool> = reasons.iter().map(Option::is_none).collect();
        match self {
            Self::Names(names) => filtered.node_names = Some(chosen(names, &fits)),
            Self::Objects(nodes) => {
                let items = chosen(nodes, &fits);
                let items = items.into_iter().map(|node| node.sent).collect();
                filtered.nodes = Some(NodeItems { items });
            }
        }
        let reasons = self.names().into_iter().zip(reasons);
        let failed = reasons.filter_map(|(node, why)| Some((node.to_owned(), why?)));
        filtered.failed_nodes = Arc::new(failed.collect());
        filtered.failed_and_unresolvable_nodes = Arc::clone(&filtered.failed_nodes);
        filtered
    }
}

fn chosen<T: Clone>(nodes: &[T], fits: &[bool]) -> Vec<T> {
    let both = nodes.iter().zip(fits);
    both.filter(|(_, fits)| **fits)
        .map(|(node, _)| node.clone())
        .collect()
}

/// `NodeList`, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct NodeList {
    items: Vec<Node>,
}

/// A node, as it was sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Box<RawValue>")]
pub(super) struct Node {
    name: String,
    sent: Box<RawValue>,
}

impl TryFrom<Box<RawValue>> for Node {
    type Error = serde_json::Error;

    fn try_from(sent: Box<RawValue>) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Named {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            name: String,
        }
        let Named { metadata } = serde_json::from_str(sent.get())?;
        Ok(Self {
            name: metadata.name,
            sent,
        })
    }
}

/// Of nodes, why not.
type Reasons = BTreeMap<String, String>;

fn shared<S: Serializer>(reasons: &Reasons, serializer: S) -> Result<S::Ok, S::Error> {
    reasons.serialize(serializer)
}

/// `ExtenderFilterResult`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Filtered {
    nodes: Option<NodeItems>,
    node_names: Option<Vec<String>>,
    /// Why not, for schedulers before 1.21, which read nothing else.
    #[serde(serialize_with = "shared")]
    failed_nodes: Arc<Reasons>,
    /// The same for newer ones, where it comes before `failed_nodes`: none of them is a node on which other pods would
    /// have to make room, who were evicted in vain.
    #[serde(serialize_with = "shared")]
    failed_and_unresolvable_nodes: Arc<Reasons>,
    error: String,
}

impl Filtered {
    /// The request cannot be answered.
    pub(super) fn error(why: &str) -> Self {
        Self {
            error: why.to_owned(),
            ..Self::default()
        }
    }
}

#[derive(Debug, Serialize)]
struct NodeItems {
    items: Vec<Box<RawValue>>,
}

/// `HostPriority`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostPriority {
    host: String,
    score: i64,
}

impl HostPriority {
    /// Of a node, 0 to 10.
    pub(super) fn new(node: &str, score: i64) -> Self {
        Self {
            host: node.to_owned(),
            score,
        }
    }
}
