//! What purges left: the blobs of an image, by which its layers were found, go with it, and the layers may stay, since
//! another image claims them. Kept in the state folder: a host may start anew meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use touchstone_evidence::wire::ContainerRuntime;

use super::Purged;
use crate::private_file;

const FILE: &str = "purge-left.json";

/// By runtime and place, what was left there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Left(BTreeMap<String, BTreeSet<String>>);

/// Why it cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    File(#[from] private_file::Error),
    #[error("`{FILE}` in the state folder is damaged; purge by hand, then remove it")]
    Damaged(#[from] serde_json::Error),
}

impl Left {
    pub(super) fn read(state: &Path) -> Result<Self, Error> {
        Ok(match private_file::read(&state.join(FILE))? {
            Some(bytes) => serde_json::from_slice(&bytes)?,
            None => Self::default(),
        })
    }

    pub(super) fn keep(&self, state: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec(self)?;
        Ok(private_file::replace(&state.join(FILE), &json)?)
    }

    /// In one place.
    pub(super) fn at(&self, runtime: ContainerRuntime, place: &str) -> BTreeSet<String> {
        self.0
            .get(&key(runtime, place))
            .cloned()
            .unwrap_or_default()
    }

    /// Takes in what was seen since, looking for what was left before, too.
    pub(super) fn take_in(&mut self, purged: &[Purged]) {
        for one in purged {
            let there = self.0.entry(key(one.runtime, &one.place)).or_default();
            // What failed may not have looked.
            if one.error.is_none() {
                there.clear();
            }
            there.extend(one.left.iter().cloned());
        }
        self.0.retain(|_, left| !left.is_empty());
    }
}

fn key(runtime: ContainerRuntime, place: &str) -> String {
    format!("{} {place}", runtime.word())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_known_until_it_is_seen_to_be_gone_also_by_the_next_process() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(Left::read(state.path()).unwrap(), Left::default());
        let runtime = ContainerRuntime::Containerd;
        let purged = |left: &[&str]| Purged {
            left: left.iter().map(|&left| left.to_owned()).collect(),
            ..Purged::new(runtime, "k8s.io")
        };
        let mut left = Left::default();
        left.take_in(&[purged(&["a", "b"])]);
        left.keep(state.path()).unwrap();
        let mut left = Left::read(state.path()).unwrap();
        assert_eq!(left.at(runtime, "k8s.io").len(), 2);
        assert!(left.at(runtime, "default").is_empty());
        assert!(left.at(ContainerRuntime::Podman, "k8s.io").is_empty());
        left.take_in(&[purged(&[]).failed(&std::fmt::Error)]);
        assert_eq!(left.at(runtime, "k8s.io").len(), 2);
        left.take_in(&[purged(&["b"])]);
        assert_eq!(left.at(runtime, "k8s.io"), BTreeSet::from(["b".to_owned()]));
        left.take_in(&[purged(&[])]);
        assert_eq!(left, Left::default());
        std::fs::write(state.path().join(FILE), "{").unwrap();
        Left::read(state.path()).unwrap_err();
    }
}
