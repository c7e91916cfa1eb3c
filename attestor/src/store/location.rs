//! Location authorities, the current tag of each host, and every tag that it ever had.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

/// What became of a current tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TagState {
    /// An operator took it back, or its authority.
    pub(crate) revoked: bool,
    /// A round proved it.
    pub(crate) proven: bool,
    /// Where the host was proven to be before it; `None` once it is proven.
    pub(crate) moved_from: Option<Place>,
}

/// A tag that is or was the current one of a host.
#[derive(Clone, Debug)]
pub(crate) struct KeptTag {
    /// As it was signed; its signature was verified before it was kept.
    pub(crate) tag: Vec<u8>,
    /// Times are seconds since 1970, `None` where they were not kept yet.
    pub(crate) issued_at: Option<i64>,
    /// Of the first round that proved it.
    pub(crate) proven_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    /// Why it is not the current one any more.
    pub(crate) ended_by: Option<String>,
}

/// Why a tag is not the current one any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TagEnd {
    Superseded,
    Revoked,
    AuthorityRevoked,
}

impl TagEnd {
    fn word(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
            Self::AuthorityRevoked => "authority-revoked",
        }
    }
}

/// A location authority that is or was believed.
#[derive(Clone, Debug)]
pub(crate) struct KeptAuthority {
    pub(crate) id: Sha256Digest,
    pub(crate) added_at: i64,
    pub(crate) revoked_at: Option<i64>,
}

/// Tags that are read at once.
const PAGE: i64 = 500;

