//! Raw evidence: kept exactly as it was received, since its digest stands in the log, but for the text of its boot
//! log. Most hosts send the same ones at each boot, and `boot_logs` has each of them once.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded;

use super::{StoreError, Tx, on};

/// What stands before the text of a boot log.
const BEFORE_LOG: &[u8] = b"\"boot_log\":\"";

/// Evidence as it is kept.
pub(crate) struct RawEvidence<'a> {
    /// SHA-256 of it as it was received.
    pub(super) digest: Sha256Digest,
    /// What was received, before and after the text of the boot log.
    pub(super) parts: (&'a [u8], &'a [u8]),
    /// Digest of the log that was taken out between them.
    pub(super) boot_log: Option<Sha256Digest>,
}

impl<'a> RawEvidence<'a> {
    /// `boot_log`: the log that `body` brings, if it is kept in the same transaction.
    pub(crate) fn of(
        digest: Sha256Digest,
        body: &'a [u8],
        boot_log: Option<(Sha256Digest, &[u8])>,
    ) -> Self {
        let whole = Self {
            digest,
            parts: (body, &[]),
            boot_log: None,
        };
        let Some((log_digest, log)) = boot_log else {
            return whole;
        };
        let Some(parts) = around(body, log.len()) else {
            return whole;
        };
        Self {
            parts,
            boot_log: Some(log_digest),
            ..whole
        }
    }
}

/// What is before and after the text of the log, which is `log` bytes, in evidence that was read: only there can this
/// name stand, only once, and a text of the shortest length that says these bytes is their one base64url.
fn around(body: &[u8], log: usize) -> Option<(&[u8], &[u8])> {
    let mut windows = body.windows(BEFORE_LOG.len());
    let name = windows.position(|window| window == BEFORE_LOG)?;
    let start = name.checked_add(BEFORE_LOG.len())?;
    let end = start.checked_add(encoded::text_length(log)?)?;
    let after = body.get(end..)?;
    let whole = after.first() == Some(&b'"');
    whole.then_some((body.get(..start)?, after))
}

type Row = (Vec<u8>, Option<i64>, Option<Vec<u8>>);

impl Tx {
    /// The evidence of the round whose entry has this index, as it was received; it must have the digest that the
    /// entry names. `None`: it is not kept.
    pub(crate) async fn evidence(
        &mut self,
        entry: u64,
        digest: &Sha256Digest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let altered = StoreError::Malformed("evidence");
        let index = i64::try_from(entry).map_err(|_| StoreError::Malformed("index"))?;
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT e.body, e.boot_log_at, l.body FROM evidence AS e
                 LEFT JOIN boot_logs AS l ON l.digest = e.boot_log WHERE e.entry = $1",
            )
            .bind(index)
            .fetch_optional(connection)
            .await?
        });
        let Some((mut body, log_at, log)) = row else {
            return Ok(None);
        };
        if let Some(at) = log_at {
            let at = usize::try_from(at).ok().filter(|at| *at <= body.len());
            let (Some(at), Some(log)) = (at, log) else {
                return Err(altered);
            };
            body.splice(at..at, encoded::text(&log).into_bytes());
        }
        match Sha256Digest::of(&body) == *digest {
            true => Ok(Some(body)),
            false => Err(altered),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn put_back(body: &[u8], log: &[u8]) -> (Vec<u8>, bool) {
        let digest = Sha256Digest::of(body);
        let raw = RawEvidence::of(digest, body, Some((Sha256Digest::of(log), log)));
        let (before, after) = raw.parts;
        let text = raw.boot_log.map(|_| encoded::text(log));
        let text = text.unwrap_or_default();
        let cut = raw.boot_log.is_some();
        ([before, text.as_bytes(), after].concat(), cut)
    }

    #[test]
    fn the_boot_log_is_taken_out_and_put_back_to_the_byte() {
        for length in [0, 1, 2, 3, 300] {
            let log: Vec<u8> = (0..length).map(|byte| (byte * 7 % 251) as u8).collect();
            let text = encoded::text(&log);
            let body =
                format!(r#"{{"boot_log_digest":"ab", "boot_log":"{text}" ,"banks":"{text}"}}"#);
            assert_eq!(put_back(body.as_bytes(), &log), (body.into_bytes(), true));
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_kept_whole() {
        let log = b"\xfb\xff log";
        let text = encoded::text(log);
        let escaped = text.replacen('_', "\\u005f", 1);
        assert_ne!(text, escaped);
        for body in [
            format!(r#"{{"boot_log":"{escaped}"}}"#),
            format!(r#"{{"boot_log" : "{text}"}}"#),
            format!(r#"{{"boot_log":"{text}"#),
            r#"{"boot_log":""#.to_owned(),
            String::new(),
        ] {
            let whole = (body.clone().into_bytes(), false);
            assert_eq!(put_back(body.as_bytes(), log), whole, "{body}");
        }
    }
}
