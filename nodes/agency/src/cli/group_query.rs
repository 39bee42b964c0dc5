//! `puente query … --group NAME`: one question to every member of a group; answers are shown as they come.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use puente_model::{ExchangeId, NodeUri};
use puente_words::{text, texts};
use serde_json::{Value, json};

use super::args::QueryArgs;
use super::conclusion::{self, About, name_of, printable};
use super::output::{Exit, Failure, Report, table};
use super::{Context, client, load_failure, outbox, query};
use crate::control::{ClientError, ControlClient};
use crate::control_api::{Answer, Command, Concluded, GroupPut};
use crate::load::Bearings;
use crate::outbox::Shown;

/// How long after a question is due its end is still waited for.
const AFTER_DUE: Duration = Duration::from_secs(5);

texts! {
    /// What a question to a group says.
    enum Text {
        NotAsked: "not asked";
        Exchange: "exchange";
        Silent: "who did not answer";
    }
}

/// One member and what it is asked under.
struct Member {
    node: NodeUri,
    exchange: ExchangeId,
    /// What came of it, and how long after the question was put.
    said: Option<(Concluded, Duration)>,
}

/// A node of the group that the question is right for: charter and catalogue judge it as if that one alone were asked.
fn standing_for(bearings: &Bearings, group: &str) -> Result<Vec<NodeUri>, Failure> {
    let federation = format!("{}/", bearings.charter.federation());
    let name = group.strip_prefix(&federation).unwrap_or(group);
    let corridors = bearings.charter.corridors();
    let Some(corridor) = corridors.iter().find(|corridor| corridor.name == name) else {
        let names: Vec<&str> = corridors.iter().map(|corridor| corridor.name.as_str()).collect();
        return Err(Failure::usage(
            "unknown-group",
            format!("the charter names no corridor '{}'", name.escape_debug()),
        )
        .hint(format!("the corridors are: {}", names.join(", "))));
    };
    let own = &bearings.config.node;
    Ok(corridor.nodes().filter(|node| *node != own).cloned().collect())
}

pub(super) fn run(context: &Context, args: &QueryArgs, group: &str, stays: bool) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    // A legal basis carries a purpose at home or abroad: whom it does not carry to is refused by the node itself.
    let mut checked = Err(Failure::usage("unknown-group", "nobody else is in that corridor"));
    for node in standing_for(&bearings, group)? {
        checked = query::checked(context, &bearings, args, node);
        if checked.is_ok() {
            break;
        }
    }
    let (question, warnings, due) = checked?;
    let kind = bearings.catalogue.query_kind(args.kind.as_str()).ok_or_else(client::unexpected)?;
    let training = args.training;
    let mut node = client::running(context)?;
    let began = Instant::now();
    let command = Command::GroupQuery { group: group.to_owned(), question: Box::new(question) };
    let Answer::Concluded(said) = client::call(&mut node, command, None)? else { return Err(client::unexpected()) };
    let put = match *said {
        Concluded::GroupAsked { members } => members,
        said => {
            let to = bearings.config.node.clone();
            return conclusion::report(context.lang, &bearings, &About { kind, to: &to, training }, &said);
        }
    };
    let (mut members, mut unasked) = (Vec::new(), Vec::new());
    for GroupPut { node, exchange, reason, explanation } in put {
        match exchange.and_then(|exchange| exchange.parse().ok()) {
            Some(exchange) => members.push(Member { node, exchange, said: None }),
            None => unasked.push((node, reason, explanation)),
        }
    }
    if !query::waits(stays, due) {
        return Ok(asked(context, &bearings, &members, &unasked));
    }
    let show = |member: &Member, said: &Concluded| {
        show(context, &bearings, &About { kind, to: &member.node, training }, said);
    };
    gather(context, &mut node, &mut members, (began, due + AFTER_DUE), show)?;
    let mut report = summed_up(context, &bearings, &mut node, &members, &unasked)?;
    for words in warnings {
        report = report.note(words);
    }
    Ok(report)
}

/// Waits for all members at once, for so long; each answer is shown as it comes.
fn gather(
    context: &Context,
    node: &mut ControlClient,
    members: &mut [Member],
    (began, patience): (Instant, Duration),
    show: impl Fn(&Member, &Concluded),
) -> Result<(), Failure> {
    // A connection of its own: answers come in whatever order, and it may be given up in the middle of one.
    let mut waiting = client::running(context)?;
    let mut waits = BTreeMap::new();
    for (i, member) in members.iter().enumerate() {
        waits.insert(waiting.send(Command::QuestionAwait { exchange: member.exchange })?, (i, member.exchange));
    }
    while !waits.is_empty() {
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        waiting.set_timeout(Some(left))?;
        let answer = match waiting.receive() {
            Ok(answer) => answer,
            Err(ClientError::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error.into()),
        };
        let Some((i, waited)) = waits.remove(&answer.id) else { continue };
        let Some(member) = members.get_mut(i) else { continue };
        // It was put anew before anybody waited: that is waited for instead.
        let now = standing(node, member.exchange)?.and_then(|question| question.exchange.parse().ok());
        if let Some(anew) = now.filter(|now| *now != waited) {
            waits.insert(waiting.send(Command::QuestionAwait { exchange: anew })?, (i, anew));
            continue;
        }
        let Answer::Concluded(said) = client::accepted(answer.answer)? else { return Err(client::unexpected()) };
        show(member, &said);
        member.said = Some((*said, began.elapsed()));
    }
    Ok(())
}