impl Tx {
    /// Believes a location authority. `false`: it was revoked, and stays so.
    pub(crate) async fn add_authority(
        &mut self,
        id: &Sha256Digest,
        public_key: &[u8; 32],
        now: i64,
    ) -> Result<bool, StoreError> {
        let (revoked_at,): (Option<i64>,) = on!(self, connection => {
            sqlx::query("INSERT INTO location_authorities (id, public_key, added_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&id.0[..])
                .bind(&public_key[..])
                .bind(now)
                .execute(&mut *connection)
                .await?;
            sqlx::query_as("SELECT revoked_at FROM location_authorities WHERE id = $1")
                .bind(&id.0[..])
                .fetch_one(connection)
                .await?
        });
        Ok(revoked_at.is_none())
    }

    /// Believes an authority no more. `false`: it was not believed.
    pub(crate) async fn revoke_authority(
        &mut self,
        id: &Sha256Digest,
        now: i64,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query("UPDATE location_authorities SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
                .bind(&id.0[..])
                .bind(now)
                .execute(connection)
                .await?
                .rows_affected()
        }) == 1)
    }

    /// Revoked authorities some of whose tags may still be current ones.
    pub(crate) async fn unswept_authorities(&mut self) -> Result<Vec<Sha256Digest>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT id FROM location_authorities
                 WHERE revoked_at IS NOT NULL AND swept_at IS NULL ORDER BY revoked_at, id",
            )
            .fetch_all(connection)
            .await?
        });
        rows.iter().map(|(id,)| digest(id)).collect()
    }

    /// Notes that no tag of this authority is a current one any more.
    pub(crate) async fn mark_swept(
        &mut self,
        id: &Sha256Digest,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE location_authorities SET swept_at = $2 WHERE id = $1")
                .bind(&id.0[..])
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Public keys of the location authorities that are believed.
    pub(crate) async fn authorities(&mut self) -> Result<Vec<[u8; 32]>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT public_key FROM location_authorities WHERE revoked_at IS NULL ORDER BY id")
                .fetch_all(connection)
                .await?
        });
        rows.into_iter()
            .map(|(key,)| {
                <[u8; 32]>::try_from(key).map_err(|_| StoreError::Malformed("authority key"))
            })
            .collect()
    }

    /// Every authority that ever was believed, the oldest first.
    pub(crate) async fn all_authorities(&mut self) -> Result<Vec<KeptAuthority>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, Option<i64>)> = on!(self, connection => {
            sqlx::query_as("SELECT id, added_at, revoked_at FROM location_authorities ORDER BY added_at, id")
                .fetch_all(connection)
                .await?
        });
        let kept = |(id, added_at, revoked_at): (Vec<u8>, i64, Option<i64>)| {
            Ok(KeptAuthority {
                id: digest(&id)?,
                added_at,
                revoked_at,
            })
        };
        rows.into_iter().map(kept).collect()
    }

    /// Makes `tag` the current one of `host` if its serial is higher. `false`: it is not. `moved_from`: where the
    /// host was proven to be last.
    pub(crate) async fn set_tag(
        &mut self,
        host: &HostId,
        serial: i64,
        tag: &[u8],
        moved_from: Option<&Place>,
        now: i64,
    ) -> Result<bool, StoreError> {
        let moved_from = moved_from.map(serde_json::to_string).transpose();
        let moved_from = moved_from.map_err(|_| StoreError::Malformed("place"))?;
        let higher = on!(self, connection => {
            sqlx::query(
                "INSERT INTO location_tags (host, serial, tag, moved_from) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (host) DO UPDATE SET serial = excluded.serial, tag = excluded.tag, void = 0,
                     revoked = 0, proven = 0, moved_from = excluded.moved_from
                 WHERE excluded.serial > location_tags.serial",
            )
            .bind(host.as_str())
            .bind(serial)
            .bind(tag)
            .bind(moved_from)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1;
        if higher {
            self.end_tag(host, TagEnd::Superseded.word(), now).await?;
            on!(self, connection => {
                sqlx::query("INSERT INTO location_history (host, serial, tag, issued_at) VALUES ($1, $2, $3, $4)")
                    .bind(host.as_str())
                    .bind(serial)
                    .bind(tag)
                    .bind(now)
                    .execute(connection)
                    .await?;
            });
        }
        Ok(higher)
    }

    /// Notes in the history why the current tag of `host` is it no more.
    pub(super) async fn end_tag(
        &mut self,
        host: &HostId,
        why: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE location_history SET ended_at = $2, ended_by = $3 WHERE host = $1 AND ended_by IS NULL")
                .bind(host.as_str())
                .bind(now)
                .bind(why)
                .execute(connection)
                .await?;
        });
        Ok(())
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

    /// Takes back the current tag of `host`, which names other EKs than it has now: another one must be issued.
    pub(crate) async fn void_tag(&mut self, host: &HostId, now: i64) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE location_tags SET void = 1 WHERE host = $1")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        self.end_tag(host, "endorsement-keys-added", now).await
    }

    /// Takes back the current tag of `host`; it counts no more, and is still known.
    pub(crate) async fn revoke_tag(
        &mut self,
        host: &HostId,
        end: TagEnd,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE location_tags SET revoked = 1 WHERE host = $1")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        self.end_tag(host, end.word(), now).await
    }

    /// Notes that a round proved the current tag of `host` for the first time.
    pub(crate) async fn mark_tag_proven(
        &mut self,
        host: &HostId,
        serial: i64,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE location_tags SET proven = 1 WHERE host = $1 AND serial = $2")
                .bind(host.as_str())
                .bind(serial)
                .execute(&mut *connection)
                .await?;
            sqlx::query("UPDATE location_history SET proven_at = $3 WHERE host = $1 AND serial = $2")
                .bind(host.as_str())
                .bind(serial)
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Serial and bytes of the current tag of `host`, revoked or not.
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

    /// The current tag of `host`, unless it was taken back.
    pub(crate) async fn tag_in_force(
        &mut self,
        host: &HostId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT tag FROM location_tags WHERE host = $1 AND void = 0 AND revoked = 0")
                .bind(host.as_str())
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(tag,)| tag))
    }

    /// Current tags that nobody took back, of the first hosts whose names come after `after`; none: that was the
    /// last of them.
    pub(crate) async fn tags_in_force(
        &mut self,
        after: &str,
    ) -> Result<Vec<(HostId, Vec<u8>)>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT host, tag FROM location_tags WHERE host > $1 AND void = 0 AND revoked = 0
                 ORDER BY host LIMIT $2",
            )
            .bind(after)
            .bind(PAGE)
            .fetch_all(connection)
            .await?
        });
        let named = |(host, tag): (String, Vec<u8>)| Ok((host_id(&host)?, tag));
        rows.into_iter().map(named).collect()
    }

    /// Every tag that `host` ever had, the oldest first.
    pub(crate) async fn tag_history(&mut self, host: &HostId) -> Result<Vec<KeptTag>, StoreError> {
        type Row = (
            Vec<u8>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<String>,
        );
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT tag, issued_at, proven_at, ended_at, ended_by FROM location_history
                 WHERE host = $1 ORDER BY serial",
            )
            .bind(host.as_str())
            .fetch_all(connection)
            .await?
        });
        let kept = |(tag, issued_at, proven_at, ended_at, ended_by)| KeptTag {
            tag,
            issued_at,
            proven_at,
            ended_at,
            ended_by,
        };
        Ok(rows.into_iter().map(kept).collect())
    }
}
