//! One request: who asks, what for, and the one command that it is.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use puente_model::{ExchangeId, Lang};
use serde::Serialize;
use serde_json::{Value, json};

use super::bodies;
use super::problem::Problem;
use super::request::{exchange, idempotency_key, language, parameter, queries, read};
use super::ring::{Caller, Denied};
use super::route::{Call, Found, Route, find};
use super::{Room, openapi};
use crate::cli::conclusion::{self, About};
use crate::cli::query;
use crate::cli::{Failure, Report, catalogue, client, inbox, outbox, peers};
use crate::control::Backend as _;
use crate::control_api::{Answer, Command, Concluded};
use crate::http::{Body, Handler, Refused, Request, Response, StatusCode, header, reply};
use crate::inbox::Decided;
use crate::load::Bearings;
use crate::node::now;
use crate::outbox::{Examined, FollowUp, Shown, Wanted};

/// Longest wait for an answer.
const WAIT_SECONDS_MAX: u64 = 50;
const WAIT_SECONDS: u64 = 30;

/// What one connection is served by.
#[derive(Clone)]
pub(super) struct Visit(pub(super) Arc<Room>);

pub(super) type Given = Result<Response<Body>, Problem>;

impl Handler for Visit {
    async fn answer(&self, request: Request<Bytes>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let lang = language(&head);
        let (name, given) = match self.route(&head) {
            Ok((route, named)) => (route.path, self.serve(route, named, &head, body, lang).await),
            Err(problem) => ("", Err(problem)),
        };
        let status = given.as_ref().map_or_else(Problem::status, Response::status);
        tracing::debug!(route = name, status = status.as_u16(), "api");
        finish(given.unwrap_or_else(|problem| problem.render(lang)), lang)
    }

    fn refused(&self, head: &Parts, why: Refused) -> Response<Body> {
        let lang = language(head);
        let failure = match why {
            Refused::TooLong => {
                Failure::usage("oversized", "the request's body is too long").hint("send at most 256 KiB")
            }
            Refused::Broken => Failure::usage("malformed", "the request's body broke off").hint("send it again"),
            Refused::Slow => {
                Failure::usage("too-slow", "the request's body did not come in time").hint("send it again")
            }
            Refused::NoAnswer => Failure::unreachable("no-answer", "the running node did not answer in time")
                .hint("'puente node status' says how it is doing"),
        };
        finish(Problem::at(why.status(), failure).render(lang), lang)
    }
}

fn finish(mut response: Response<Body>, lang: Lang) -> Response<Body> {
    let headers = response.headers_mut();
    // What was asked and answered stays nowhere on the way.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(if lang == Lang::Es { "es" } else { "en" }));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Language"));
    response
}

pub(super) fn json_of(status: StatusCode, value: &impl Serialize) -> Given {
    let bytes = serde_json::to_vec(value).map_err(|_| client::unexpected())?;
    Ok(reply(status, "application/json", bytes))
}

fn report(status: StatusCode, said: Result<Report, Failure>) -> Given {
    json_of(status, &said?.json)
}

/// What the node answers to a command, if it did it.
pub(super) fn done(answer: Answer) -> Result<Answer, Problem> {
    match answer {
        Answer::Error { code, message, hint } => Err(Problem::said(code, message, hint)),
        answer => Ok(answer),
    }
}

pub(super) fn concluded(answer: Answer) -> Result<Concluded, Problem> {
    match done(answer)? {
        Answer::Concluded(said) => Ok(*said),
        _ => Err(client::unexpected().into()),
    }
}

/// What came of one request that an officer's program made.
pub(super) struct Turn<'v> {
    pub(super) visit: &'v Visit,
    pub(super) caller: Caller,
    pub(super) bearings: Bearings,
    pub(super) lang: Lang,
}

