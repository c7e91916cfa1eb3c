//! Keys of encrypted layers and their versions, each encrypted under the master key.

use touchstone_evidence::annotation::{KeyName, PolicyName};

use super::{Backend, Store, StoreError, Tx, on};

/// A secret, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrapped {
    /// Id of the master key.
    pub(crate) master: String,
    pub(crate) bytes: Vec<u8>,
}

/// What may be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Everything.
    Active,
    /// Nothing, until it is enabled again.
    Disabled,
    /// Nothing, ever: its bytes are gone.
    Destroyed,
}

impl KeyState {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
        }
    }

    pub(super) fn of(word: &str) -> Option<Self> {
        [Self::Active, Self::Disabled, Self::Destroyed]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// Where the bytes of a version come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They were made here.
    Made,
    /// An operator brought them.
    Imported,
}

impl Origin {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Imported => "imported",
        }
    }
}

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerKeyRecord {
    pub(crate) name: KeyName,
    /// The `WorkloadPolicy` whose host half decides.
    pub(crate) policy: PolicyName,
    /// Whether it demands a registered image.
    pub(crate) registered: bool,
    pub(crate) state: KeyState,
    /// The version that wraps.
    pub(crate) version: u32,
    /// Seconds since 1970, as are the others.
    pub(crate) created_at: i64,
    pub(crate) destroyed_at: Option<i64>,
}

/// One version of a key, encrypted under the master key.
pub(crate) struct WrappedVersion {
    pub(crate) name: KeyName,
    pub(crate) version: u32,
    pub(crate) wrapped: Wrapped,
}

type Row = (String, String, i64, String, i64, i64, Option<i64>);
type VersionRow = (
    String,
    String,
    i64,
    String,
    i64,
    i64,
    Option<i64>,
    Option<Vec<u8>>,
    Option<String>,
);

const MALFORMED: StoreError = StoreError::Malformed("layer key");

const VERSION: &str = "SELECT k.name, k.policy, k.registered, k.state, k.version, k.created_at, k.destroyed_at, v.wrapped, v.master
     FROM layer_keys AS k JOIN layer_key_versions AS v ON v.name = k.name
     WHERE k.name = $1 AND v.version = $2";

fn versioned(row: VersionRow) -> Result<(LayerKeyRecord, Option<Wrapped>), StoreError> {
    let (name, policy, registered, state, last, made, gone, bytes, master) = row;
    let record = record((name, policy, registered, state, last, made, gone))?;
    let wrapped = bytes.zip(master);
    let wrapped = wrapped.map(|(bytes, master)| Wrapped { master, bytes });
    Ok((record, wrapped))
}

impl Store {
    /// As [`Tx::key_version`], in one statement without a transaction.
    pub(crate) async fn key_version(
        &self,
        name: &KeyName,
        version: u32,
    ) -> Result<Option<(LayerKeyRecord, Option<Wrapped>)>, StoreError> {
        let (name, version) = (name.as_str(), i64::from(version));
        let row: Option<VersionRow> = match &self.backend {
            Backend::Sqlite { readers, .. } => {
                let query = sqlx::query_as(VERSION).bind(name).bind(version);
                query.fetch_optional(readers).await?
            }
            Backend::Postgres(pool) => {
                let query = sqlx::query_as(VERSION).bind(name).bind(version);
                query.fetch_optional(pool).await?
            }
        };
        row.map(versioned).transpose()
    }
}

