//! What a program gets instead of an answer: RFC 9457, with the codes that the commands have.

use std::borrow::Cow;

use hyper::header::HeaderValue;
use puente_model::Lang;
use puente_words::say;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::{Exit, Failure};
use crate::http::{Body, Response, StatusCode, header, reply};

/// `application/problem+json` (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Written {
    /// `urn:puente:problem:` and the code.
    r#type: String,
    /// Stable name of the cause, never translated.
    code: Cow<'static, str>,
    /// What is wrong, in the caller's language.
    title: String,
    /// What to do about it, in the caller's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The status of the answer.
    status: u16,
    /// More, by the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<Map<String, Value>>,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Debug)]
pub(super) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    title: String,
    detail: Option<String>,
    more: Map<String, Value>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
}

/// Ends of a question that no repetition of the request changes.
const ENDED: [&str; 4] = ["timed-out", "unreleased", "not-processed", "disputed"];

fn status_of(code: &str, exit: Exit) -> StatusCode {
    match (code, exit) {
        ("unknown-exchange" | "unknown-type", _) => StatusCode::NOT_FOUND,
        ("not-yours" | "officer", _) => StatusCode::FORBIDDEN,
        ("not-waiting" | "already-confirmed", _) => StatusCode::CONFLICT,
        ("stopping" | "disk" | "log-unavailable" | "log-suspended", _) => StatusCode::SERVICE_UNAVAILABLE,
        _ if ENDED.contains(&code) => StatusCode::CONFLICT,
        (_, Exit::Unreachable | Exit::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::at(status_of(failure.code, failure.exit), failure)
    }
}

impl Problem {
    /// With a status of its own.
    pub(super) fn at(status: StatusCode, failure: Failure) -> Self {
        let more = match *failure.details {
            Value::Null => Map::new(),
            Value::Object(more) => more,
            other => Map::from_iter([("errors".to_owned(), other)]),
        };
        Self(Box::new(Inner {
            status,
            code: failure.code.into(),
            title: failure.message,
            detail: failure.hint,
            more,
            retry_after: None,
            allow: None,
        }))
    }

    /// What the node itself says.
    pub(super) fn said(code: String, message: String, hint: String) -> Self {
        let status = status_of(&code, Exit::Usage);
        let detail = (!hint.is_empty()).then_some(hint);
        let (code, more) = (code.into(), Map::new());
        Self(Box::new(Inner { status, code, title: message, detail, more, retry_after: None, allow: None }))
    }

    /// With when to come again, in seconds.
    pub(super) fn later(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// With the method that the path knows.
    pub(super) fn allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// With more for programs.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.more.insert(name.to_owned(), value);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The answer.
    pub(super) fn render(self, lang: Lang) -> Response<Body> {
        let Inner { status, code, title, detail, more, retry_after, allow } = *self.0;
        let written = Written {
            r#type: format!("urn:puente:problem:{code}"),
            code,
            title: say(lang, &title).into_owned(),
            detail: detail.map(|detail| say(lang, &detail).into_owned()),
            status: status.as_u16(),
            more: Some(more).filter(|more| !more.is_empty()),
        };
        // Texts and numbers serialise.
        let bytes = serde_json::to_vec(&written).unwrap_or_default();
        let mut response = reply(status, "application/problem+json", bytes);
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"puente\""));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}
