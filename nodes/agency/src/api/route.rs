//! Every path of the API, once: what is asked by it, who may, what it takes and gives. Requests are matched with this table, and the
//! OpenAPI document is made from it.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::bodies;
use super::keys::Scope;
use crate::control_api::Concluded;
use crate::ops::check::{Words, w};
use crate::outbox::Shown;

/// What is asked: a command of the control socket each, or something that the catalogue knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Put,
    List,
    Status,
    Wait,
    Result,
    Confirm,
    Refute,
    Cancel,
    Inbox,
    Show,
    Answer,
    Approve,
    Refuse,
    NeedsData,
    Node,
    Peers,
    Catalogue,
    Schema,
    Description,
}

/// A parameter after the `?`: its name and schema.
type Parameter = (&'static str, fn() -> Value);

/// A schema of the answers or the body.
type Shape = fn(&mut SchemaGenerator) -> Schema;

/// One path and method.
pub(super) struct Route {
    pub(super) call: Call,
    pub(super) method: &'static str,
    /// `{id}` and `{name}` stand for a segment.
    pub(super) path: &'static str,
    /// Scopes any of which is enough; none: any key.
    pub(super) scopes: &'static [Scope],
    /// Needs no key at all.
    pub(super) open: bool,
    pub(super) summary: Words,
    pub(super) body: Option<Shape>,
    /// Name of a body that fits, in `examples.json`.
    pub(super) example: Option<&'static str>,
    /// What may stand after the `?`.
    pub(super) query: &'static [Parameter],
    /// Statuses of success, and what comes with them.
    pub(super) gives: &'static [(u16, Shape)],
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn object(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object"})
}

fn node(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "required": ["node", "version", "ready", "problems", "peers"],
        "properties": {
            "node": {"type": "string"}, "version": {"type": "string"}, "ready": {"type": "boolean"},
            "problems": {"type": "array", "items": {"type": "object", "required": ["code", "state", "message", "fix"]}},
            "peers": {"type": "array", "items": {"type": "object", "required": ["peer", "connections"]}},
        },
    })
}

fn peers(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "required": ["peers"],
        "properties": {"peers": {"type": "array", "items": {
            "type": "object",
            "required": ["peer", "own", "name_en", "name_es", "roles", "suspended"],
            "properties": {"peer": {"type": "string"}, "own": {"type": "boolean"}, "suspended": {"type": "boolean"}},
        }}},
    })
}

fn catalogue(_: &mut SchemaGenerator) -> Schema {
    let both = json!({"type": "object", "required": ["en", "es"]});
    schemars::json_schema!({
        "type": "object",
        "required": ["digest", "types", "kinds"],
        "properties": {
            "digest": {"type": "string"},
            "types": {"type": "array", "items": {"type": "object", "required": ["type", "label"], "properties": {"label": both}}},
            "kinds": {"type": "array", "items": {"type": "object", "required": ["kind", "label", "steps"], "properties": {"label": both}}},
        },
    })
}

const ASK: &[Scope] = &[Scope::Ask];
const ANSWER: &[Scope] = &[Scope::Answer];
const READ: &[Scope] = &[Scope::Read];

const fn get(call: Call, path: &'static str, summary: Words) -> Route {
    let (scopes, body, example) = (ASK, None, None);
    Route { call, method: "GET", path, scopes, open: false, summary, body, example, query: &[], gives: &[] }
}

const fn post(call: Call, path: &'static str, summary: Words) -> Route {
    Route { method: "POST", ..get(call, path, summary) }
}

