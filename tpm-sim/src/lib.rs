//! .

pub mod swtpm;
