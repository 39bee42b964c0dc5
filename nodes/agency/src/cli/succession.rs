//! `puente log resume`, `successor`, `switch`: a log's end, and what follows it.

use puente_audit_log::{ClaimedCheckpoint, VerifierKey, replay};
use puente_model::Origin;
use serde_json::json;

use super::output::{Failure, Report};
use super::{Context, client, load_failure};
use crate::config::NodeConfig;
use crate::disk::{self, NodeDisk};
use crate::files;
use crate::load::Bearings;
use crate::node::suspension::{self, Suspension, Why};

/// Why an annex suspends a node whose log was abandoned.
const LOST: &str = "the key of its store is lost";

fn disk_failure(error: disk::DiskError) -> Failure {
    Failure::unavailable("disk", error.to_string())
}

/// A running node would write to the log meanwhile.
fn stopped(context: &Context) -> Result<(), Failure> {
    match client::connect(context)? {
        None => Ok(()),
        Some(_) => Err(Failure::usage("running", "the node runs").hint("stop it first with 'puente node stop'")),
    }
}

fn suspended(context: &Context) -> Result<Option<Suspension>, Failure> {
    suspension::read(&context.dir).map_err(|error| Failure::usage("suspension", error.to_string()))
}

/// Lets a restored log take entries again.
pub(super) fn resume(context: &Context) -> Result<Report, Failure> {
    stopped(context)?;
    let Some(found) = suspended(context)? else {
        return Err(Failure::usage("not-suspended", "this log takes entries: there is nothing to resume"));
    };
    if found.why == Why::LostTail {
        return Err(Failure::usage("lost-tail", found.to_string())
            .hint("an entry would make a second history, which convicts this node; use 'puente log successor'"));
    }
    let path = context.dir.suspension();
    std::fs::remove_file(&path).map_err(|error| Failure::file(&path, &error))?;
    let words = "the log takes entries from the next start on";
    Ok(Report::new(json!({"resumed": true}), "").note(words))
}

/// A log of this node's, as the charter names it.
struct Named {
    origin: Origin,
    key: VerifierKey,
    closed_at: Option<u64>,
}

fn named(bearings: &Bearings, k: u32) -> Result<Option<Named>, Failure> {
    let bad = |what: String| Failure::usage("other-log", what);
    let origin = bearings.config.node.origin(k).map_err(|error| bad(error.to_string()))?;
    let member = bearings.charter.member(&bearings.config.node);
    let Some(entry) = member.and_then(|member| member.logs.iter().find(|log| log.origin == origin)) else {
        return Ok(None);
    };
    let key = entry.vkey.parse().map_err(|error: puente_audit_log::KeyError| bad(error.to_string()))?;
    Ok(Some(Named { origin, key, closed_at: entry.closed_at }))
}

fn current(bearings: &Bearings) -> Result<Named, Failure> {
    named(bearings, bearings.config.log)?.ok_or_else(|| {
        Failure::usage("other-log", "the charter does not name this node's log")
            .hint("'log' in node.toml must be a log of the annex")
    })
}

/// How many entries the stopped node's log has; everything durable is in its place afterwards.
fn settled_size(context: &Context, key: &VerifierKey) -> Result<u64, Failure> {
    let path = context.dir.store_key();
    let store = context.vault.secret(&path).map_err(|error| Failure::file(&path, &error))?;
    let (node, recovered) = NodeDisk::open(context.dir.path(), &store, key).map_err(disk_failure)?;
    node.close().map_err(disk_failure)?;
    Ok(recovered.tree.size().0)
}

/// Prepares the log that follows this one: its key, and what the annex must say. Needs neither the old log's key nor
/// its lost entries.
pub(super) fn successor(context: &Context) -> Result<Report, Failure> {
    stopped(context)?;
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let old = current(&bearings)?;
    let next = bearings.config.log + 1;
    let origin = bearings.config.node.origin(next).map_err(|error| Failure::usage("config", error.to_string()))?;
    // From here on not one entry more: the annex names the size.
    if suspended(context)?.is_none_or(|found| found.why == Why::Restored) {
        let closing = Suspension { why: Why::Closing, ..Suspension::restored(context.now) };
        closing.write(&context.dir).map_err(|error| Failure::file(&context.dir.suspension(), &error))?;
    }
    let closed_at = settled_size(context, &old.key)?;
    let path = context.dir.log_key_of(next);
    if !path.exists() {
        let secret = files::fresh_secret().map_err(|error| Failure::unavailable("random", error.to_string()))?;
        files::create_secret(&path, &secret).map_err(|error| Failure::file(&path, &error))?;
    }
    let seed = context.vault.secret(&path).map_err(|error| Failure::file(&path, &error))?;
    let vkey = super::keys::vkey(&origin, &seed)?;
    let stanza = format!(
        "[[member.log]]\norigin = \"{}\"\nvkey = \"{}\"\nclosed_at = {closed_at}\n\n\
         [[member.log]]\norigin = \"{origin}\"\nvkey = \"{vkey}\"\n",
        old.origin, old.key
    );
    let value = json!({"closes": {"origin": old.origin.as_str(), "closed_at": closed_at},
        "opens": {"origin": origin.as_str(), "vkey": vkey}, "stanza": stanza});
    Ok(Report::new(value, stanza)
        .note("the next annex must say this of the node, in place of its log; the log takes no entry any more")
        .hint("once the annex is signed and in charter/: 'puente log switch', then start the node"))
}

