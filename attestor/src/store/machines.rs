//! Machines of the inventory: their names, their state, and all EKs of their TPMs.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

/// What operators said last about a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineState {
    /// It may enrol.
    Active,
    /// Out of service; its name and its EKs stay taken.
    Retired,
    /// Taken out; only the name's row is left.
    Removed,
}

impl MachineState {
    /// For people and the database.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Removed => "removed",
        }
    }

    fn of(word: &str) -> Result<Self, StoreError> {
        [Self::Active, Self::Retired, Self::Removed]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or(StoreError::Malformed("state of a machine"))
    }
}

/// One machine of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InventoryEntry {
    /// Its name.
    pub(crate) host: HostId,
    /// Every EK of its TPM.
    pub(crate) ek_digests: Vec<Sha256Digest>,
}

/// Rows of one statement: SQLite allows 32,766 parameters, and each row has three at most.
const ROWS: usize = 500;

impl Tx {
    /// Adds machines, or names that were removed anew. `false`: a name or an EK is there already, and
    /// the transaction must not be committed.
    pub(crate) async fn add_inventory(
        &mut self,
        entries: &[InventoryEntry],
        now: i64,
    ) -> Result<bool, StoreError> {
        for entries in entries.chunks(ROWS) {
            let statement = format!(
                "INSERT INTO inventory (host, added_at, state) VALUES {}
                 ON CONFLICT (host) DO UPDATE SET added_at = excluded.added_at, state = 'active'
                 WHERE inventory.state = 'removed'",
                placeholders(entries.len(), "(?, ?, 'active')")
            );
            let added = on!(self, connection => {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
                for entry in entries {
                    query = query.bind(entry.host.as_str()).bind(now);
                }
                query.execute(connection).await?.rows_affected()
            });
            if added != count(entries.len()) {
                return Ok(false);
            }
        }
        let eks: Vec<(&Sha256Digest, &HostId)> = entries
            .iter()
            .flat_map(|entry| entry.ek_digests.iter().map(|ek| (ek, &entry.host)))
            .collect();
        self.add_eks(&eks).await
    }

    /// Adds EKs to machines. `false`: one is there already, and the transaction must not be committed.
    pub(crate) async fn add_eks(
        &mut self,
        eks: &[(&Sha256Digest, &HostId)],
    ) -> Result<bool, StoreError> {
        for eks in eks.chunks(ROWS) {
            let statement = format!(
                "INSERT INTO inventory_eks (ek_digest, host) VALUES {} ON CONFLICT DO NOTHING",
                placeholders(eks.len(), "(?, ?)")
            );
            let added = on!(self, connection => {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
                for (ek, host) in eks {
                    query = query.bind(&ek.0[..]).bind(host.as_str());
                }
                query.execute(connection).await?.rows_affected()
            });
            if added != count(eks.len()) {
                return Ok(false);
            }
        }
        on!(self, connection => {
            sqlx::query("DELETE FROM barred_eks WHERE ek_digest IN (SELECT ek_digest FROM inventory_eks)")
                .execute(connection)
                .await?;
        });
        Ok(true)
    }

    /// Every machine but removed ones, by name, with its state.
    pub(crate) async fn inventory(
        &mut self,
    ) -> Result<Vec<(InventoryEntry, MachineState)>, StoreError> {
        let rows: Vec<(String, String, Vec<u8>)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT inventory.host, inventory.state, inventory_eks.ek_digest
                 FROM inventory JOIN inventory_eks ON inventory_eks.host = inventory.host
                 ORDER BY inventory.host, inventory_eks.ek_digest",
            )
            .fetch_all(connection)
            .await?
        });
        let mut entries: Vec<(InventoryEntry, MachineState)> = Vec::new();
        for (host, state, ek) in rows {
            let ek = digest(&ek)?;
            match entries.last_mut() {
                Some((last, _)) if last.host.as_str() == host => last.ek_digests.push(ek),
                _ => entries.push((
                    InventoryEntry {
                        host: host_id(&host)?,
                        ek_digests: vec![ek],
                    },
                    MachineState::of(&state)?,
                )),
            }
        }
        Ok(entries)
    }

    /// The machine that has this EK, and its state.
    pub(crate) async fn machine_of(
        &mut self,
        ek: &Sha256Digest,
    ) -> Result<Option<(HostId, MachineState)>, StoreError> {
        let row: Option<(String, String)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT inventory.host, inventory.state
                 FROM inventory_eks JOIN inventory ON inventory.host = inventory_eks.host
                 WHERE inventory_eks.ek_digest = $1",
            )
            .bind(&ek.0[..])
            .fetch_optional(connection)
            .await?
        });
        row.map(|(host, state)| Ok((host_id(&host)?, MachineState::of(&state)?)))
            .transpose()
    }

    /// What is known of the machine called `host`: `None` if no machine ever was.
    pub(crate) async fn machine_state(
        &mut self,
        host: &HostId,
    ) -> Result<Option<MachineState>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT state FROM inventory WHERE host = $1")
                .bind(host.as_str())
                .fetch_optional(connection)
                .await?
        });
        row.map(|(state,)| MachineState::of(&state)).transpose()
    }

    /// Every EK of one machine in service; empty when the inventory has none of this name.
    pub(crate) async fn eks_of(&mut self, host: &HostId) -> Result<Vec<Sha256Digest>, StoreError> {
        self.eks_of_any(host, MachineState::Active).await
    }

    /// Every EK of one machine in this state.
    pub(crate) async fn eks_of_any(
        &mut self,
        host: &HostId,
        state: MachineState,
    ) -> Result<Vec<Sha256Digest>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT inventory_eks.ek_digest
                 FROM inventory_eks JOIN inventory ON inventory.host = inventory_eks.host
                 WHERE inventory.host = $1 AND inventory.state = $2 ORDER BY inventory_eks.ek_digest",
            )
            .bind(host.as_str())
            .bind(state.word())
            .fetch_all(connection)
            .await?
        });
        rows.iter().map(|(ek,)| digest(ek)).collect()
    }

    /// Sets what operators say about a machine.
    pub(crate) async fn set_machine_state(
        &mut self,
        host: &HostId,
        state: MachineState,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE inventory SET state = $2 WHERE host = $1")
                .bind(host.as_str())
                .bind(state.word())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Takes all EKs from a machine; only an operator lets them in again.
    pub(crate) async fn drop_eks(&mut self, host: &HostId, now: i64) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO barred_eks (ek_digest, since)
                 SELECT ek_digest, $2 FROM inventory_eks WHERE host = $1 ON CONFLICT DO NOTHING",
            )
            .bind(host.as_str())
            .bind(now)
            .execute(&mut *connection)
            .await?;
            sqlx::query("DELETE FROM inventory_eks WHERE host = $1")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}

/// `row` once for each of `rows`, its question marks numbered as both databases read them.
fn placeholders(rows: usize, row: &str) -> String {
    let mut number = 0_u32;
    let mut text = String::new();
    for index in 0..rows {
        if index > 0 {
            text.push_str(", ");
        }
        for character in row.chars() {
            match character {
                '?' => {
                    number = number.saturating_add(1);
                    text.push_str(&format!("${number}"));
                }
                other => text.push(other),
            }
        }
    }
    text
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_through() {
        assert_eq!(
            placeholders(2, "(?, ?, 'x')"),
            "($1, $2, 'x'), ($3, $4, 'x')"
        );
    }
}
