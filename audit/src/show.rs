//! Entries of a copied log, decoded for people.

use std::path::Path;

use puente_audit_log::{ClaimedCheckpoint, leaf_hash};
use puente_ledger::{Body, Entry as LedgerEntry};
use puente_wire::{Entry, Pair, PairBody, SeedUse};
use serde::Serialize;

use crate::dir::LogDir;
use crate::error::AuditError;

/// One entry, decoded. Nothing in it is private: entries hold commitments.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// Position in the log.
    pub index: u64,
    /// Leaf hash, lower-case hexadecimal.
    pub leaf: String,
    /// QUERY, ANSWER, …, VEILED, SEEDS, HELD, EPOCH, LEFT; of a group's ledger COMMIT, CLOSE; or UNREADABLE.
    pub kind: String,
    /// When, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minute: Option<String>,
    /// Author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// What it says, in one line.
    pub says: String,
}

/// Decodes up to `limit` entries of a copied log from position `from` on. Verifies nothing.
///
/// # Errors
/// The head cannot be read, or an entry is not there.
pub fn show(dir: &Path, from: u64, limit: u64) -> Result<Vec<Shown>, AuditError> {
    let log = LogDir::new(dir);
    let note = log.checkpoint().map_err(|error| AuditError::file(&dir.join("checkpoint"), &error))?;
    let size = ClaimedCheckpoint::parse(&note)?.claimed().size().0;
    let end = from.saturating_add(limit).min(size);
    (from..end)
        .map(|index| log.entry(index, size).map(|e| shown(index, &e)).ok_or(AuditError::NoEntry { index }))
        .collect()
}

/// Decodes one entry.
pub(crate) fn shown(index: u64, bytes: &[u8]) -> Shown {
    let mut out = Shown {
        index,
        leaf: leaf_hash(bytes).to_string(),
        kind: String::new(),
        minute: None,
        from: None,
        to: None,
        seq: None,
        exchange: None,
        says: String::new(),
    };
    match Entry::decode(bytes) {
        Ok(Entry::Pair(pair)) => {
            out.kind = pair.kind().as_str_name().to_owned();
            out.minute = Some(pair.minute.to_string());
            out.from = Some(pair.from.to_string());
            out.to = Some(pair.to.to_string());
            out.seq = Some(pair.seq.0);
            out.exchange = pair.exchange().map(|x| x.to_string());
            let training = pair.terms().is_some_and(|terms| terms.mode == puente_model::Mode::Training);
            out.says = if training { format!("TRAINING: {}", says(&pair)) } else { says(&pair) };
        }
        Ok(Entry::Veiled(veiled)) => {
            out.kind = "VEILED".to_owned();
            out.minute = Some(veiled.minute.to_string());
            out.says = format!("a local or domestic entry of {}", veiled.stage);
        }
        Ok(Entry::Seeds(seeds)) => {
            out.kind = "SEEDS".to_owned();
            out.minute = Some(seeds.minute.to_string());
            let whom: Vec<&str> = seeds.seeds.iter().map(|s| s.auditor.as_str()).collect();
            let whom = whom.join(", ");
            out.says = match seeds.purpose {
                SeedUse::Escrow => format!("seeds of openings in escrow, sealed to {whom}"),
                SeedUse::Headers => format!("seeds of sealed headers, sealed to {whom}"),
            };
        }
        Ok(Entry::Group(group)) => {
            out.kind = group.kind().to_owned();
            out.minute = Some(group.minute.to_string());
            out.says = group.says();
        }
        Err(_) if let Ok(entry) = LedgerEntry::parse(bytes) => {
            let draft = entry.draft();
            (out.kind, out.says) = match &draft.body {
                Body::Commit { epoch, held, .. } => (
                    "COMMIT".to_owned(),
                    format!("ends epoch {epoch} of {}, held by {} members", entry.group(), held.len()),
                ),
                Body::Close { next } => ("CLOSE".to_owned(), format!("{} goes on in {next}", entry.group())),
            };
        }
        Err(error) => {
            out.kind = "UNREADABLE".to_owned();
            out.says = error.to_string();
        }
    }
    out
}

fn says(pair: &Pair) -> String {
    match &pair.body {
        PairBody::Query { terms, due, .. } => format!(
            "{} step {} for {} on {}, handling {}, due {due}",
            terms.kind, terms.step, terms.purpose, terms.basis, terms.handling
        ),
        PairBody::Answer { outcome, field_class, count, .. } => {
            format!("{outcome}, {count} records, {field_class} fields")
        }
        PairBody::Refusal { reason, .. } => format!("refused: {reason}"),
        PairBody::Release { quoted, .. } => format!("content key of {quoted} given out"),
        PairBody::Void { voided, .. } => format!("number {voided} will never be sent"),
        PairBody::Period(period) => format!(
            "closes {} to {}: {} recorded, {} holes",
            period.first,
            period.last,
            period.count,
            period.holes.len()
        ),
    }
}
