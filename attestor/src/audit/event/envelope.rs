//! What every entry has, whatever it is about, and the bytes that are kept of it.

use serde::Serialize;

use super::super::Actor;
use super::Event;

#[derive(Serialize)]
struct Envelope<'a> {
    v: u8,
    /// Random: an entry is known by its leaf hash, so no two may be the same bytes.
    id: String,
    time: i64,
    actor: &'static str,
    /// Name of the credential that was shown, of those that operators hand out.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(flatten)]
    event: &'a Event,
}

pub(in crate::audit) fn encode(
    id: [u8; 16],
    event: &Event,
    actor: &Actor,
    time: i64,
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Envelope {
        v: 1,
        id: hex::encode(id),
        time,
        actor: actor.word(),
        credential: actor.credential(),
        event,
    })
}
