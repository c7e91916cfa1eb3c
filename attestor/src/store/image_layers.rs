//! Which layers registered images hold.

use touchstone_evidence::annotation::Binding;
use touchstone_evidence::oci_digest::OciDigest;

use super::{StoreError, Tx, on};

impl Tx {
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
