//! The pods that are asked for, how, and what is due for each.

use serde::Serialize;
use touchstone_tpm_sim::six_nodes::{self, Six};

/// What precedes our words, whoever repeats them.
const OURS: &str = "touchstone: ";

/// A pod for one node.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) namespace: &'static str,
    pub(super) name: String,
    pub(super) app: &'static str,
    pub(super) six: Six,
    pub(super) way: Way,
    /// Words of the refusal; none: it lands.
    pub(super) due: Option<&'static str>,
}

impl Ask {
    /// Its name with its namespace.
    pub(super) fn pod(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Which way it is to come onto the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The scheduler may choose this node alone.
    Scheduled,
    /// It is created with `spec.nodeName`, which no scheduler sees.
    Preset,
    /// Somebody binds it by hand.
    ByHand,
}

impl Way {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Scheduled => "by the scheduler",
            Self::Preset => "nodeName preset",
            Self::ByHand => "bound by hand",
        }
    }
}

/// Where it landed, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Landing {
    /// The node that it is on.
    pub(super) node: Option<String>,
    /// Why it is on none.
    pub(super) why: Option<String>,
}

impl Landing {
    pub(super) fn on(node: String) -> Self {
        Self {
            node: Some(node),
            why: None,
        }
    }

    /// On none, as `said` has it: our words of it, or all if there are none of ours.
    pub(super) fn refused(said: &str) -> Self {
        let ours = said.split_once(OURS).map_or(said, |(_, ours)| ours);
        Self {
            node: None,
            why: Some(ours.trim().to_owned()),
        }
    }

    pub(super) fn in_short(&self) -> String {
        match (&self.node, &self.why) {
            (Some(node), _) => format!("on {node}"),
            (None, why) => format!(
                "not placed: {}",
                why.as_deref().unwrap_or("nobody says why")
            ),
        }
    }
}

/// All of them: one for each node, two that go round the scheduler, two that no policy is for.
pub(super) fn all() -> Vec<Ask> {
    let scheduled = six_nodes::ALL.map(|six| of_policy("api", six, Way::Scheduled));
    let around = [
        of_policy("preset", six_nodes::ALL[2], Way::Preset),
        of_policy("by-hand", six_nodes::ALL[1], Way::ByHand),
    ];
    let [shop, system] = ["shop", "kube-system"].map(|namespace| Ask {
        namespace,
        name: "web".to_owned(),
        app: "web",
        six: six_nodes::ALL[2],
        way: Way::Scheduled,
        due: None,
    });
    scheduled
        .into_iter()
        .chain(around)
        .chain([shop, system])
        .collect()
}

fn of_policy(prefix: &str, six: Six, way: Way) -> Ask {
    Ask {
        namespace: six_nodes::NAMESPACE,
        name: format!("{prefix}-{}", six.host),
        app: six_nodes::APP,
        six,
        way,
        due: six.refused.map(|refused| refused.words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_words_are_found_in_whatever_repeats_them() {
        let said = "binding rejected: admission webhook \"a\" denied the request: touchstone: no place (policy p)";
        let landing = Landing::refused(said);
        assert_eq!(landing.why.as_deref(), Some("no place (policy p)"));
        assert_eq!(Landing::refused("quota").why.as_deref(), Some("quota"));
    }
}
