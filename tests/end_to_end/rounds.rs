//! Rounds: what a host can say about itself, and what is believed.

mod logs;
mod order;
mod quotes;

use touchstone_tests::world::World;

/// The verdict that the attestor holds, by which a refusal shows that it changed nothing.
async fn held_entry(world: &World) -> String {
    let host = world.server.get("/v1/hosts/de-1").await;
    host["entry"].as_str().unwrap().to_owned()
}