/// Every route.
pub(super) static ROUTES: &[Route] = &[
    Route {
        body: Some(shape::<bodies::Put>),
        example: Some("put"),
        gives: &[(202, shape::<Concluded>)],
        ..post(Call::Put, "/v1/questions", w("Put a question; it goes on by itself once it stands in the log."))
    },
    Route {
        scopes: &[Scope::Ask, Scope::Read],
        query: &[
            ("to", || json!({"type": "string"})),
            ("open", || json!({"type": "boolean"})),
            ("limit", || json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 50})),
        ],
        gives: &[(200, shape::<bodies::Questions>)],
        ..get(Call::List, "/v1/questions", w("The questions of the key's officer: states and dates, never a subject."))
    },
    Route {
        scopes: &[Scope::Ask, Scope::Read],
        gives: &[(200, shape::<Shown>)],
        ..get(Call::Status, "/v1/questions/{id}", w("Where one question stands; records nothing."))
    },
    Route {
        query: &[("seconds", || json!({"type": "integer", "minimum": 0, "maximum": 50, "default": 30}))],
        gives: &[(200, shape::<Concluded>), (202, shape::<Concluded>)],
        ..get(Call::Wait, "/v1/questions/{id}/wait", w("Wait for the answer; 202 if none has come in time."))
    },
    Route {
        gives: &[(200, shape::<Concluded>)],
        ..get(
            Call::Result,
            "/v1/questions/{id}/result",
            w("The answer again; where fields were disclosed, CONSULT is recorded."),
        )
    },
    Route {
        body: Some(shape::<bodies::Confirm>),
        example: Some("confirm"),
        gives: &[(202, shape::<Concluded>)],
        ..post(
            Call::Confirm,
            "/v1/questions/{id}/confirm",
            w(
                "Confirm a hit: CONFIRM is recorded and core data is asked for, once; sent again it gives 409 with the id of that question.",
            ),
        )
    },
    Route {
        body: Some(shape::<bodies::Refute>),
        example: Some("refute"),
        gives: &[(200, shape::<bodies::Recorded>)],
        ..post(Call::Refute, "/v1/questions/{id}/refute", w("Refute a hit: REFUTE is recorded and nothing is asked."))
    },
    Route {
        gives: &[(200, shape::<Concluded>)],
        ..post(Call::Cancel, "/v1/questions/{id}/cancel", w("Give a question up; its number is voided."))
    },
    Route {
        scopes: &[Scope::Answer, Scope::Read],
        gives: &[(200, shape::<bodies::Waits>)],
        ..get(Call::Inbox, "/v1/inbox", w("Other agencies' questions that wait for a person here; shows no subject."))
    },
    Route {
        scopes: ANSWER,
        gives: &[(200, shape::<Concluded>)],
        ..get(
            Call::Show,
            "/v1/inbox/{id}",
            w("One of them, for an officer whose role decides on it: CONSULT is recorded."),
        )
    },
    Route {
        scopes: ANSWER,
        body: Some(shape::<bodies::Note>),
        example: Some("approve"),
        gives: &[(200, shape::<Concluded>)],
        ..post(
            Call::Approve,
            "/v1/inbox/{id}/confirm",
            w("Answer; a step-1 hit is confirmed by the officer who looked."),
        )
    },
    Route {
        scopes: ANSWER,
        body: Some(shape::<bodies::Note>),
        example: Some("answer"),
        gives: &[(200, shape::<Concluded>)],
        ..post(Call::Answer, "/v1/inbox/{id}/answer", w("Answer with what the policy permits."))
    },
    Route {
        scopes: ANSWER,
        body: Some(shape::<bodies::Refuse>),
        example: Some("refuse"),
        gives: &[(200, shape::<Concluded>)],
        ..post(
            Call::Refuse,
            "/v1/inbox/{id}/refuse",
            w("Refuse, with the class of the reason and words in both languages."),
        )
    },
    Route {
        scopes: ANSWER,
        body: Some(shape::<bodies::NeedsData>),
        example: Some("needs-data"),
        gives: &[(200, shape::<Concluded>)],
        ..post(Call::NeedsData, "/v1/inbox/{id}/needs-data", w("Say which fields the question lacks."))
    },
    Route { scopes: READ, gives: &[(200, node)], ..get(Call::Node, "/v1/node", w("How the node is.")) },
    Route {
        scopes: READ,
        gives: &[(200, peers)],
        ..get(Call::Peers, "/v1/peers", w("The members of the charter, with their connections."))
    },
    Route {
        scopes: &[],
        gives: &[(200, catalogue)],
        ..get(Call::Catalogue, "/v1/catalogue", w("Every record type and every kind of question."))
    },
    Route {
        scopes: &[],
        gives: &[(200, object)],
        ..get(
            Call::Schema,
            "/v1/catalogue/{name}/schema",
            w("The JSON Schema of a record type, or of a question's parameters."),
        )
    },
    Route {
        scopes: &[],
        open: true,
        gives: &[(200, object)],
        ..get(Call::Description, "/v1/openapi.json", w("This description; needs no key."))
    },
];

/// What a path leads to.
pub(super) enum Found<'p> {
    Route(&'static Route, Option<&'p str>),
    /// Other methods alone.
    Methods(&'static str),
    Nothing,
}

/// The route of a method and a path, with what stands in the place of `{…}`.
pub(super) fn find<'p>(method: &str, path: &'p str) -> Found<'p> {
    let mut methods = "";
    for route in ROUTES {
        let Some(named) = matched(route.path, path) else { continue };
        if route.method == method {
            return Found::Route(route, named);
        }
        methods = match (methods, route.method) {
            ("POST", "GET") | ("GET", "POST") => "GET, POST",
            (_, other) => other,
        };
    }
    if methods.is_empty() { Found::Nothing } else { Found::Methods(methods) }
}

fn matched<'p>(pattern: &str, path: &'p str) -> Option<Option<&'p str>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut named = None;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(named),
            (Some(place), Some(segment)) if place.starts_with('{') && !segment.is_empty() => named = Some(segment),
            (Some(one), Some(other)) if one == other => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_table_says() {
        let call = |method: &str, path: &str| match find(method, path) {
            Found::Route(route, named) => format!("{:?} {}", route.call, named.unwrap_or_default()),
            Found::Methods(methods) => methods.to_owned(),
            Found::Nothing => "nothing".to_owned(),
        };
        assert_eq!(call("POST", "/v1/questions"), "Put ");
        assert_eq!(call("GET", "/v1/questions/ab"), "Status ab");
        assert_eq!(call("GET", "/v1/catalogue/vehicle.status/schema"), "Schema vehicle.status");
        assert_eq!(call("DELETE", "/v1/questions"), "GET, POST");
        assert_eq!(call("POST", "/v1/node"), "GET");
        for path in
            ["/", "", "/v1", "/v1/questions/", "/v1//wait", "/v1/questions/ab/wait/", "/v2/questions", "/v1/Questions"]
        {
            assert_eq!(call("GET", path), "nothing", "{path}");
        }
    }
}