/// Where a question stands; of one that was put anew, where that stands.
fn standing(node: &mut ControlClient, exchange: ExchangeId) -> Result<Option<Shown>, Failure> {
    let mut next = exchange;
    loop {
        let Answer::Questions { mut questions } = client::call(node, Command::QuestionStatus { exchange: next }, None)?
        else {
            return Err(client::unexpected());
        };
        let Some(question) = questions.pop() else { return Ok(None) };
        match question.again.as_deref().and_then(|again| again.parse().ok()) {
            Some(again) => next = again,
            None => return Ok(Some(question)),
        }
    }
}

/// One member's answer, as soon as it came.
fn show(context: &Context, bearings: &Bearings, about: &About<'_>, said: &Concluded) {
    let line = if context.json {
        format!("{}\n", json!({"node": about.to.as_str(), "answer": said}))
    } else {
        match conclusion::report(context.lang, bearings, about, said) {
            Ok(report) => format!("{}\n", report.text.trim_end()),
            Err(failure) => {
                format!("{}: {}\n", name_of(bearings, about.to, context.lang), printable(&failure.message))
            }
        }
    };
    // Nobody may be reading any more. Programs get everything in one value at the end, and meanwhile a line on stderr.
    let _ = match context.json {
        true => write!(std::io::stderr(), "{line}"),
        false => writeln!(std::io::stdout(), "{line}"),
    };
}

type Unasked = (NodeUri, Option<String>, Option<crate::control_api::Explained>);

fn rows_of(context: &Context, bearings: &Bearings, unasked: &[Unasked]) -> Vec<(String, String)> {
    let lang = context.lang;
    let why = |(node, reason, explained): &Unasked| {
        let words = explained.as_ref().map(|e| if lang == puente_model::Lang::Es { &e.text_es } else { &e.text_en });
        let reason = reason.clone().unwrap_or_default();
        let words = words.map_or_else(|| reason.clone(), |words| format!("{} ({reason})", printable(words)));
        (format!("{} {}", Text::NotAsked.get(lang), name_of(bearings, node, lang)), words)
    };
    unasked.iter().map(why).collect()
}

fn of_unasked(unasked: &[Unasked]) -> Vec<Value> {
    unasked
        .iter()
        .map(|(node, reason, explained)| json!({"node": node.as_str(), "reason": reason, "explanation": explained}))
        .collect()
}

/// Nobody waits: under which exchanges the members are asked.
fn asked(context: &Context, bearings: &Bearings, members: &[Member], unasked: &[Unasked]) -> Report {
    let lang = context.lang;
    let row = |member: &Member| (name_of(bearings, &member.node, lang), member.exchange.to_string());
    let mut rows: Vec<(String, String)> = members.iter().map(row).collect();
    rows.extend(rows_of(context, bearings, unasked));
    let of = |member: &Member| json!({"node": member.node.as_str(), "exchange": member.exchange.to_string()});
    let json = json!({"asked": members.iter().map(of).collect::<Vec<_>>(), "not_asked": of_unasked(unasked)});
    Report::new(json, table(&rows)).hint(text(lang, "each goes on by itself: 'puente query list' shows them"))
}

/// Who answered what, and who did not and why.
fn summed_up(
    context: &Context,
    bearings: &Bearings,
    node: &mut ControlClient,
    members: &[Member],
    unasked: &[Unasked],
) -> Result<Report, Failure> {
    let lang = context.lang;
    let (mut rows, mut silent, mut counts) = (Vec::new(), Vec::new(), BTreeMap::<String, u64>::new());
    let mut all = Vec::new();
    for member in members {
        let name = name_of(bearings, &member.node, lang);
        let (question, answered) =
            (standing(node, member.exchange)?, matches!(member.said, Some((Concluded::Answered { .. }, _))));
        let words = question.as_ref().map(|question| outbox::state(question, lang)).unwrap_or_default();
        if answered {
            rows.push((name, words.clone()));
        } else {
            silent.push((
                format!("{} {name}", Text::Silent.get(lang)),
                format!("{words} ({} {})", Text::Exchange.get(lang), member.exchange),
            ));
        }
        *counts.entry(question.as_ref().map_or_else(String::new, |question| question.state.clone())).or_default() += 1;
        all.push(json!({
            "node": member.node.as_str(), "exchange": member.exchange.to_string(), "answered": answered,
            "state": question.as_ref().map(|question| &question.state), "waits": question.as_ref().map(|q| &q.waits),
            "answer": member.said.as_ref().map(|(said, _)| said),
            "after_millis": member.said.as_ref().map(|(_, after)| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        }));
    }
    let whole = silent.is_empty();
    rows.extend(silent);
    rows.extend(rows_of(context, bearings, unasked));
    let json = json!({"members": all, "not_asked": of_unasked(unasked), "states": counts});
    let report = Report::new(json, table(&rows));
    Ok(if whole {
        report
    } else {
        report
            .exit(Exit::Findings)
            .hint(text(lang, "what is still open goes on by itself: 'puente query list' shows it"))
    })
}
