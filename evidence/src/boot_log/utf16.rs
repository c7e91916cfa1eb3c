//! Text of firmware.

/// UTF-16, little-endian, as text; `None` for an odd number of bytes or a lone surrogate.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    odd.is_empty()
        .then(|| String::from_utf16(&units).ok())
        .flatten()
}
