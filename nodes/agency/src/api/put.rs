//! Putting a question, once.

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use puente_model::Lang;
use serde_json::json;

use super::bodies::Put;
use super::once::{Before, Once};
use super::problem::Problem;
use super::request::read;
use super::visit::{Given, Turn, concluded, done, json_of};
use crate::cli::conclusion::{self, About};
use crate::cli::query::{self, Bench};
use crate::cli::{Failure, client};
use crate::control_api::Concluded;
use crate::http::{StatusCode, header};
use crate::node::now;

impl Turn<'_> {
    /// Puts a question; under an `Idempotency-Key`, unless it was put before.
    pub(super) async fn put(&self, body: &Bytes, once: Option<String>) -> Given {
        let wish = read::<Put>(body)?.wish(self.caller.officer.clone())?;
        let bench = Bench { bearings: &self.bearings, lang: self.lang, now: now() };
        let checked = query::check(bench, &wish)?;
        let node = &self.visit.0.node;
        let Some(key) = once else {
            let said = concluded(node.put(checked.question, None).await)?;
            return self.asked(&wish, &said, &checked.warnings);
        };
        let desk = node.desk();
        let half = desk.once.half(self.caller.key, &key);
        node.questions_known().await.map_err(|answer| match done(answer) {
            Err(problem) => problem,
            Ok(_) => client::unexpected().into(),
        })?;
        let digest = Once::body(body);
        let reused = || {
            let failure =
                Failure::usage("idempotency-key-reused", "another question was put with this Idempotency-Key")
                    .hint("send a new key with a new question");
            Problem::from(failure)
        };
        match desk.once.begin(half) {
            Before::UnderWay => {
                let failure =
                    Failure::usage("idempotency-key-in-use", "a question with this Idempotency-Key is being put")
                        .hint("send the same request again in a second");
                Err(Problem::at(StatusCode::CONFLICT, failure).later(1))
            }
            Before::Put(_, Some(before)) if before != digest => Err(reused()),
            Before::Put(exchange, before) => {
                let (_, shown) = self.own(Some(&exchange.to_string())).await?;
                let same = shown.to == wish.to
                    && shown.kind == wish.kind.as_str()
                    && shown.step == wish.step.to_string()
                    && shown.purpose == wish.purpose
                    && shown.case_ref == wish.case_ref
                    && shown.training == wish.training;
                if before.is_none() && !same {
                    return Err(reused());
                }
                let said = Concluded::Asked { exchange: exchange.to_string() };
                let mut response = self.asked(&wish, &said, &[])?;
                response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
                Ok(response)
            }
            Before::Never => {
                let said = concluded(node.put(checked.question, Some(half)).await);
                match &said {
                    Ok(Concluded::Asked { exchange }) if let Ok(exchange) = exchange.parse() => {
                        desk.once.put(half, exchange, Some(digest));
                    }
                    _ => desk.once.forget(half),
                }
                self.asked(&wish, &said?, &checked.warnings)
            }
        }
    }

    /// A question that was put, or why it was not.
    fn asked(&self, wish: &query::Wish, said: &Concluded, warnings: &[String]) -> Given {
        let kind = self.bearings.catalogue.query_kind(wish.kind.as_str()).ok_or_else(client::unexpected)?;
        let about = About { kind, to: &wish.to, training: wish.training };
        let report = conclusion::report(self.lang, &self.bearings, &about, said)?;
        match said {
            Concluded::Asked { exchange } => {
                let mut value = report.json;
                if let (Some(object), false) = (value.as_object_mut(), warnings.is_empty()) {
                    object.insert("warnings".to_owned(), json!(warnings));
                }
                let mut response = json_of(StatusCode::ACCEPTED, &value)?;
                if let Ok(place) = HeaderValue::try_from(format!("/v1/questions/{exchange}")) {
                    response.headers_mut().insert(header::LOCATION, place);
                }
                Ok(response)
            }
            Concluded::Refused { explanation, .. } => {
                let words = if self.lang == Lang::Es { &explanation.text_es } else { &explanation.text_en };
                let failure = Failure::findings("refused", "this node's own policy does not permit the question");
                let failure = failure.hint(words.clone());
                Err(Problem::at(StatusCode::FORBIDDEN, failure).with("conclusion", report.json))
            }
            _ => json_of(StatusCode::ACCEPTED, &report.json),
        }
    }
}
