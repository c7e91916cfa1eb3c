//! Any bytes: where a list ends, what it may cost, and never a panic.

use proptest::prelude::*;

use super::workshop::*;
use super::*;

#[test]
fn work_is_bounded() {
    let large = vec![0; LIST_MAX + 1];
    assert_eq!(code(ImaList::parse(&large)), "ima-list-too-large");
    let small = legacy(&[1; 20], "");
    assert_eq!(small.len(), 55);
    let count = usize::try_from(ENTRIES_MAX).unwrap();
    let many = small.repeat(count);
    assert!(ImaList::parse(&many).is_ok());
    let more = small.repeat(count + 1);
    assert_eq!(code(ImaList::parse(&more)), "ima-list-too-many-entries");

    let mut huge = file("/a");
    huge[34..38].fill(0xff);
    assert_eq!(code(ImaList::parse(&huge)), "ima-template-data-too-large");
    let mut huge = file("/a");
    huge[24..28].fill(0xff);
    assert_eq!(code(ImaList::parse(&huge)), "ima-template-unknown");
    let mut huge = file("/a");
    huge[38..42].fill(0xff);
    assert_eq!(code(ImaList::parse(&huge)), "ima-template-data-malformed");
}

#[test]
fn no_list_ends_inside_an_entry() {
    let records = [
        legacy(&[1; 20], "/bin/old"),
        file("/a"),
        violation(b"/b\0"),
        record("ima-sig", &[&d_ng("sha1", &[7; 20]), b"/c\0", &[3, 2]]),
    ];
    let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &records);
    let ends = ends(&boot.list);
    for length in 1..boot.list.len() {
        let parsed = ImaList::parse(&boot.list[..length]);
        if ends.contains(&length) {
            assert!(parsed.is_ok(), "{length}");
        } else {
            assert_eq!(code(parsed), "ima-list-truncated", "{length}");
        }
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes: Vec<u8>) {
        let _ = ImaList::parse(&bytes);
    }

    #[test]
    fn parsing_near_lists_never_panics(at in 0usize..9699, bytes: Vec<u8>, drop in 0usize..40) {
        let mut list = Boot::recorded().list;
        let end = (at + drop).min(list.len());
        list.splice(at..end, bytes);
        if let Ok(list) = ImaList::parse(&list) {
            prop_assert_eq!(list.untrusted_entries().count(), list.records().count());
        }
    }
}