impl Visit {
    fn route<'h>(&self, head: &'h Parts) -> Result<(&'static Route, Option<&'h str>), Problem> {
        match find(head.method.as_str(), head.uri.path()) {
            Found::Route(route, named) => Ok((route, named)),
            Found::Methods(methods) => {
                let failure = Failure::usage("method", "this path knows another method").hint("see the Allow header");
                Err(Problem::at(StatusCode::METHOD_NOT_ALLOWED, failure).allow(methods))
            }
            Found::Nothing => {
                let failure =
                    Failure::usage("no-such-path", "there is no such path").hint("/v1/openapi.json names them");
                Err(Problem::at(StatusCode::NOT_FOUND, failure))
            }
        }
    }

    fn admitted(&self, head: &Parts) -> Result<Caller, Problem> {
        let shown = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' ')).filter(|(how, _)| how.eq_ignore_ascii_case("bearer"));
        let desk = self.0.node.desk();
        let refuse = |class: &'static str, failure: Failure, status| {
            if desk.refused.count(class) {
                tracing::warn!(class, "a request to the API was refused");
            }
            Problem::at(status, failure)
        };
        let caller = desk.ring.caller(shown.map(|(_, key)| key.trim()), now()).map_err(|denied| {
            let (class, failure) = match denied {
                Denied::Missing => ("missing", Failure::usage("api-key", "the request shows no API key")),
                Denied::Unknown => ("unknown", Failure::usage("api-key", "this is no API key of this node's")),
                Denied::Expired => ("expired", Failure::usage("api-key-expired", "the API key has ended")),
                Denied::Revoked => ("revoked", Failure::usage("api-key-revoked", "the API key was revoked")),
            };
            let failure =
                failure.hint("'Authorization: Bearer KEY'; an operator makes a key with 'puente api-key add'");
            refuse(class, failure, StatusCode::UNAUTHORIZED)
        })?;
        match self.0.node.officer_in_force(&caller.officer) {
            Ok(()) => Ok(caller),
            Err(error) => {
                let failure =
                    Failure::usage("officer", error.to_string()).hint("'puente officer list' shows who may ask");
                Err(refuse("officer", failure, StatusCode::FORBIDDEN))
            }
        }
    }

    async fn serve(&self, route: &'static Route, named: Option<&str>, head: &Parts, body: Bytes, lang: Lang) -> Given {
        if route.open {
            return self.description();
        }
        let caller = self.admitted(head)?;
        let desk = self.0.node.desk();
        if !route.scopes.is_empty() && !route.scopes.iter().any(|scope| caller.scopes.contains(scope)) {
            desk.refused.count("scope");
            let scopes: Vec<&str> = route.scopes.iter().map(|scope| scope.as_str()).collect();
            let failure =
                Failure::usage("scope", "the API key's scope does not reach this").details(json!({"scopes": scopes}));
            return Err(Problem::at(StatusCode::FORBIDDEN, failure));
        }
        let pass = desk.ring.enter(caller.key, self.0.pace, Instant::now()).map_err(|seconds| {
            desk.refused.count("rate");
            let failure = Failure::unreachable("rate", "too many requests with this API key")
                .hint("wait as long as Retry-After says; [api] of node.toml sets the limits");
            Problem::at(StatusCode::TOO_MANY_REQUESTS, failure).later(seconds)
        })?;
        let typed = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if route.body.is_some()
            && !typed.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        {
            let failure =
                Failure::usage("media-type", "the body is not said to be JSON").hint("Content-Type: application/json");
            return Err(Problem::at(StatusCode::UNSUPPORTED_MEDIA_TYPE, failure));
        }
        let queries = queries(route, head)?;
        let once = match route.call {
            Call::Put => idempotency_key(head)?,
            _ => None,
        };
        let (visit, named) = (self.clone(), named.map(str::to_owned));
        // Whoever hangs up does not stop what has begun: what is recorded is told to whoever asks again.
        let work = tokio::spawn(async move {
            let _pass = pass;
            let bearings = visit.0.node.bearings_now();
            let turn = Turn { visit: &visit, caller, bearings, lang };
            turn.take(route.call, named.as_deref(), &queries, &body, once).await
        });
        work.await.unwrap_or_else(|_| {
            let failure = Failure::unavailable("internal", "the node failed at this request")
                .hint("look at the node's own output");
            Err(Problem::at(StatusCode::INTERNAL_SERVER_ERROR, failure))
        })
    }

    fn description(&self) -> Given {
        let mut kept = self.0.description.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.get_or_insert_with(|| {
            let document = openapi::document(&self.0.node.bearings_now().catalogue);
            Bytes::from(serde_json::to_vec(&document).unwrap_or_default())
        });
        Ok(reply(StatusCode::OK, "application/json", bytes.clone()))
    }
}