impl Tx {
    /// Every key there ever was, by name.
    pub(crate) async fn layer_keys(&mut self) -> Result<Vec<LayerKeyRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT name, policy, registered, state, version, created_at, destroyed_at FROM layer_keys
                 ORDER BY name",
            )
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// One key.
    pub(crate) async fn layer_key(
        &mut self,
        name: &KeyName,
    ) -> Result<Option<LayerKeyRecord>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT name, policy, registered, state, version, created_at, destroyed_at FROM layer_keys
                 WHERE name = $1",
            )
            .bind(name.as_str())
            .fetch_optional(connection)
            .await?
        });
        row.map(record).transpose()
    }

    /// A version of a key, with the key. `None`: there never was such a version.
    pub(crate) async fn key_version(
        &mut self,
        name: &KeyName,
        version: u32,
    ) -> Result<Option<(LayerKeyRecord, Option<Wrapped>)>, StoreError> {
        let row: Option<VersionRow> = on!(self, connection => {
            sqlx::query_as(VERSION)
                .bind(name.as_str())
                .bind(i64::from(version))
                .fetch_optional(connection)
                .await?
        });
        row.map(versioned).transpose()
    }

    /// Keeps a new key, without a version yet. `false`: the name is taken, and always will be.
    pub(crate) async fn add_layer_key(&mut self, key: &LayerKeyRecord) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(
                "INSERT INTO layer_keys (name, policy, registered, state, version, created_at)
                 VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT DO NOTHING",
            )
            .bind(key.name.as_str())
            .bind(key.policy.as_str())
            .bind(i64::from(key.registered))
            .bind(key.state.word())
            .bind(key.created_at)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Keeps the next version of a key, which wraps from now on.
    pub(crate) async fn add_key_version(
        &mut self,
        WrappedVersion {
            name,
            version,
            wrapped,
        }: &WrappedVersion,
        origin: Origin,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE layer_keys SET version = $2 WHERE name = $1")
                .bind(name.as_str())
                .bind(i64::from(*version))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "INSERT INTO layer_key_versions (name, version, wrapped, master, origin, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(name.as_str())
            .bind(i64::from(*version))
            .bind(&wrapped.bytes)
            .bind(&wrapped.master)
            .bind(origin.word())
            .bind(now)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Lets a key be used, or not, until that is changed again.
    pub(crate) async fn set_key_state(
        &mut self,
        name: &KeyName,
        state: KeyState,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE layer_keys SET state = $2 WHERE name = $1")
                .bind(name.as_str())
                .bind(state.word())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Deletes the bytes of all versions of a key.
    pub(crate) async fn destroy_layer_key(
        &mut self,
        name: &KeyName,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE layer_keys SET state = 'destroyed', destroyed_at = $2 WHERE name = $1")
                .bind(name.as_str())
                .bind(now)
                .execute(&mut *connection)
                .await?;
            sqlx::query("UPDATE layer_key_versions SET wrapped = NULL, master = NULL WHERE name = $1")
                .bind(name.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Every version that is not destroyed.
    pub(crate) async fn wrapped_versions(&mut self) -> Result<Vec<WrappedVersion>, StoreError> {
        let rows: Vec<(String, i64, Vec<u8>, String)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT name, version, wrapped, master FROM layer_key_versions WHERE wrapped IS NOT NULL
                 ORDER BY name, version",
            )
            .fetch_all(connection)
            .await?
        });
        let rows = rows.into_iter().map(|(name, version, bytes, master)| {
            Ok(WrappedVersion {
                name: name.parse().map_err(|_| MALFORMED)?,
                version: u32::try_from(version).map_err(|_| MALFORMED)?,
                wrapped: Wrapped { master, bytes },
            })
        });
        rows.collect()
    }

    /// Puts the same key, encrypted anew, in the place of what was kept.
    pub(crate) async fn rewrap_version(&mut self, anew: &WrappedVersion) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE layer_key_versions SET wrapped = $3, master = $4 WHERE name = $1 AND version = $2")
                .bind(anew.name.as_str())
                .bind(i64::from(anew.version))
                .bind(&anew.wrapped.bytes)
                .bind(&anew.wrapped.master)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Ids of the master keys under which something is encrypted.
    pub(crate) async fn master_keys(&mut self) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT master FROM layer_key_versions WHERE master IS NOT NULL
                 UNION SELECT master FROM import_keys ORDER BY 1",
            )
            .fetch_all(connection)
            .await?
        });
        Ok(rows.into_iter().map(|(master,)| master).collect())
    }
}

fn record(
    (name, policy, registered, state, version, created_at, destroyed_at): Row,
) -> Result<LayerKeyRecord, StoreError> {
    Ok(LayerKeyRecord {
        name: name.parse().map_err(|_| MALFORMED)?,
        policy: policy.parse().map_err(|_| MALFORMED)?,
        registered: registered != 0,
        state: KeyState::of(&state).ok_or(MALFORMED)?,
        version: u32::try_from(version).map_err(|_| MALFORMED)?,
        created_at,
        destroyed_at,
    })
}
