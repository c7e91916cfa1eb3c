//! `WorkloadPolicy`: which pods, what their images and the host below them must be, and how they are placed.

mod images;
mod placement;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use touchstone_evidence::result::TrustTier;

use super::host_policy::{FreshnessSeconds, Grade, at_least_one};

pub use images::{Digests, ImageDemands, ImagePrefix};
pub use placement::Placement;

/// A pod half that selects, and parts that demand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadPolicy {
    /// Which pods it is for.
    pub pod: PodHalf,
    /// What the image of each of their containers must be; absent: nothing is demanded of it.
    pub images: Option<ImageDemands>,
    /// What their host must be.
    pub host: HostHalf,
    /// How they are placed.
    #[serde(default)]
    pub placement: Placement,
}

/// Selects pods: all that is named must match.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodHalf {
    /// Namespaces, at least one, each in full.
    #[serde(deserialize_with = "at_least_one")]
    pub namespaces: Vec<String>,
    /// Labels that the pod must carry; none: every pod of the namespaces.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Names of service accounts, any of which is meant; absent: whichever the pod has.
    #[serde(default, deserialize_with = "some_at_least_one")]
    pub service_accounts: Option<Vec<String>>,
    /// How names of images begin: a pod is meant of which any container's image begins so; absent: whichever.
    #[serde(default, deserialize_with = "some_at_least_one")]
    pub images: Option<Vec<ImagePrefix>>,
}

/// Demands on the host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HostHalf {
    /// The tier that is enough: `affirming` or `warning`.
    #[serde(deserialize_with = "satisfiable")]
    pub tier: TrustTier,
    /// Name of the `Region` that the host must stand in.
    pub region: Option<String>,
    /// The grade that its place must have; L1 where a region is named and nothing is said.
    pub grade: Option<Grade>,
    /// How old its result may be, seconds.
    pub freshness_seconds: Option<FreshnessSeconds>,
}

/// Namespaces of the system, about whose pods nobody is asked: without that no cluster heals.
pub const EXEMPT: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];

/// Why no policy can be for pods of this namespace. A name is a DNS label (RFC 1123).
pub(super) fn namespace_problem(namespace: &str) -> Option<&'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = [namespace.bytes().next(), namespace.bytes().last()];
    let is_label = (1..=63).contains(&namespace.len())
        && namespace.bytes().all(inner)
        && !ends.contains(&Some(b'-'));
    match is_label {
        false => Some("is no name of a namespace; give each in full, since `*` means nothing here"),
        true if EXEMPT.contains(&namespace) => Some(
            "is a namespace of the system, about whose pods nobody is asked, so that a cluster heals; name another",
        ),
        true => None,
    }
}

/// An empty list would select nothing, where none at all selects everything.
fn some_at_least_one<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    at_least_one(deserializer).map(Some)
}

fn satisfiable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TrustTier, D::Error> {
    // Not as a tier: what cannot be meant here is not to be offered.
    let written = String::deserialize(deserializer)?;
    match &*written {
        "affirming" => Ok(TrustTier::Affirming),
        "warning" => Ok(TrustTier::Warning),
        "none" | "contraindicated" => Err(serde::de::Error::custom(format_args!(
            "`{written}` is never enough; use `affirming` or `warning`"
        ))),
        _ => Err(serde::de::Error::custom(format_args!(
            "`{written}` is no tier; use `affirming` or `warning`"
        ))),
    }
}
