//! Lists of our own boots, lists made here, and what must not replay.

mod bounds;
mod corpus;
mod entries;
mod part;
mod quoted;
mod replay;
mod workshop;

use super::*;
