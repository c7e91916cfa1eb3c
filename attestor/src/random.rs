//! Random bytes of the operating system.

/// The system gave no random bytes: nothing that needs them may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub(crate) struct NoRandomness;

/// `N` fresh random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// The same into a place that they are not to leave.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
}
