//! Messages as recorded from skopeo and podman, both forms, and what is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn written(bytes: &[u8], form: Form) -> Value {
    match form {
        Form::Base64 => STANDARD.encode(bytes).into(),
        Form::Numbers => bytes.to_vec().into(),
    }
}

fn wrap_message(options: &[u8], names: &[&str], form: Form) -> Vec<u8> {
    let names: Vec<Value> = names
        .iter()
        .map(|name| written(name.as_bytes(), form))
        .collect();
    let message = json!({
        "op": "keywrap",
        "keywrapparams": {
            "ec": {
                "Parameters": { "touchstone": names, "privkeys": ["not base64"] },
                "DecryptConfig": { "Parameters": {} },
            },
            "optsdata": written(options, form),
        },
        "keyunwrapparams": { "dc": null, "annotation": null },
    });
    serde_json::to_vec(&message).unwrap()
}

fn unwrap_message(annotation: &[u8], form: Form) -> Vec<u8> {
    unwrap_with(annotation, &Value::Null, form)
}

fn unwrap_with(annotation: &[u8], parameters: &Value, form: Form) -> Vec<u8> {
    let message = json!({
        "op": "keyunwrap",
        "keywrapparams": { "ec": null, "optsdata": null },
        "keyunwrapparams": { "dc": { "Parameters": parameters }, "annotation": written(annotation, form) },
    });
    serde_json::to_vec(&message).unwrap()
}

fn forms() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Base64), Just(Form::Numbers)]
}

proptest! {
    #[test]
    fn a_message_is_read_in_either_form(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        form in forms(),
    ) {
        let wrap = Request::parse(&wrap_message(&bytes, &["payments"], form)).unwrap();
        let parameters = vec![b"payments".to_vec()];
        let options = Zeroizing::new(bytes.clone());
        prop_assert_eq!(wrap, Request::Wrap { options, parameters, form });
        let unwrap = Request::parse(&unwrap_message(&bytes, form)).unwrap();
        prop_assert_eq!(unwrap, Request::Unwrap { annotation: bytes, parameters: Vec::new(), form });
    }

    #[test]
    fn an_answer_is_json_in_the_form_that_was_asked_in(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        form in forms(),
    ) {
        let answer: Value = serde_json::from_slice(&wrapped(&bytes, form)).unwrap();
        prop_assert_eq!(answer, json!({ "keywrapresults": { "annotation": written(&bytes, form) } }));
        let answer: Value = serde_json::from_slice(&unwrapped(&bytes, form)).unwrap();
        prop_assert_eq!(answer, json!({ "keyunwrapresults": { "optsdata": written(&bytes, form) } }));
    }
}

#[test]
fn what_is_too_large_is_refused_while_it_is_read() {
    for form in [Form::Base64, Form::Numbers] {
        assert!(Request::parse(&wrap_message(&[9; OPTIONS_MAX], &[], form)).is_ok());
        let more = Request::parse(&wrap_message(&[9; OPTIONS_MAX + 1], &[], form));
        assert!(matches!(more, Err(MessageError::Malformed(_))), "{form:?}");
        assert!(Request::parse(&unwrap_message(&[9; ANNOTATION_MAX], form)).is_ok());
        let more = Request::parse(&unwrap_message(&[9; ANNOTATION_MAX + 1], form));
        assert!(matches!(more, Err(MessageError::Malformed(_))), "{form:?}");
    }
    let huge = vec![b' '; MESSAGE_MAX + 1];
    assert_eq!(
        Request::parse(&huge),
        Err(MessageError::TooLarge(huge.len()))
    );
}

#[test]
fn an_error_quotes_nothing_of_the_message() {
    let secret = br#"{"op":"keywrap","keywrapparams":{"optsdata":"hush hush"}}"#;
    let said = Request::parse(secret).unwrap_err().to_string();
    assert!(said.contains("line 1") && !said.contains("hush"), "{said}");
}

#[test]
fn one_key_is_named_and_no_other_number() {
    let key = |names: &[&str]| {
        let message = wrap_message(b"{}", names, Form::Base64);
        let Request::Wrap { parameters, .. } = Request::parse(&message).unwrap() else {
            panic!("it is a wrap");
        };
        key_of(&parameters)
    };
    assert_eq!(key(&["payments"]).unwrap().as_str(), "payments");
    assert_eq!(key(&[]), Err(MessageError::Keys(0)));
    assert_eq!(key(&["a", "b"]), Err(MessageError::Keys(2)));
    assert_eq!(key(&["Not A Name"]), Err(MessageError::Name));
}

#[test]
fn the_manifest_that_an_unwrap_names_is_read() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let image = format!("registry.example:5000/team/app:v1@{digest}");
    for form in [Form::Base64, Form::Numbers] {
        let read = |names: &[&str]| {
            let names: Vec<Value> = names
                .iter()
                .map(|name| written(name.as_bytes(), form))
                .collect();
            let message = unwrap_with(
                b"{}",
                &json!({ "touchstone": names, "other": ["eA=="] }),
                form,
            );
            let Request::Unwrap { parameters, .. } = Request::parse(&message).unwrap() else {
                panic!("it is an unwrap");
            };
            manifest_of(&parameters)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["node"]), Ok(None));
        assert_eq!(read(&["node", &image]), Ok(Some(digest.parse().unwrap())));
        assert_eq!(read(&["app@sha512:00"]), Err(MessageError::Manifest));
        assert_eq!(read(&[&image, &image]), Err(MessageError::Manifests(2)));
    }
}

#[test]
fn an_operation_without_its_part_is_refused() {
    let said = |text: &str| Request::parse(text.as_bytes()).unwrap_err();
    assert_eq!(
        said(r#"{"op":"keywrap"}"#),
        MessageError::Nothing("keywrap")
    );
    assert_eq!(
        said(r#"{"op":"keyunwrap","keyunwrapparams":{"annotation":null}}"#),
        MessageError::Nothing("keyunwrap")
    );
    assert_eq!(said(r#"{"op":"rewrap"}"#), MessageError::Operation);
    assert!(matches!(said("[]"), MessageError::Malformed(_)));
}

/// What skopeo, podman and containerd sent to a provider, and what they took from it.
#[test]
fn recorded_exchanges_are_read_and_answered_alike() {
    let Some(corpus) = crate::corpus::folder("no recorded message was read") else {
        return;
    };
    let file = corpus.join("../recorded/ocicrypt/keyprovider-exchanges.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let (mut wraps, mut unwraps, mut answers) = (0, 0, 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let message = &line["message"];
        if line["dir"] == "in" {
            match Request::parse(&serde_json::to_vec(message).unwrap()).unwrap() {
                Request::Wrap { options, form, .. } => {
                    assert!(crate::annotation::layer_of(&options).is_ok());
                    assert_eq!(form, Form::Base64);
                    wraps += 1;
                }
                Request::Unwrap { annotation, .. } => {
                    assert!(annotation.starts_with(b"{\"kid\""));
                    unwraps += 1;
                }
            }
            continue;
        }
        let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
        let ours = match &message["keywrapresults"]["annotation"] {
            Value::Null => unwrapped(
                &bytes(&message["keyunwrapresults"]["optsdata"]),
                Form::Base64,
            )
            .to_vec(),
            annotation => wrapped(&bytes(annotation), Form::Base64),
        };
        let ours: Value = serde_json::from_slice(&ours).unwrap();
        assert_eq!(&ours, message);
        answers += 1;
    }
    assert_eq!((wraps, unwraps, answers), (2, 12, 8));
}
