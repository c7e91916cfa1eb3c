//! What a process is there for: all of an attestor (`touchstone serve`), or one cluster beside it (`touchstone
//! kubernetes`), which answers hosts and API servers of that cluster, and no operator.

/// What a process is there for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Duty {
    /// Everything.
    Attestor,
    /// One cluster, on the database of an attestor.
    Cluster,
}

impl Duty {
    /// Refuses a database that no attestor began.
    pub(crate) fn check_database(self, is_new: bool) -> anyhow::Result<()> {
        anyhow::ensure!(
            self == Self::Attestor || !is_new,
            "no attestor began this database; start `touchstone serve` on it first"
        );
        Ok(())
    }
}
