//! Join tokens: as text, and as the JSON inside it.

#![no_main]

use touchstone_evidence::wire::JoinToken;

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).ok();
    let token = text
        .and_then(|text| text.parse().ok())
        .or_else(|| serde_json::from_slice::<JoinToken>(data).ok());
    let Some(token) = token else { return false };
    let written = token.to_text();
    // 16 KiB of text are read; JSON may hold more.
    if written.len() <= 16 * 1024 {
        assert_eq!(written.parse(), Ok(token.clone()));
        assert_eq!(format!(" {written}\n").parse(), Ok(token.clone()));
    }
    assert_eq!(
        format!("{token:?}"),
        format!("join token for {}", token.server)
    );
    true
}
