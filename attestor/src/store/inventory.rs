//! What operators declare: machines, location authorities and tags, nodes, tokens.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::log::digest;
use super::{StoreError, Tx, on};

/// One machine of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InventoryEntry {
    /// Its name.
    pub(crate) host: HostId,
    /// Every EK of its TPM.
    pub(crate) ek_digests: Vec<Sha256Digest>,
}

impl Tx {
    /// Adds a machine. `false`: its name or one of its EKs is there already.
    pub(crate) async fn add_inventory(
        &mut self,
        entry: &InventoryEntry,
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut added = on!(self, connection => {
            sqlx::query("INSERT INTO inventory (host, added_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(entry.host.as_str())
                .bind(now)
                .execute(connection)
                .await?
                .rows_affected()
        }) == 1;
        for ek in &entry.ek_digests {
            added &= on!(self, connection => {
                sqlx::query("INSERT INTO inventory_eks (ek_digest, host) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(&ek.0[..])
                    .bind(entry.host.as_str())
                    .execute(connection)
                    .await?
                    .rows_affected()
            }) == 1;
        }
        Ok(added)
    }

    /// Every machine, by name.
    pub(crate) async fn inventory(&mut self) -> Result<Vec<InventoryEntry>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = on!(self, connection => {
            sqlx::query_as("SELECT host, ek_digest FROM inventory_eks ORDER BY host, ek_digest")
                .fetch_all(connection)
                .await?
        });
        let mut entries: Vec<InventoryEntry> = Vec::new();
        for (host, ek) in rows {
            let ek = digest(&ek)?;
            match entries.last_mut() {
                Some(last) if last.host.as_str() == host => last.ek_digests.push(ek),
                _ => entries.push(InventoryEntry {
                    host: host_id(&host)?,
                    ek_digests: vec![ek],
                }),
            }
        }
        Ok(entries)
    }

    /// The machine that has this EK.
    pub(crate) async fn machine_of(
        &mut self,
        ek: &Sha256Digest,
    ) -> Result<Option<HostId>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT host FROM inventory_eks WHERE ek_digest = $1")
                .bind(&ek.0[..])
                .fetch_optional(connection)
                .await?
        });
        row.map(|(host,)| host_id(&host)).transpose()
    }

    /// Every EK of one machine; empty when the inventory does not have it.
    pub(crate) async fn eks_of(&mut self, host: &HostId) -> Result<Vec<Sha256Digest>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT ek_digest FROM inventory_eks WHERE host = $1 ORDER BY ek_digest")
                .bind(host.as_str())
                .fetch_all(connection)
                .await?
        });
        rows.iter().map(|(ek,)| digest(ek)).collect()
    }

    /// Believes a location authority.
    pub(crate) async fn add_authority(
        &mut self,
        id: &Sha256Digest,
        public_key: &[u8; 32],
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO location_authorities (id, public_key, added_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&id.0[..])
                .bind(&public_key[..])
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Public keys of all location authorities.
    pub(crate) async fn authorities(&mut self) -> Result<Vec<[u8; 32]>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT public_key FROM location_authorities ORDER BY id")
                .fetch_all(connection)
                .await?
        });
        rows.into_iter()
            .map(|(key,)| {
                <[u8; 32]>::try_from(key).map_err(|_| StoreError::Malformed("authority key"))
            })
            .collect()
    }

    /// Makes `tag` the current one of `host` if its serial is higher. `false`: it is not.
    pub(crate) async fn set_tag(
        &mut self,
        host: &HostId,
        serial: i64,
        tag: &[u8],
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(
                "INSERT INTO location_tags (host, serial, tag) VALUES ($1, $2, $3)
                 ON CONFLICT (host) DO UPDATE SET serial = excluded.serial, tag = excluded.tag
                 WHERE excluded.serial > location_tags.serial",
            )
            .bind(host.as_str())
            .bind(serial)
            .bind(tag)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Serial and bytes of the current tag of `host`.
    pub(crate) async fn tag(
        &mut self,
        host: &HostId,
    ) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query_as("SELECT serial, tag FROM location_tags WHERE host = $1")
                .bind(host.as_str())
                .fetch_optional(connection)
                .await?
        }))
    }

    /// Says that `host` stands behind the Kubernetes node `node`, instead of what was said before.
    pub(crate) async fn map_node(&mut self, node: &str, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO nodes (node, host) VALUES ($1, $2)
                 ON CONFLICT (node) DO UPDATE SET host = excluded.host",
            )
            .bind(node)
            .bind(host.as_str())
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Every node with its host, by name.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<(String, HostId)>, StoreError> {
        let rows: Vec<(String, String)> = on!(self, connection => {
            sqlx::query_as("SELECT node, host FROM nodes ORDER BY node")
                .fetch_all(connection)
                .await?
        });
        rows.into_iter()
            .map(|(node, host)| Ok((node, host_id(&host)?)))
            .collect()
    }

    /// Keeps the hash of an operator's token.
    pub(crate) async fn add_operator_token(
        &mut self,
        hash: &Sha256Digest,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO operator_tokens (hash, created_at) VALUES ($1, $2)")
                .bind(&hash.0[..])
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Hashes of all operators' tokens.
    pub(crate) async fn operator_tokens(&mut self) -> Result<Vec<Sha256Digest>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT hash FROM operator_tokens")
                .fetch_all(connection)
                .await?
        });
        rows.iter().map(|(hash,)| digest(hash)).collect()
    }
}

pub(super) fn host_id(text: &str) -> Result<HostId, StoreError> {
    text.parse().map_err(|_| StoreError::Malformed("host name"))
}
