//! What operators declare: location authorities and tags, nodes, their own tokens.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::{StoreError, Tx, on};

impl Tx {
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
                 ON CONFLICT (host) DO UPDATE SET serial = excluded.serial, tag = excluded.tag, void = 0
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

    /// The highest serial that a tag of `host` ever had, void or not.
    pub(crate) async fn last_tag_serial(&mut self, host: &HostId) -> Result<i64, StoreError> {
        let row: Option<(i64,)> = on!(self, connection => {
            sqlx::query_as("SELECT serial FROM location_tags WHERE host = $1")
                .bind(host.as_str())
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map_or(0, |(serial,)| serial))
    }

    /// Takes back the current tag of `host`: another one must be issued.
    pub(crate) async fn void_tag(&mut self, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE location_tags SET void = 1 WHERE host = $1")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Serial and bytes of the current tag of `host`.
    pub(crate) async fn tag(
        &mut self,
        host: &HostId,
    ) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query_as("SELECT serial, tag FROM location_tags WHERE host = $1 AND void = 0")
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

    /// The nodes behind which `host` stands.
    pub(crate) async fn nodes_of(&mut self, host: &HostId) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT node FROM nodes WHERE host = $1 ORDER BY node")
                .bind(host.as_str())
                .fetch_all(connection)
                .await?
        });
        Ok(rows.into_iter().map(|(node,)| node).collect())
    }

    /// The host behind a node.
    pub(crate) async fn host_of_node(&mut self, node: &str) -> Result<Option<HostId>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT host FROM nodes WHERE node = $1")
                .bind(node)
                .fetch_optional(connection)
                .await?
        });
        row.map(|(host,)| host_id(&host)).transpose()
    }
}

pub(super) fn host_id(text: &str) -> Result<HostId, StoreError> {
    text.parse().map_err(|_| StoreError::Malformed("host name"))
}
