//! Reviews of nodes: labels and taints of ours are what the scheduler places by, so nobody else may set them.

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::node::{Node, NodeSpec};
use touchstone_kubernetes::node_marks;

use super::asked::unsupported;
use super::review::Request;

/// Whether a review is about a node.
pub(super) fn asks_about_nodes(request: &Request) -> bool {
    matches!(request.resource_name().as_str(), "nodes" | "nodes/status")
}

/// Why the node may not become what it is to be; `user` alone may set our labels and taints.
pub(super) fn refusal(request: &Request, user: &str) -> Option<Finding> {
    match touched(request) {
        Ok(None) => None,
        Ok(Some(_)) if request.username() == user => None,
        Ok(Some((node, mark))) => {
            let by = request.username();
            tracing::warn!(
                k8s.node = node,
                mark,
                by,
                "somebody else touched a mark of ours"
            );
            Some(
                Finding::new("node-mark-protected")
                    .about(node)
                    .observed(mark),
            )
        }
        Err(finding) => Some(finding),
    }
}

/// The node, and which label or taint of ours it is to gain, to change or to lose.
fn touched(request: &Request) -> Result<Option<(String, String)>, Finding> {
    let node: Node = match request.operation.as_str() {
        "CREATE" | "UPDATE" => request.object()?,
        operation => return Err(unsupported(operation, &request.resource_name())),
    };
    let before: Option<Node> = request.old_object()?;
    // A change of what is not shown is a change of everything.
    let before = match request.operation.as_str() {
        "CREATE" => None,
        _ => Some(before.unwrap_or_else(nothing)),
    };
    let mark = node_marks::touched(before.as_ref(), &node);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    Ok(mark.map(|mark| (request.name_or(name).to_owned(), mark)))
}

/// A node without any mark.
fn nothing() -> Node {
    Node {
        types: None,
        metadata: Default::default(),
        spec: NodeSpec::default(),
        status: None,
    }
}
