//! What a request says beside its path: language, parameters, body, `Idempotency-Key`, and the exchange that it names.

use hyper::body::Bytes;
use hyper::http::request::Parts;
use puente_model::{ExchangeId, Lang};
use serde::de::DeserializeOwned;

use super::once::KEY_BYTES_MAX;
use super::problem::Problem;
use super::route::Route;
use crate::cli::Failure;
use crate::http::{StatusCode, header};

/// The language that a program prefers of the two that there are (RFC 9110, 12.5.4).
pub(super) fn language(head: &Parts) -> Lang {
    let wanted = head.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut best = (Lang::En, 0.0);
    for range in wanted.split(',').take(16) {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        let lang = match tag.split('-').next() {
            Some("es") => Lang::Es,
            Some("en" | "*") => Lang::En,
            _ => continue,
        };
        if weight > best.1 {
            best = (lang, weight);
        }
    }
    best.0
}

/// A body as its type; what is wrong with it, and where, goes to whoever sent it alone.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let failure = Failure::usage("malformed", "the request's body is not what this path takes")
            .hint("/v1/openapi.json describes it, with an example");
        Problem::at(StatusCode::BAD_REQUEST, failure).with("why", error.to_string().into())
    })
}

/// What stands after the `?`, decoded; nothing but what the path knows, and each once.
pub(super) fn queries(route: &Route, head: &Parts) -> Result<Vec<(&'static str, String)>, Problem> {
    let bad = || {
        let failure = Failure::usage("parameter", "a parameter after '?' is none of this path's, or not well-formed")
            .hint("/v1/openapi.json names them");
        Problem::at(StatusCode::BAD_REQUEST, failure)
    };
    let mut out: Vec<(&'static str, String)> = Vec::new();
    for pair in head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(bad)?;
        let known = route.query.iter().map(|(known, _)| *known).find(|known| *known == name).ok_or_else(bad)?;
        if out.iter().any(|(other, _)| *other == known) {
            return Err(bad());
        }
        out.push((known, decoded(value).ok_or_else(bad)?));
    }
    Ok(out)
}

/// Percent-decoding (RFC 3986); none if it is malformed or no text.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                out.extend(hex::decode(digits).ok()?);
                rest = tail;
            }
            b'+' => out.push(b' '),
            other => out.push(*other),
        }
    }
    String::from_utf8(out).ok()
}

pub(super) fn parameter<T: std::str::FromStr>(
    given: &[(&'static str, String)],
    name: &str,
) -> Result<Option<T>, Problem> {
    let Some((_, text)) = given.iter().find(|(other, _)| *other == name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let failure = Failure::usage("parameter", "a parameter after '?' has a value that it cannot have")
            .hint("/v1/openapi.json names them");
        Problem::at(StatusCode::BAD_REQUEST, failure).with("parameter", name.into())
    })
}

/// The `Idempotency-Key` of a request, with or without the quotes of a structured header.
pub(super) fn idempotency_key(head: &Parts) -> Result<Option<String>, Problem> {
    let Some(value) = head.headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if !text.is_empty() && text.len() <= KEY_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Some(text.to_owned()));
    }
    let failure = Failure::usage("idempotency-key", "the Idempotency-Key is empty, too long or not plain text")
        .hint("send 1 to 128 letters, digits and signs, for example a UUID");
    Err(Problem::at(StatusCode::BAD_REQUEST, failure))
}

/// The exchange that a path names.
pub(super) fn exchange(named: Option<&str>) -> Result<ExchangeId, Problem> {
    named.unwrap_or_default().parse().map_err(|_| {
        let failure = Failure::usage("unknown-exchange", "an exchange is named by 32 hexadecimal digits")
            .hint("'puente query list' shows the questions of this node");
        failure.into()
    })
}
