//! What a process is there for: all of an attestor (`touchstone serve`), or one cluster beside it (`touchstone
//! kubernetes`), which answers hosts and API servers of that cluster, and no operator.

use std::path::Path;

use crate::http::access::Access;
use crate::operator_file;
use crate::serve::Settings;

/// What a process is there for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Duty {
    /// Everything.
    Attestor,
    /// One cluster, on the database of an attestor.
    Cluster,
}

impl Duty {
    /// Refuses what it cannot be done with, before anything is touched.
    pub(crate) fn check(self, settings: &Settings) -> anyhow::Result<()> {
        if self == Self::Attestor {
            return Ok(());
        }
        anyhow::ensure!(
            settings.kubernetes.is_some(),
            "`touchstone kubernetes` serves a cluster; say which with --kubernetes FILE"
        );
        let database = settings.database.as_deref().unwrap_or("sqlite:");
        anyhow::ensure!(
            !database.starts_with("sqlite:"),
            "`touchstone kubernetes` works beside `touchstone serve` on one database, and a file of SQLite has one process; \
             name that attestor's PostgreSQL with --database postgres://…, or give the one attestor the cluster: \
             `touchstone serve --kubernetes FILE`"
        );
        check_folder(&settings.data)
    }

    /// Refuses a database that no attestor began.
    pub(crate) fn check_database(self, is_new: bool) -> anyhow::Result<()> {
        anyhow::ensure!(
            self == Self::Attestor || !is_new,
            "no attestor began this database; start `touchstone serve` on it first"
        );
        Ok(())
    }

    /// Whether it answers a route at all, whoever calls.
    pub(crate) fn answers(self, access: Access, path: &str) -> bool {
        match access {
            Access::Anyone
            | Access::Host
            | Access::JoinToken
            | Access::WebhookCertificate
            | Access::WebhookSecret => true,
            Access::Staff(_) => self == Self::Attestor || path == "/metrics",
        }
    }
}

/// Without the head that was signed last it would begin the log anew, and no verdict from before would count.
fn check_folder(folder: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        folder.join("head").exists(),
        "`{}` holds no `head` of the audit log; copy the files that docs/operators/clusters.md lists out of the folder of \
         `touchstone serve`",
        folder.display()
    );
    let operator = folder.join(operator_file::FILE);
    anyhow::ensure!(
        !operator.exists(),
        "`{}` is the operator's credential, which a process for one cluster has no use for; take it away",
        operator.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    #[test]
    fn who_serves_a_cluster_answers_no_operator() {
        let staff = Access::Staff(&Role::ALL);
        for access in [Access::Anyone, Access::Host, Access::WebhookSecret, staff] {
            assert!(Duty::Attestor.answers(access, "/v1/nodes"));
            let answers = Duty::Cluster.answers(access, "/v1/nodes");
            assert_eq!(answers, access != staff, "{access:?}");
        }
        assert!(Duty::Cluster.answers(staff, "/metrics"));
    }
}
