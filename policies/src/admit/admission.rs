//! What is answered about a pod.

use touchstone_evidence::finding::Finding;

/// The answer. It is made by judging alone, and only ever gets worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    policies: Vec<String>,
    refusals: Vec<Finding>,
}

impl Admission {
    /// Of what no policy is for.
    pub(super) fn unconcerned() -> Self {
        Self::by(Vec::new())
    }

    /// By these policies, and not refused yet.
    pub(super) fn by(policies: Vec<String>) -> Self {
        Self {
            policies,
            refusals: Vec::new(),
        }
    }

    /// Judged as `more` is, too.
    pub(super) fn add(&mut self, more: Self) {
        for name in more.policies {
            if !self.policies.contains(&name) {
                self.policies.push(name);
            }
        }
        self.refuse(more.refusals);
    }

    /// Refuses for these reasons, too.
    pub fn refuse(&mut self, reasons: impl IntoIterator<Item = Finding>) {
        for reason in reasons {
            if !self.refusals.contains(&reason) {
                self.refusals.push(reason);
            }
        }
    }

    /// Names of the `WorkloadPolicy` manifests that are for the pod; none: the pod is not our concern.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// Why not, each reason once. Empty: admitted.
    #[must_use]
    pub fn refusals(&self) -> &[Finding] {
        &self.refusals
    }

    /// Whether the pod may run there.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.refusals.is_empty()
    }
}
