//! `touchstone-agent transit` where there is no secret, and where nobody answers.

use std::os::unix::net::UnixListener;

use super::scene;
use touchstone_tests::transit::{Transit, command};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_secret_is_encrypted_only_when_that_is_said() {
    let (world, host, _maker) = scene().await;
    let _transit = Transit::start(&host, &world.server);
    let run = |more: &[&str], input: &[u8]| command(&host, &world.server, more, input);
    let output = run(&["encrypt", "disks"], b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`--allow-empty`"), "{said}");
    let text = run(&["encrypt", "disks", "--allow-empty"], b"").stdout;
    assert!(text.starts_with(b"vault:v1:"));
    let output = run(&["decrypt", "disks"], &text);
    assert!(output.status.success() && output.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_does_not_answer_is_named_and_given_up() {
    let (world, host, _maker) = scene().await;
    let socket = world.server.folder().join("elsewhere.sock");
    let path = socket.to_str().unwrap();
    let said = |command: &[&str], more: &[&str]| {
        let all = [command, &["--socket", path], more].concat();
        let mut command = host.agent_command(&world.server, &all);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let transit = ["transit", "decrypt", "disks"];
    let away = said(&transit, &[]);
    assert!(away.contains("`--socket` or TOUCHSTONE_TRANSIT"), "{away}");
    let away = said(&["keyprovider"], &[]);
    assert!(
        away.contains("`--socket` or TOUCHSTONE_KEYPROVIDER"),
        "{away}"
    );
    // It lets everybody in and says nothing.
    let _mute = UnixListener::bind(&socket).unwrap();
    for command in [&transit[..], &["keyprovider"]] {
        let late = said(command, &["--patience", "1"]);
        assert!(late.contains("no answer yet from"), "{late}");
    }
}
