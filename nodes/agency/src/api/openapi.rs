//! The OpenAPI 3.1 document: made from the table of routes, the types that they take and give, and the catalogue's kinds.

use puente_catalogue::Catalogue;
use puente_model::Lang;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::problem::Written;
use super::route::{Call, ROUTES, Route};
use crate::ops::check::{Words, w};

const ABOUT: Words = w(
    "every request is made for the officer of its API key, and is judged, recorded and answered as the command of the same name is; texts are in the language of Accept-Language (en or es), codes are never translated",
);

/// A text in both languages: OpenAPI has one place for it.
fn said(words: Words) -> String {
    format!("{} / {}", words.get(Lang::En), words.get(Lang::Es))
}

/// The document of a node with this catalogue.
pub(super) fn document(catalogue: &Catalogue) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Written>();
    // A test holds each against its schema.
    let examples: Value = serde_json::from_str(include_str!("examples.json")).unwrap_or_default();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let parameters = parameters(route);
        let gives: Map<String, Value> = route
            .gives
            .iter()
            .map(|(status, shape)| {
                let schema = shape(&mut generator);
                let answer = json!({
                    "description": if *status == 202 { said(w("accepted: it goes on by itself")) } else { said(w("done")) },
                    "content": {"application/json": {"schema": schema}},
                });
                (status.to_string(), answer)
            })
            .chain([(
                "default".to_owned(),
                json!({
                    "description": said(w("not done, and why")),
                    "content": {"application/problem+json": {"schema": problem}},
                }),
            )])
            .collect();
        let mut operation = json!({
            "operationId": id(route),
            "summary": route.summary.get(Lang::En),
            "x-summary-es": route.summary.get(Lang::Es),
            "x-scopes": route.scopes,
            "security": if route.open { json!([]) } else { json!([{"apiKey": []}]) },
            "parameters": parameters,
            "responses": gives,
        });
        if let Some(body) = route.body {
            let schema = body(&mut generator);
            let example = route.example.map(|name| examples[name].clone());
            operation["requestBody"] =
                json!({"required": true, "content": {"application/json": {"schema": schema, "example": example}}});
        }
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    for kind in catalogue.query_kinds() {
        schemas.insert(format!("params-{}", kind.kind()), kind.json_schema());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": said(w("the API of a node, for its own agency's programs")),
            "description": said(ABOUT),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"apiKey": {
                "type": "http", "scheme": "bearer", "description": said(w("an API key; 'puente api-key add' makes one")),
            }},
        },
    })
}

fn id(route: &Route) -> String {
    let words: Vec<&str> = route.path.split('/').skip(2).map(|word| word.trim_matches(['{', '}'])).collect();
    format!("{}-{}", route.method.to_lowercase(), words.join("-").replace('.', "-"))
}

fn parameters(route: &Route) -> Vec<Value> {
    let named = |name: &str, place: &str, required: bool, schema: Value| json!({"name": name, "in": place, "required": required, "schema": schema});
    let mut out = Vec::new();
    if route.path.contains("{id}") {
        out.push(named("id", "path", true, json!({"type": "string", "pattern": "^[0-9a-f]{32}$"})));
    }
    if route.path.contains("{name}") {
        out.push(named("name", "path", true, json!({"type": "string"})));
    }
    out.extend(route.query.iter().map(|(name, schema)| named(name, "query", false, schema())));
    if route.call == Call::Put {
        let schema = json!({"type": "string", "minLength": 1, "maxLength": super::once::KEY_BYTES_MAX});
        let mut key = named("Idempotency-Key", "header", false, schema);
        key["description"] = json!(said(w(
            "the same key within 24 hours never asks twice: the exchange of the first question comes back"
        )));
        out.push(key);
    }
    out.push(named("Accept-Language", "header", false, json!({"type": "string", "examples": ["es-MX, en;q=0.5"]})));
    out
}