impl Turn<'_> {
    async fn take(
        &self,
        call: Call,
        named: Option<&str>,
        queries: &[(&'static str, String)],
        body: &Bytes,
        once: Option<String>,
    ) -> Given {
        match call {
            Call::Put => self.put(body, once).await,
            Call::List => self.list(queries).await,
            Call::Status => json_of(StatusCode::OK, &self.own(named).await?.1),
            Call::Wait => self.wait(named, parameter(queries, "seconds")?).await,
            Call::Result => {
                let (exchange, shown) = self.own(named).await?;
                let officer = self.caller.officer.clone();
                let said = concluded(self.call(Command::QuestionResult { exchange, officer }).await)?;
                report(StatusCode::OK, self.concluded(&shown, &said))
            }
            Call::Confirm => {
                let bodies::Confirm { facts, offence, urgent, due } = read(body)?;
                query::bounded("offence", &offence, puente_policy::OFFENCE_CHARS_MAX)?;
                query::bounded("urgent", &urgent, query::TEXT_CHARS_MAX)?;
                let due = query::duration(&due)?;
                let due_in_millis = u64::try_from(due.as_millis()).unwrap_or(u64::MAX);
                let follow = FollowUp { due_in_millis, justification: urgent, offence };
                let (shown, said) = self.examine(named, facts, Some(follow)).await?;
                report(StatusCode::ACCEPTED, self.concluded(&shown, &said))
            }
            Call::Refute => {
                let bodies::Refute { facts } = read(body)?;
                match self.examine(named, facts, None).await? {
                    (shown, Concluded::Recorded { index }) => {
                        json_of(StatusCode::OK, &bodies::Recorded { exchange: shown.exchange, recorded: index })
                    }
                    (shown, said) => report(StatusCode::OK, self.concluded(&shown, &said)),
                }
            }
            Call::Cancel => {
                let (exchange, shown) = self.own(named).await?;
                let said = concluded(self.call(Command::QuestionCancel { exchange }).await)?;
                report(StatusCode::OK, self.concluded(&shown, &said))
            }
            Call::Inbox => match done(self.call(Command::Inbox).await)? {
                Answer::Inbox { questions, urgent } => json_of(StatusCode::OK, &bodies::Waits { questions, urgent }),
                _ => Err(client::unexpected().into()),
            },
            Call::Show => {
                let (exchange, officer) = (exchange(named)?, self.caller.officer.clone());
                self.decided(Command::InboxShow { exchange, officer }).await
            }
            Call::Approve => {
                let bodies::Note { note } = read(body)?;
                self.decide(named, Decided::Confirm { note }).await
            }
            Call::Answer => {
                let bodies::Note { note } = read(body)?;
                self.decide(named, Decided::Answer { note }).await
            }
            Call::Refuse => {
                let bodies::Refuse { reason, text_en, text_es } = read(body)?;
                self.decide(named, Decided::Refuse { reason, text_en, text_es }).await
            }
            Call::NeedsData => {
                let bodies::NeedsData { fields, text_en, text_es } = read(body)?;
                self.decide(named, Decided::NeedsData { fields, text_en, text_es }).await
            }
            Call::Node => json_of(StatusCode::OK, &self.status().await?),
            Call::Peers => {
                let status = self.status().await?;
                json_of(StatusCode::OK, &json!({"peers": peers::members(&self.bearings, Some(&status))}))
            }
            Call::Catalogue => json_of(StatusCode::OK, &catalogue::list(self.lang, &self.bearings.catalogue).json),
            Call::Schema => {
                let schema = catalogue::schema(&self.bearings.catalogue, named.unwrap_or_default());
                json_of(StatusCode::OK, &schema?)
            }
            Call::Description => self.visit.description(),
        }
    }

    async fn call(&self, command: Command) -> Answer {
        self.visit.0.node.carry_out(command).await
    }

    async fn status(&self) -> Result<Value, Problem> {
        match done(self.call(Command::Status).await)? {
            Answer::Status { status } => Ok(status),
            _ => Err(client::unexpected().into()),
        }
    }

    /// A question of the key's officer; anybody else's is as unknown as none.
    pub(super) async fn own(&self, named: Option<&str>) -> Result<(ExchangeId, Shown), Problem> {
        let exchange = exchange(named)?;
        match done(self.call(Command::QuestionStatus { exchange }).await)? {
            Answer::Questions { mut questions } => match questions.pop() {
                Some(shown) if shown.officer == self.caller.officer.as_str() => Ok((exchange, shown)),
                _ => Err(outbox::unknown(&exchange.to_string(), self.lang).into()),
            },
            _ => Err(client::unexpected().into()),
        }
    }

    fn concluded(&self, shown: &Shown, said: &Concluded) -> Result<Report, Failure> {
        let kind = self.bearings.catalogue.query_kind(&shown.kind).ok_or_else(client::unexpected)?;
        let about = About { kind, to: &shown.to, training: shown.training };
        conclusion::report(self.lang, &self.bearings, &about, said)
    }

    async fn list(&self, queries: &[(&'static str, String)]) -> Given {
        let wanted = Wanted {
            officer: Some(self.caller.officer.clone()),
            to: parameter(queries, "to")?,
            open: parameter(queries, "open")?.unwrap_or_default(),
            limit: parameter(queries, "limit")?,
        };
        match done(self.call(Command::Questions(wanted)).await)? {
            Answer::Questions { questions } => json_of(StatusCode::OK, &bodies::Questions { questions }),
            _ => Err(client::unexpected().into()),
        }
    }

    async fn wait(&self, named: Option<&str>, seconds: Option<u64>) -> Given {
        let (exchange, shown) = self.own(named).await?;
        let patience = Duration::from_secs(seconds.unwrap_or(WAIT_SECONDS).min(WAIT_SECONDS_MAX));
        let waited = tokio::time::timeout(patience, self.call(Command::QuestionAwait { exchange })).await;
        match waited {
            Ok(answer) => report(StatusCode::OK, self.concluded(&shown, &concluded(answer)?)),
            Err(_) => {
                let asked = Concluded::Asked { exchange: exchange.to_string() };
                report(StatusCode::ACCEPTED, self.concluded(&shown, &asked))
            }
        }
    }

    async fn examine(
        &self,
        named: Option<&str>,
        facts: String,
        confirmed: Option<FollowUp>,
    ) -> Result<(Shown, Concluded), Problem> {
        let (exchange, shown) = self.own(named).await?;
        query::bounded("facts", &facts, puente_model::limits::FACTS_CHARS_MAX)?;
        let officer = self.caller.officer.clone();
        let examined = Examined { exchange, officer, facts, confirmed };
        Ok((shown, concluded(self.call(Command::QuestionExamine(Box::new(examined))).await)?))
    }

    async fn decide(&self, named: Option<&str>, decision: Decided) -> Given {
        let (exchange, officer) = (exchange(named)?, self.caller.officer.clone());
        self.decided(Command::InboxDecide { exchange, officer, decision }).await
    }

    async fn decided(&self, command: Command) -> Given {
        let said = concluded(self.call(command).await)?;
        report(StatusCode::OK, inbox::report(self.lang, &self.bearings, said))
    }
}
