//! A bounded, big-endian reader over bytes that nobody vouches for.

/// Bytes that are not the TPM structure they should be.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum TpmFormatError {
    /// A field reaches past the end.
    #[error("the structure ends too early")]
    Truncated,
    /// Bytes are left over.
    #[error("{0} bytes follow the structure")]
    Trailing(usize),
    /// A length or count is larger than any TPM produces.
    #[error("the {0} is larger than the bound")]
    TooMany(&'static str),
    /// A value has no meaning here.
    #[error("the {0} is not one that is understood")]
    Unknown(&'static str),
}

/// Reads from the front; never past the end.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], TpmFormatError> {
        let (front, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(TpmFormatError::Truncated)?;
        self.rest = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmFormatError> {
        let (front, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(TpmFormatError::Truncated)?;
        self.rest = rest;
        Ok(*front)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, TpmFormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, TpmFormatError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, TpmFormatError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, TpmFormatError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A `TPM2B`: a length of two bytes and that many bytes, at most `most`. `what` names it in errors.
    pub fn sized(&mut self, most: usize, what: &'static str) -> Result<&'a [u8], TpmFormatError> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(TpmFormatError::TooMany(what));
        }
        self.bytes(length)
    }

    /// Ends the reading: nothing may be left.
    pub fn finish(self) -> Result<(), TpmFormatError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(TpmFormatError::Trailing(left)),
        }
    }
}

/// Appends a `TPM2B` to `out`; `None` when the bytes do not fit its length.
pub(crate) fn write_sized(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&u16::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}
