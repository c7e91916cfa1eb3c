//! The served document, and what its schemas say of a value.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value};
use touchstone_tests::server::Server;

/// An OpenAPI document.
pub(super) struct Document(pub(super) Value);

impl Document {
    /// That of `server`, which asks nobody who reads it.
    pub(super) async fn of(server: &Server) -> Self {
        let (status, document) = server.send(Method::GET, "/openapi.json", None, None).await;
        assert_eq!(status, reqwest::StatusCode::OK, "{document}");
        Self(document)
    }

    /// What it says of a route.
    pub(super) fn operation(&self, method: &Method, path: &str) -> &Value {
        let method = method.as_str().to_lowercase();
        let operation = &self.0["paths"][path][&method];
        assert!(operation.is_object(), "{method} {path} is not described");
        operation
    }

    /// Every operation, with its path.
    pub(super) fn operations(&self) -> impl Iterator<Item = (&String, &Value)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, methods)| {
            let operations = methods.as_object().unwrap().values();
            operations.map(move |operation| (path, operation))
        })
    }

    /// `Content-Type` and schema of the answer.
    pub(super) fn answer<'a>(&self, operation: &'a Value) -> (&'a str, &'a Value) {
        let content = operation["responses"]["200"]["content"].as_object();
        let (media, content) = content.unwrap().iter().next().unwrap();
        (media, &content["schema"])
    }

    /// The schema of the body, where there is one.
    pub(super) fn request<'a>(&self, operation: &'a Value) -> Option<&'a Value> {
        operation.pointer("/requestBody/content/application~1json/schema")
    }

    /// What `schema` refers to, or itself.
    pub(super) fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolved(self.0.pointer(&reference[1..]).unwrap()),
            None => schema,
        }
    }

    /// A validator of `schema`, which may refer to others.
    pub(super) fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        jsonschema::draft202012::new(&schema).unwrap()
    }

    /// Ends the test where `value`, which is that of `what`, does not follow `schema`.
    pub(super) fn assert_valid(&self, schema: &Value, value: &Value, what: &str) {
        let validator = self.validator(schema);
        let errors = validator.iter_errors(value);
        let errors: Vec<String> = errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {value:#}");
    }

    /// The fields that `schema` knows of an object.
    pub(super) fn fields<'a>(&'a self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        self.resolved(schema)["properties"].as_object()
    }
}

/// Everything that a `$ref` in `value` names.
pub(super) fn reached(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str);
            let below = fields.values().flat_map(reached);
            own.map(str::to_owned).into_iter().chain(below).collect()
        }
        Value::Array(items) => items.iter().flat_map(reached).collect(),
        _ => BTreeSet::new(),
    }
}
