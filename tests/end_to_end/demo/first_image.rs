//! README, "Encrypt your first image": its commands, run as they are written.

use std::fs;

use touchstone_tests::containers::rights;

use super::kept::{Kept, root, text};

/// The lines of the first block of shell in this section of README.
fn commands(section: &str) -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = readme.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, block) = section.split_once("\n```sh\n").unwrap();
    let (block, _) = block.split_once("\n```\n").unwrap();
    block.lines().map(str::to_owned).collect()
}

#[test]
fn the_five_commands_of_the_readme_encrypt_an_image_that_opens_in_germany_alone() {
    if !rights::allow_containers() {
        return;
    }
    let kept = Kept::nothing();
    let commands = commands("Encrypt your first image");
    assert_eq!(commands.len(), 5);
    let (refused, good) = commands.split_last().unwrap();
    let said: Vec<String> = good
        .iter()
        .map(|line| {
            let output = kept.shell(line);
            let said = text(&output);
            assert!(output.status.success(), "{line}: {said}");
            said
        })
        .collect();
    assert!(said[3].contains("hello from your first encrypted image"));
    let output = kept.shell(refused);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("us-1 stands in US"), "{said}");
    assert!(said.contains("outside the region `germany`"), "{said}");
    assert!(!said.contains("hello from"), "{said}");
}
