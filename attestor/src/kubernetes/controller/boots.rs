//! Boots of nodes, as kubelets report them: earlier than a round, and no proof. A kubelet that lies keeps a verdict of
//! the boot before only until it expires.

use std::collections::HashMap;

use touchstone_kubernetes::node::Node;

/// By node uid: the boot that was seen last, and since when it is another one.
#[derive(Default)]
pub(super) struct Boots {
    seen: HashMap<String, (String, Option<i64>)>,
}

impl Boots {
    /// When the node was seen to have begun another boot; `None`: it is in the one that was seen first.
    pub(super) fn look(&mut self, node: &Node, now: i64) -> Option<i64> {
        let uid = node.metadata.uid.as_ref()?;
        let boot = &node.status.as_ref()?.node_info.as_ref()?.boot_id;
        match self.seen.get_mut(uid) {
            None => {
                self.seen.insert(uid.clone(), (boot.clone(), None));
                None
            }
            Some((seen, since)) => {
                if seen != boot {
                    *seen = boot.clone();
                    *since = Some(now);
                }
                *since
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    #[test]
    fn another_boot_id_is_another_boot() {
        let node = |uid: &str, boot: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": { "name": "a", "uid": uid },
                "spec": {},
                "status": { "nodeInfo": { "bootID": boot } },
            }))
            .unwrap()
        };
        let mut boots = Boots::default();
        assert_eq!(boots.look(&node("u", "1"), 100), None);
        assert_eq!(boots.look(&node("u", "1"), 101), None);
        assert_eq!(boots.look(&node("u", "2"), 102), Some(102));
        assert_eq!(boots.look(&node("u", "2"), 103), Some(102));
        assert_eq!(boots.look(&node("v", "2"), 104), None);
    }
}
