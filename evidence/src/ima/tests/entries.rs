//! What a single entry says, and what covers it.

use super::workshop::*;
use super::*;

#[test]
fn the_template_hash_must_be_that_of_the_data() {
    let boot = Boot::recorded();
    let at = ends(&boot.list)[6];
    let changed = |offset: usize, bytes: &[u8]| {
        let mut list = boot.list.clone();
        list[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        list
    };
    let with_label = |label: &str| {
        let digest = d_ng(label, &[7; 32]);
        let data = [sized(&digest), sized(b"/x\0")].concat();
        let made = record_of(&[9; 20], "ima-ng", &data);
        [&boot.list[..at], &made].concat()
    };
    assert_eq!(&boot.list[at + 43..at + 51], b"sha256:\0");
    for (what, list, expected) in [
        ("hash", changed(4, &[0xaa]), "ima-template-hash-mismatch"),
        ("path", changed(90, b"X"), "ima-template-hash-mismatch"),
        ("digest", changed(60, &[1]), "ima-template-hash-mismatch"),
        // Relabelled as another algorithm with digests of that size, one of another size, and none.
        ("size", with_label("sha3-256"), "ima-template-hash-mismatch"),
        (
            "other size",
            changed(43, b"sha512"),
            "ima-template-data-malformed",
        ),
        ("none", with_label("md5"), "ima-digest-algorithm-unknown"),
    ] {
        assert_eq!(boot.code_of(&list), expected, "{what}");
    }
    // A file passed off as a violation: what the hash says is then extended otherwise.
    assert_eq!(boot.code_of(&changed(4, &[0; 20])), "ima-replay-mismatch");
}

#[test]
fn what_no_hash_covers_is_not_believed() {
    // The PCR of a record.
    let boot = Boot::recorded();
    let mut list = boot.list.clone();
    let at = ends(&list)[6];
    list[at] = 11;
    assert_eq!(boot.code_of(&list), "ima-pcr-unexpected");
    // The template's name: unknown, of another form, of the same form.
    let name = at + 28;
    for (other, expected) in [
        (b"abc-sig", "ima-template-unknown"),
        (b"evm-sig", "ima-template-data-malformed"),
        (b"ima-buf", "ima-template-relabelled"),
    ] {
        let mut list = boot.list.clone();
        list[name..name + 7].copy_from_slice(other);
        assert_eq!(boot.code_of(&list), expected);
    }
}

#[test]
fn only_a_signature_is_taken_for_one() {
    // Nothing but the kernel's kinds of signature stands where one does.
    let text = record("ima-sig", &[&d_ng("sha1", &[1; 20]), b"/x\0", b"text"]);
    let refused = code(ImaList::parse(&text));
    assert_eq!(refused, "ima-template-data-malformed");
    // A buffer shown as a file whose signature is the buffer.
    let buffer = b"\x03buffer";
    let digest = d_ng("sha256", &sha256(buffer));
    let made = record("ima-buf", &[&digest, b"kexec-cmdline\0", buffer]);
    let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &[made]);
    boot.replay().unwrap();
    let mut list = boot.list.clone();
    let name = ends(&list)[0] + 28;
    list[name..name + 7].copy_from_slice(b"ima-sig");
    assert_eq!(boot.code_of(&list), "ima-template-relabelled");
}

#[test]
fn the_path_of_a_violation_is_told_as_untrusted() {
    let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &[violation(b"/a\0")]);
    let mut list = boot.list.clone();
    let letter = list.len() - 2;
    list[letter] = b'b';
    let (entries, _) = boot.replay_of(&list).unwrap();
    let Entry::Violation { untrusted_path } = entries[1] else {
        panic!("a violation is expected")
    };
    assert_eq!(untrusted_path.as_bytes(), b"/b");
}

#[test]
fn a_path_is_one_string_and_is_shown_as_one() {
    let digest = d_ng("sha256", &[7; 32]);
    let long = |length: usize| [vec![b'a'; length], vec![0]].concat();
    for wrong in [
        &b""[..],
        b"/bin/sh",
        b"/bin/sh\0/x\0",
        b"/bin/sh\0\0",
        &long(PATH_MAX),
    ] {
        let list = record("ima-ng", &[&digest, wrong]);
        assert_eq!(code(ImaList::parse(&list)), "ima-path-malformed");
    }
    for (path, shown) in [
        (
            "/a\n10 ff ima-ng sha256:00 /b",
            "/a\\x0a10 ff ima-ng sha256:00 /b",
        ),
        ("/a\\x0a", "/a\\\\x0a"),
        ("/é", "/\\xc3\\xa9"),
    ] {
        let boot = Boot::made(Bank::Sha256, Extension::TemplateHash, &[file(path)]);
        let (entries, _) = boot.replay().unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(measured(&entries, 1).path.as_bytes(), path.as_bytes());
        assert_eq!(measured(&entries, 1).path.to_string(), shown);
    }
    let longest = record("ima-ng", &[&digest, &long(PATH_MAX - 1)]);
    assert!(ImaList::parse(&longest).is_ok());
    let legacy = |name: &str| self::legacy(&[1; 20], name);
    assert!(ImaList::parse(&legacy(&"a".repeat(255))).is_ok());
    assert_eq!(code(ImaList::parse(&legacy("a\0"))), "ima-path-malformed");
    let mut long_name = legacy(&"a".repeat(255));
    long_name[51..55].copy_from_slice(&256u32.to_le_bytes());
    long_name.push(b'a');
    assert_eq!(code(ImaList::parse(&long_name)), "ima-path-malformed");
}
