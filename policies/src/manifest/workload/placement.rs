//! The `placement` part of a `WorkloadPolicy`: when its pods may wait for a node, and how long they take to end.

use serde::Deserialize;

/// Longest time that a pod may be given to end, seconds: an hour.
const TERMINATION_MAX: u32 = 3600;

/// How pods are placed. Admission does not look at it: it says what is put into a pod before.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Placement {
    /// Whether a pod is held back until some host fits.
    #[serde(default)]
    pub hold: bool,
    /// Most seconds that a pod gets to end; absent: as the pod says.
    #[serde(default)]
    pub termination_grace_seconds: Option<TerminationGraceSeconds>,
}

/// 0 to one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct TerminationGraceSeconds(u32);

impl TerminationGraceSeconds {
    /// Seconds.
    #[must_use]
    pub fn seconds(self) -> i64 {
        i64::from(self.0)
    }
}

impl TryFrom<i64> for TerminationGraceSeconds {
    type Error = String;

    fn try_from(seconds: i64) -> Result<Self, String> {
        let within = u32::try_from(seconds).ok();
        match within.filter(|seconds| *seconds <= TERMINATION_MAX) {
            Some(seconds) => Ok(Self(seconds)),
            None => Err(format!(
                "`{seconds}` seconds to end in; use 0 to {TERMINATION_MAX}"
            )),
        }
    }
}
