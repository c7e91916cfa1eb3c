//! A bounded, little-endian reader: event logs are written by x86 firmware.

use super::parse::BootLogError;

#[derive(Clone)]
pub(super) struct LittleEndian<'a> {
    rest: &'a [u8],
}

impl<'a> LittleEndian<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], BootLogError> {
        let (front, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(BootLogError::Truncated)?;
        self.rest = rest;
        Ok(front)
    }

    /// As many bytes as the next four bytes say.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], BootLogError> {
        let length = usize::try_from(self.u32()?).map_err(|_| BootLogError::Truncated)?;
        self.bytes(length)
    }

    pub(super) fn u8(&mut self) -> Result<u8, BootLogError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, BootLogError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, BootLogError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, BootLogError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BootLogError> {
        let (front, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(BootLogError::Truncated)?;
        self.rest = rest;
        Ok(*front)
    }
}

/// UTF-16, little-endian, as text; `None` for an odd number of bytes or a lone surrogate.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    odd.is_empty()
        .then(|| String::from_utf16(&units).ok())
        .flatten()
}