/// Ends a log whose store key is lost. Its journal and evidence open no more, so neither it nor a successor can know which
/// numbers were taken and which answers given: the agency goes on as another node. Published entries need no key.
pub(super) fn abandon(context: &Context) -> Result<Report, Failure> {
    stopped(context)?;
    if context.dir.store_key().exists() {
        return Err(Failure::usage(
            "store-key-there",
            "the store's key is here: this log can go on, or have a successor",
        )
        .hint("'puente log successor' is the way when a log's key is lost"));
    }
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let old = current(&bearings)?;
    // Should the key be found after the annex was signed: not one entry more.
    if suspended(context)?.is_none() {
        let closing = Suspension { why: Why::Closing, ..Suspension::restored(context.now) };
        closing.write(&context.dir).map_err(|error| Failure::file(&context.dir.suspension(), &error))?;
    }
    let closed_at = published(context, &old.key)?;
    let stanza = format!(
        "suspended = true\nsuspended_reason = \"{LOST}\"\n\n\
         [[member.log]]\norigin = \"{}\"\nvkey = \"{}\"\nclosed_at = {closed_at}\n",
        old.origin, old.key
    );
    let value = json!({"closes": {"origin": old.origin.as_str(), "closed_at": closed_at}, "stanza": stanza});
    Ok(Report::new(value, stanza)
        .note("the next annex must say this of the node, in place of its log; it records nothing any more")
        .hint("make a node of another name in a new folder with 'puente node init', and add it to the same annex"))
}

/// How many entries are published: under the signed head, every one of them there.
fn published(context: &Context, key: &VerifierKey) -> Result<u64, Failure> {
    let path = context.dir.log().join("checkpoint");
    let damaged = |why: String| Failure::unavailable("log", format!("{}: {why}", path.display()));
    let note = files::read(&path).map_err(|error| Failure::file(&path, &error))?;
    let head = ClaimedCheckpoint::parse(&note).and_then(|claimed| claimed.verify(key));
    let head = head.map_err(|error| damaged(error.to_string()))?;
    let log = super::log::Files::new(context.dir.log());
    replay(&head, &log, |_, _, _| std::ops::ControlFlow::Continue(())).map_err(|error| damaged(error.to_string()))?;
    Ok(head.size().0)
}

/// Puts the old log away and begins its successor, as the annex in charter/ says. Whatever interrupts it, it can be run
/// again.
pub(super) fn switch(context: &Context) -> Result<Report, Failure> {
    stopped(context)?;
    let bearings = Bearings::load(&context.dir).map_err(load_failure)?;
    let (old, next) = (current(&bearings)?, bearings.config.log + 1);
    let not_yet = |what: String| {
        Failure::usage("not-adopted", what)
            .hint("'puente log successor' prints what the annex must say; put the signed part into charter/")
    };
    let closed_at = old.closed_at.ok_or_else(|| not_yet(format!("the annex does not close {}", old.origin)))?;
    let new = named(&bearings, next)?.filter(|new| new.closed_at.is_none());
    let new = new.ok_or_else(|| not_yet(format!("the annex names no log {next} of this node")))?;
    let path = context.dir.log_key_of(next);
    let seed = context.vault.secret(&path).map_err(|error| Failure::file(&path, &error))?;
    if super::keys::vkey(&new.origin, &seed)? != new.key.to_string() {
        return Err(not_yet(format!("the annex names another key for {} than {}", new.origin, path.display())));
    }
    let away = context.dir.closed_logs().join(format!("log{}", bearings.config.log));
    if !away.exists() {
        let size = settled_size(context, &old.key)?;
        if size > closed_at {
            return Err(Failure::usage(
                "beyond-closed",
                format!("the log has {size} entries, the annex closes it at {closed_at}"),
            )
            .hint("have an annex signed that closes it at the size that 'puente log successor' names"));
        }
        files::make_private_dir(&context.dir.closed_logs())
            .map_err(|error| Failure::file(&context.dir.closed_logs(), &error))?;
        std::fs::rename(context.dir.log(), &away).map_err(|error| Failure::file(&away, &error))?;
    } else if context.dir.log().exists() {
        // A start between two attempts made it anew from what it kept: all of it is in the log that was put away.
        std::fs::remove_dir_all(context.dir.log()).map_err(|error| Failure::file(&context.dir.log(), &error))?;
    }
    let store_path = context.dir.store_key();
    let store = context.vault.secret(&store_path).map_err(|error| Failure::file(&store_path, &error))?;
    disk::begin_successor(context.dir.path(), &store).map_err(disk_failure)?;
    number(context, next)?;
    match std::fs::remove_file(context.dir.suspension()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::file(&context.dir.suspension(), &error));
        }
        _ => {}
    }
    let value = json!({"closed": old.origin.as_str(), "closed_at": closed_at, "open": new.origin.as_str(),
        "kept": away.display().to_string()});
    Ok(Report::new(value, format!("{}\n", new.origin)).note(format!(
        "{} is kept in {}; auditors need both",
        old.origin,
        away.display()
    )))
}

/// Writes `log = k` into node.toml and leaves the rest of it as it is.
fn number(context: &Context, k: u32) -> Result<(), Failure> {
    let path = context.dir.config();
    let text = files::read_text(&path).map_err(|error| Failure::file(&path, &error))?;
    let is_log = |line: &str| line.split_once('=').is_some_and(|(key, _)| key.trim() == "log");
    let mut out: String = format!("log = {k}\n");
    // Only before the first table: in one of them the key would be another.
    let mut top = true;
    for line in text.lines() {
        top &= !line.trim_start().starts_with('[');
        if top && is_log(line) {
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    NodeConfig::parse("node.toml", &out).map_err(|error| load_failure(error.into()))?;
    files::replace(&path, out.as_bytes(), false).map_err(|error| Failure::file(&path, &error))
}
