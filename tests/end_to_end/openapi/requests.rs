//! A body that its schema refuses is refused, and one that it allows is read: examples, changed in every place.

use reqwest::Method;
use serde_json::{Value, json};

use super::callers::Callers;

/// A field that no schema has.
const UNKNOWN: &str = "nobody-described-it";

/// Longer than every bound but those of logs.
const LONG: usize = 22_000;

/// `body` with one change, in each place of it.
fn changed(body: &Value) -> Vec<Value> {
    let mut bodies: Vec<Value> = [json!(null), json!({}), json!(7), json!("text")].into();
    match body {
        Value::Object(fields) => {
            let mut more = body.clone();
            more[UNKNOWN] = json!(true);
            bodies.push(more);
            for (name, value) in fields {
                let mut fewer = fields.clone();
                fewer.remove(name);
                bodies.push(fewer.into());
                for value in changed(value) {
                    let mut other = body.clone();
                    other[name] = value;
                    bodies.push(other);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                for item in changed(item) {
                    let mut other = body.clone();
                    other[at] = item;
                    bodies.push(other);
                }
            }
        }
        Value::String(_) => bodies.push(json!("A".repeat(LONG))),
        _ => {}
    }
    bodies
}

/// Whether the server read the body as what the route takes, whatever it made of it then.
fn is_read(answer: &Value) -> bool {
    let code = answer["type"].as_str().unwrap_or_default();
    !["touchstone:malformed-body", "touchstone:review-version"].contains(&code)
}

/// The fields that the server says it knows where one of [`UNKNOWN`] name stood.
fn known_fields(answer: &Value) -> Option<Vec<&str>> {
    let (_, known) = answer["detail"].as_str()?.split_once(UNKNOWN)?;
    let (_, known) = known.split_once("expected")?;
    let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    known.sort_unstable();
    Some(known)
}

/// Whether the example has every field that the schema knows, in every object.
fn is_complete(callers: &Callers, schema: &Value, example: &Value) -> bool {
    let document = &callers.document;
    let schema = document.resolved(schema);
    // What may be null as well.
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().any(|one| is_complete(callers, one, example));
    }
    match (document.fields(schema), example) {
        (Some(fields), Value::Object(example)) => fields.iter().all(|(name, schema)| {
            let value = example.get(name);
            value.is_some_and(|value| is_complete(callers, schema, value))
        }),
        (_, Value::Array(items)) => {
            let mut items = items.iter();
            items.all(|item| is_complete(callers, &schema["items"], item))
        }
        (fields, _) => fields.is_none(),
    }
}

/// The schemas of a body, each with its examples.
fn choices<'a>(callers: &'a Callers, schema: &'a Value) -> Vec<(&'a Value, &'a Vec<Value>)> {
    let schema = callers.document.resolved(schema);
    match schema["oneOf"].as_array() {
        Some(several) => {
            let several = several.iter();
            several.flat_map(|one| choices(callers, one)).collect()
        }
        None => vec![(schema, schema["examples"].as_array().unwrap())],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_where_its_schema_allows_it_and_refused_where_not() {
    let callers = Callers::new().await;
    let (mut read, mut refused, mut named) = (0, 0, 0);
    for (method, path, schema) in bodies(&callers) {
        let validator = callers.document.validator(&schema);
        for (schema, examples) in choices(&callers, &schema) {
            for example in examples {
                assert!(is_complete(&callers, schema, example), "{path}: {example}");
                for body in std::iter::once(example.clone()).chain(changed(example)) {
                    let answered = callers.call(&method, &path, "de-9", Some(&body)).await;
                    callers.check(&method, &path, &answered);
                    let (allowed, answer) = (validator.is_valid(&body), &answered.body);
                    assert_eq!(is_read(answer), allowed, "{path}: {body} {answer}");
                    if !allowed {
                        assert!(answered.status.is_client_error(), "{path}: {answer}");
                    }
                    read += usize::from(allowed);
                    refused += usize::from(!allowed);
                }
                named += usize::from(knows_the_same(&callers, &method, &path, example).await);
            }
        }
    }
    eprintln!("{read} bodies are read, {refused} are refused, {named} routes name their fields");
    assert!(read > 100 && refused > 300 && named > 25);
}

/// Every route that takes a body, with the schema of it.
fn bodies(callers: &Callers) -> Vec<(Method, String, Value)> {
    let document = &callers.document;
    let routes = touchstone_attestor::http::routes().into_iter();
    let bodies = routes.filter_map(|route| {
        let operation = document.operation(&route.method, route.path);
        let schema = document.request(operation)?.clone();
        Some((route.method, route.path.to_owned(), schema))
    });
    bodies.collect()
}

/// Compares the fields that the server names with those of `example`; `false`: it names none.
async fn knows_the_same(callers: &Callers, method: &Method, path: &str, example: &Value) -> bool {
    let mut body = example.clone();
    body[UNKNOWN] = json!(true);
    let answered = callers.call(method, path, "de-9", Some(&body)).await;
    let Some(known) = known_fields(&answered.body) else {
        return false;
    };
    let mut described: Vec<&str> = example
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    described.sort_unstable();
    assert_eq!(known, described, "{path}");
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_no_body_reads_none() {
    let callers = Callers::new().await;
    for path in super::BODILESS {
        let body = json!({ UNKNOWN: true });
        let answered = callers.call(&Method::POST, path, "de-1", Some(&body)).await;
        callers.check(&Method::POST, path, &answered);
        assert!(answered.status.is_success(), "{path}: {}", answered.body);
    }
}
