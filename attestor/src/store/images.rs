//! Registered images, and the plain layers that were proven to be in them.

use touchstone_evidence::annotation::{Binding, KeyName};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::oci_digest::OciDigest;

use super::log::digest;
use super::{StoreError, Tx, on};

/// An image as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageRecord {
    pub(crate) manifest: OciDigest,
    /// Where it was found when it was registered.
    pub(crate) reference: String,
    pub(crate) config: OciDigest,
    /// Its layers, the lowest first: JSON.
    pub(crate) layers: String,
    /// Whether every layer is encrypted.
    pub(crate) encrypted: bool,
    /// Name of the credential that registered it.
    pub(crate) publisher: String,
    /// Seconds since 1970.
    pub(crate) registered_at: i64,
}

/// A plain layer in an image, and a version of a key that it is wrapped under.
pub(crate) struct ImageLayerKey {
    pub(crate) layer: OciDigest,
    pub(crate) key: KeyName,
    pub(crate) version: u32,
}

type Row = (Vec<u8>, String, Vec<u8>, String, i64, String, i64);

impl Tx {
    /// Keeps an image. `false`: its manifest was registered before, and stays as it is.
    pub(crate) async fn add_image(
        &mut self,
        image: &ImageRecord,
        keys: &[ImageLayerKey],
    ) -> Result<bool, StoreError> {
        let manifest = &image.manifest.0.0[..];
        let added = on!(self, connection => {
            sqlx::query(
                "INSERT INTO images (manifest, reference, config, layers, encrypted, publisher, registered_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(manifest)
            .bind(&image.reference)
            .bind(&image.config.0.0[..])
            .bind(&image.layers)
            .bind(i64::from(image.encrypted))
            .bind(&image.publisher)
            .bind(image.registered_at)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1;
        for key in keys.iter().filter(|_| added) {
            on!(self, connection => {
                sqlx::query(
                    "INSERT INTO image_layer_keys (manifest, layer, name, version) VALUES ($1, $2, $3, $4)
                     ON CONFLICT DO NOTHING",
                )
                .bind(manifest)
                .bind(&key.layer.0.0[..])
                .bind(key.key.as_str())
                .bind(i64::from(key.version))
                .execute(connection)
                .await?;
            });
        }
        Ok(added)
    }

    /// Every registered image, the newest first.
    pub(crate) async fn images(&mut self) -> Result<Vec<ImageRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT manifest, reference, config, layers, encrypted, publisher, registered_at FROM images
                 ORDER BY registered_at DESC, manifest",
            )
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// The registered image with this manifest.
    pub(crate) async fn image(
        &mut self,
        manifest: &OciDigest,
    ) -> Result<Option<ImageRecord>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT manifest, reference, config, layers, encrypted, publisher, registered_at FROM images
                 WHERE manifest = $1",
            )
            .bind(&manifest.0.0[..])
            .fetch_optional(connection)
            .await?
        });
        row.map(record).transpose()
    }

    /// Whether the registered image with this manifest holds what an annotation is bound to.
    pub(crate) async fn image_holds(
        &mut self,
        manifest: &OciDigest,
        bound: &Binding,
    ) -> Result<bool, StoreError> {
        let (held,): (i64,) = on!(self, connection => {
            sqlx::query_as(
                "SELECT count(*) FROM image_layer_keys WHERE manifest = $1 AND layer = $2 AND name = $3 AND version = $4",
            )
            .bind(&manifest.0.0[..])
            .bind(&bound.layer.0.0[..])
            .bind(bound.key.as_str())
            .bind(i64::from(bound.key_version))
            .fetch_one(connection)
            .await?
        });
        Ok(held > 0)
    }
}

fn record(row: Row) -> Result<ImageRecord, StoreError> {
    let (manifest, reference, config, layers, encrypted, publisher, registered_at) = row;
    let oci = |bytes: &[u8]| -> Result<OciDigest, StoreError> {
        let digest: Sha256Digest = digest(bytes)?;
        Ok(OciDigest(digest))
    };
    Ok(ImageRecord {
        manifest: oci(&manifest)?,
        reference,
        config: oci(&config)?,
        layers,
        encrypted: encrypted != 0,
        publisher,
        registered_at,
    })
}
