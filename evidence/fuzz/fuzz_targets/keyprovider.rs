//! Messages of ocicrypt's key-provider protocol, as JSON and as gRPC carries it: what is read is answered in the form
//! in which it came, and what is answered reads back.

#![no_main]

use serde_json::Value;
use touchstone_evidence::keyprovider::{
    Form, MESSAGE_MAX, Request, grpc, manifest_of, unwrapped, wrapped,
};

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let framed = grpc::parse(data).ok();
    if let Some(json) = framed {
        assert_eq!(grpc::parse(&grpc::frame(json)), Ok(json));
    }
    let text = String::from_utf8_lossy(data);
    assert_eq!(grpc::text(grpc::message(&text).as_bytes()), text);
    let Ok(request) = Request::parse(framed.unwrap_or(data)) else {
        return false;
    };
    assert!(data.len() <= MESSAGE_MAX || framed.is_some());
    let (answer, results, field, form) = match &request {
        Request::Wrap { options, form, .. } => (
            wrapped(options, *form),
            "keywrapresults",
            "annotation",
            form,
        ),
        Request::Unwrap {
            annotation,
            parameters,
            form,
        } => {
            let _named = manifest_of(parameters);
            let answer = unwrapped(annotation, *form).to_vec();
            (answer, "keyunwrapresults", "optsdata", form)
        }
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let bytes = &answer[results][field];
    assert_eq!(bytes.is_string(), *form == Form::Base64);
    assert_eq!(bytes.is_array(), *form == Form::Numbers);
    true
}
