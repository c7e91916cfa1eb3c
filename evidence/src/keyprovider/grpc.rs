//! The protocol's messages as gRPC carries them: one message of one field, `bytes = 1`, behind a length (gRPC over
//! HTTP/2, "Length-Prefixed-Message"; Protocol Buffers, "Message Structure").
//!
//! Two calls with one field do not need a code generator and a framework; these bytes are all that there is to it.

use zeroize::Zeroizing;

use super::MESSAGE_MAX;

/// Path of the call that wraps.
pub const WRAP: &str = "/keyprovider.KeyProviderService/WrapKey";
/// Path of the call that unwraps.
pub const UNWRAP: &str = "/keyprovider.KeyProviderService/UnWrapKey";
/// `Content-Type` of requests and answers.
pub const CONTENT_TYPE: &str = "application/grpc";
/// Bytes before a message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// Largest body that holds one message: its head, and tags of fields that are skipped.
pub const BODY_MAX: usize = MESSAGE_MAX + 1024;
/// Field 1, of bytes.
const TAG: u8 = 0x0a;

/// Status codes that the calls end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Ok,
    /// The request says what cannot be done.
    InvalidArgument,
    /// This caller may not, or not now.
    PermissionDenied,
    /// Too many ask at once.
    ResourceExhausted,
    /// There is no such call.
    Unimplemented,
    /// Whoever decides cannot be asked.
    Unavailable,
}

impl Status {
    /// The number in `grpc-status`.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::InvalidArgument => 3,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::Unimplemented => 12,
            Self::Unavailable => 14,
        }
    }
}

/// Why a body is not one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not exactly one whole message.
    #[error("the body is not one gRPC message")]
    Length,
    /// Packed, although nothing said that this could be read.
    #[error("compressed gRPC messages are not read; send it as it is")]
    Compressed,
    /// No message of the protocol.
    #[error("the gRPC message holds no field of bytes")]
    Malformed,
}

/// The contents of field 1 in a body of one message. Absent is empty, and the last one counts, as everywhere in
/// Protocol Buffers.
pub fn parse(body: &[u8]) -> Result<&[u8], FrameError> {
    let (&[compressed, a, b, c, d], mut rest) =
        body.split_first_chunk::<HEAD>().ok_or(FrameError::Length)?;
    if compressed != 0 {
        return Err(FrameError::Compressed);
    }
    if usize::try_from(u32::from_be_bytes([a, b, c, d])) != Ok(rest.len()) {
        return Err(FrameError::Length);
    }
    let mut found: &[u8] = &[];
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        rest = match (tag >> 3, tag & 7) {
            (0, _) => return Err(FrameError::Malformed),
            (1, 2) => {
                let (field, after) = sized(after)?;
                found = field;
                after
            }
            (1, _) => return Err(FrameError::Malformed),
            (_, 0) => varint(after)?.1,
            (_, 1) => skip(after, 8)?,
            (_, 2) => sized(after)?.1,
            (_, 5) => skip(after, 4)?,
            _ => return Err(FrameError::Malformed),
        };
    }
    Ok(found)
}

/// A body of one message whose field 1 is `json`, which may be a key.
#[must_use]
pub fn frame(json: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut field = vec![TAG];
    let mut length = json.len();
    while length > 0x7f {
        field.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap_or_default());
    let whole = field.len().saturating_add(json.len());
    let mut body = Zeroizing::new(Vec::with_capacity(whole.saturating_add(HEAD)));
    body.push(0);
    // What is answered comes nowhere near 4 GiB.
    body.extend_from_slice(&u32::try_from(whole).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(&field);
    body.extend_from_slice(json);
    body
}

/// A text as `grpc-message` carries it: printable ASCII but `%`, the rest percent-encoded.
#[must_use]
pub fn message(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'%' => "%25".to_owned(),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The text in a `grpc-message`, for whoever reads an answer. What is no encoding stays as it is.
#[must_use]
pub fn text(message: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((&first, after)) = rest.split_first() {
        let encoded = after.split_first_chunk::<2>().filter(|_| first == b'%');
        let byte = encoded.and_then(|(digits, after)| Some((octet(*digits)?, after)));
        let (byte, after) = byte.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn octet(digits: [u8; 2]) -> Option<u8> {
    let digits = str::from_utf8(&digits).ok()?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)
}

/// Ten bytes at most (Protocol Buffers, "Base 128 Varints").
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), FrameError> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(at).unwrap_or(u32::MAX).saturating_mul(7);
        value |= bits.checked_shl(shift).unwrap_or_default();
        if byte < 0x80 {
            let rest = bytes.get(at.saturating_add(1)..);
            return rest.map(|rest| (value, rest)).ok_or(FrameError::Malformed);
        }
    }
    Err(FrameError::Malformed)
}

fn sized(bytes: &[u8]) -> Result<(&[u8], &[u8]), FrameError> {
    let (length, after) = varint(bytes)?;
    let length = usize::try_from(length).map_err(|_| FrameError::Malformed)?;
    after.split_at_checked(length).ok_or(FrameError::Malformed)
}

fn skip(bytes: &[u8], count: usize) -> Result<&[u8], FrameError> {
    bytes.get(count..).ok_or(FrameError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_framed_is_parsed_again(json in proptest::collection::vec(any::<u8>(), 0..400)) {
            let body = frame(&json);
            prop_assert_eq!(parse(&body), Ok(&json[..]));
        }

        #[test]
        fn a_body_that_is_cut_is_refused(json in proptest::collection::vec(any::<u8>(), 1..300), cut in 1..7_usize) {
            let body = frame(&json);
            prop_assert_eq!(parse(&body[..body.len() - cut]), Err(FrameError::Length));
        }
    }

    #[test]
    fn long_messages_are_framed_too() {
        for length in [0x7f, 0x80, 0x3fff, 0x4000, MESSAGE_MAX] {
            let json = vec![7; length];
            assert_eq!(parse(&frame(&json)), Ok(&json[..]), "{length}");
        }
    }

    fn body(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    #[test]
    fn other_fields_are_skipped_and_the_last_of_ours_counts() {
        let message = [
            &[0x10, 0xff, 0x01][..],
            &[TAG, 1, b'x'],
            &[0x1a, 2, 9, 9],
            &[0x25, 1, 2, 3, 4],
            &[0x29, 1, 2, 3, 4, 5, 6, 7, 8],
            &[TAG, 2, b'o', b'k'],
        ];
        assert_eq!(parse(&body(&message.concat())), Ok(&b"ok"[..]));
        assert_eq!(parse(&body(&[])), Ok(&b""[..]));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for wrong in [
            &[TAG, 2, 1][..],
            &[TAG],
            &[0x08, 1],
            &[0x02, 0],
            &[0x13],
            &[0x80; 11],
            &[TAG, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(parse(&body(wrong)), Err(FrameError::Malformed), "{wrong:?}");
        }
        assert_eq!(parse(&[1, 0, 0, 0, 0]), Err(FrameError::Compressed));
        let two = [body(&[]), body(&[])].concat();
        assert_eq!(parse(&two), Err(FrameError::Length));
    }

    #[test]
    fn texts_are_carried_as_the_specification_says() {
        assert_eq!(message("100 % \"é\"\n"), "100 %25 \"%C3%A9\"%0A");
        assert_eq!(text(b"100 %25 \"%C3%A9\"%0A"), "100 % \"é\"\n");
        assert_eq!(text(b"%+1 %4 %"), "%+1 %4 %");
    }
}
