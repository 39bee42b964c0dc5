//! Logs against each other: every head and receipt that one kept of the other, and every numbering between them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use puente_audit_log::{SignedCheckpoint, TileReader};
use puente_model::{Digest, NodeUri};
use puente_wire::PairKind;

use crate::class::Class;
use crate::compare::{Difference, agreed, differences, same_periods};
use crate::dir::Cached;
use crate::evidence::{Proof, ProvenEntry};
use crate::finding::{Blame, Finding, Findings};
use crate::groups;
use crate::heads::{Relation, relate};
use crate::kept::KeptReceipt;
use crate::numbering::{Numbered, Numbering};
use crate::prove::proven_entry;
use crate::rules::{Setting, writes};
use crate::verify::{Audited, Checked, full_track, log_number, lost_tail};

/// Compares all logs that could be read; returns how many pairs of nodes were compared.
pub(crate) fn reconcile(set: &Setting<'_>, audited: &mut [Audited], findings: &mut Findings) -> u64 {
    let mut resolved: Vec<(usize, HashSet<u64>)> = Vec::new();
    let mut pairs = BTreeSet::new();
    {
        let logs: Vec<(usize, &Checked)> =
            audited.iter().enumerate().filter_map(|(i, a)| Some((i, a.checked.as_ref()?))).collect();
        for (_, log) in &logs {
            let others: Vec<&Checked> = logs.iter().map(|(_, l)| *l).filter(|l| l.node != log.node).collect();
            heads_kept_by_others(log, &others, findings);
            for other in &others {
                pairs.insert((log.node.clone().min(other.node.clone()), log.node.clone().max(other.node.clone())));
            }
        }
        for (at, (_, one)) in logs.iter().enumerate() {
            for (_, other) in logs.iter().skip(at + 1).filter(|(_, l)| l.origin == one.origin) {
                findings.extend(two_copies(one, other));
            }
        }
        let all: Vec<&Checked> = logs.iter().map(|(_, log)| *log).collect();
        groups::compare(&all, findings);
        // A node's newest log has the numberings of those before it, too.
        for (i, holder) in logs.iter().filter(|(_, l)| !l.continues) {
            let mut proven = HashSet::new();
            for (_, author) in logs.iter().filter(|(_, l)| l.node != holder.node && !l.continues) {
                proven.extend(numberings(set, author, holder, &all, findings));
            }
            resolved.push((*i, proven));
        }
    }
    // An entry that its author's own log holds needs no receipt of the author.
    for (i, proven) in resolved {
        if let Some(one) = audited.get_mut(i) {
            let settled =
                |f: &Finding| f.class == Class::ReceiptMissing && f.index.is_some_and(|n| proven.contains(&n));
            one.findings.list.retain(|f| !settled(f));
            one.report.verdict = one.findings.conclusion();
        }
    }
    pairs.len() as u64
}

/// Every head of `log` that others kept, against the log as presented.
fn heads_kept_by_others(log: &Checked, others: &[&Checked], findings: &mut Findings) {
    let tiles = Cached::new(&log.dir);
    let mut known: BTreeMap<(u64, Digest), (&Checked, &SignedCheckpoint)> = BTreeMap::new();
    for keeper in others {
        let receipts = keeper.asides.receipt_heads();
        let heads = keeper.peer_heads.iter().chain(&keeper.asides.heads).chain(receipts);
        for head in heads.filter(|head| head.origin() == log.origin) {
            known.entry((head.size().0, head.root())).or_insert((*keeper, head));
        }
    }
    let related: Vec<(&Checked, &SignedCheckpoint, Relation)> =
        known.values().map(|(keeper, head)| (*keeper, *head, relate(&log.head, head, &tiles))).collect();
    let consistent = related.iter().filter(|(_, _, r)| matches!(r, Relation::Consistent)).map(|(_, h, _)| h.size());
    let largest_consistent = consistent.max();
    for (keeper, head, relation) in related {
        if let (Some(closed_at), Relation::Beyond | Relation::Split) = (log.closed_at, &relation)
            && head.size().0 > closed_at
        {
            findings.push(lost_tail(&log.origin, head, closed_at));
            continue;
        }
        let detail =
            format!("{} keeps a head of {} entries; {} are presented", keeper.origin, head.size(), log.head.size());
        let proof = Proof::heads([head.clone(), log.head.clone()]);
        let (class, proof) = match relation {
            Relation::Consistent => continue,
            Relation::Split => (Class::SplitView, proof),
            // Somebody else was shown the presented history at that size or beyond: both were shown at once.
            Relation::Contradicts(prefix) if largest_consistent.is_some_and(|size| size >= head.size()) => {
                (Class::SplitView, proof.with_prefix(prefix))
            }
            Relation::Contradicts(prefix) => (Class::Rewritten, proof.with_prefix(prefix)),
            Relation::Beyond => match contradicting_receipt(log, keeper, head, &tiles) {
                Some(prefix_proof) => (Class::SplitView, prefix_proof),
                None => (Class::Truncated, proof),
            },
            Relation::CouldNotTell(why) => {
                findings.push(Finding::new(Class::Unavailable, Blame::Unknown, &log.origin, why));
                continue;
            }
        };
        let finding = Finding::new(class, Blame::Node(log.node.clone()), &log.origin, detail);
        findings.push(finding.with_proof(proof));
    }
}

/// A receipt under a head beyond the presented one, whose entry does not stand at its place: the two
/// histories differ below both heads.
fn contradicting_receipt(
    log: &Checked,
    keeper: &Checked,
    head: &SignedCheckpoint,
    tiles: &dyn TileReader,
) -> Option<Proof> {
    let all = keeper.asides.kept.all_receipts();
    let mut under = all.filter(|(_, r)| r.index < log.head.size().0 && keeper.asides.head(r) == Some(head));
    under.find_map(|(leaf, receipt)| {
        let presented = proven_entry(&log.dir, tiles, &log.head, receipt.index)?;
        if puente_audit_log::leaf_hash(&presented.entry) == *leaf {
            return None;
        }
        let theirs = kept_entry(keeper, leaf, receipt);
        Some(Proof::heads([head.clone(), log.head.clone()]).with_entry(theirs).with_entry(Some(presented)))
    })
}

/// An entry of the keeper's log with a receipt that it kept for it.
fn kept_entry(keeper: &Checked, leaf: &Digest, receipt: &KeptReceipt) -> Option<ProvenEntry> {
    let index = keeper.tracks.values().flat_map(|t| t.tail.values()).find(|e| e.leaf == *leaf)?.index;
    let entry = keeper.dir.entry(index, keeper.head.size().0)?;
    Some(ProvenEntry { entry, receipt: keeper.asides.receipt_text(receipt)? })
}

/// Two copies of one log.
fn two_copies(one: &Checked, other: &Checked) -> Option<Finding> {
    let (older, newer) = if one.head.size() <= other.head.size() { (one, other) } else { (other, one) };
    let proof = Proof::heads([older.head.clone(), newer.head.clone()]);
    let proof = match relate(&newer.head, &older.head, &Cached::new(&newer.dir)) {
        Relation::Consistent => return None,
        Relation::Contradicts(prefix) => proof.with_prefix(prefix),
        Relation::Split | Relation::Beyond => proof,
        Relation::CouldNotTell(why) => {
            return Some(Finding::new(Class::Unavailable, Blame::Unknown, &newer.origin, why));
        }
    };
    let detail = format!("two copies, of {} and {} entries", older.head.size(), newer.head.size());
    Some(Finding::new(Class::SplitView, Blame::Node(one.node.clone()), &one.origin, detail).with_proof(proof))
}

/// Compares what `author` numbered for `holder` in both logs. Returns the positions in `holder`'s log of
/// entries without the author's receipt that the author's log holds.
fn numberings(
    set: &Setting<'_>,
    author: &Checked,
    holder: &Checked,
    all: &[&Checked],
    findings: &mut Findings,
) -> HashSet<u64> {
    let mut fabricated = HashSet::new();
    // Without the log before it, nothing can be said of its numbers.
    let newest = log_number(&author.origin);
    let oldest = if author.follows { 1 } else { newest };
    let between = |n: &&Numbering| n.from == author.node && n.to == holder.node && (oldest..=newest).contains(&n.log);
    let of = |node: &Checked| -> Vec<&Checked> { all.iter().filter(|log| log.node == node.node).copied().collect() };
    let names: BTreeSet<&Numbering> = author.tracks.keys().chain(holder.tracks.keys()).filter(between).collect();
    let empty = crate::numbering::Track::default();
    for name in names {
        let ours = author.tracks.get(name).unwrap_or(&empty);
        let theirs = holder.tracks.get(name).unwrap_or(&empty);
        let holes: BTreeSet<u64> =
            ours.periods.iter().flat_map(|p| p.holes()).filter(|seq| !theirs.tail.contains_key(seq)).collect();
        let found = if same_periods(ours, theirs) {
            differences(&ours.tail, &theirs.tail, agreed(ours, theirs), &holes)
        } else {
            let (a, b) = (full_track(set, &of(author), name), full_track(set, &of(holder), name));
            differences(&a, &b, agreed(ours, theirs), &holes)
        };
        for difference in &found {
            judge(author, holder, all, difference, &mut fabricated, findings);
        }
    }
    let of_author = holder.unreceipted.iter().filter(|u| u.author == author.node && !fabricated.contains(&u.leaf));
    of_author.map(|u| u.index).collect()
}

/// Says whose fault a difference is.
fn judge(
    author: &Checked,
    holder: &Checked,
    all: &[&Checked],
    difference: &Difference,
    fabricated: &mut HashSet<Digest>,
    findings: &mut Findings,
) {
    let seq = difference.seq;
    // The author holds a receipt of the other side for an entry that the other side does not show.
    if let Some(entry) = difference.author {
        let receipt = receipts_of(author, &entry.leaf, &holder.node, all).next();
        match receipt {
            Some(receipt) => {
                let class = if entry.kind == PairKind::Answer { Class::NeverLogged } else { Class::Omitted };
                findings.extend(missing(class, holder, all, &entry, receipt, seq));
            }
            None if difference.receiver.is_none() => {
                let detail = format!("{} to {}", entry.kind.as_str_name(), holder.node);
                let finding = Finding::new(Class::Undelivered, Blame::Unknown, &author.origin, detail);
                findings.push(finding.at(entry.index).numbered(seq));
            }
            None => {}
        }
    }
    let Some(entry) = difference.receiver else { return };
    match receipts_of(holder, &entry.leaf, &author.node, all).next() {
        Some(receipt) => {
            let class = if difference.author.is_some() { Class::Equivocated } else { Class::Omitted };
            findings.extend(missing(class, author, all, &entry, receipt, seq));
        }
        None => {
            fabricated.insert(entry.leaf);
            let detail = format!("{} that {} is said to have written", entry.kind.as_str_name(), author.node);
            let tiles = Cached::new(&holder.dir);
            let proof = Proof::heads([author.head.clone()]).with_entry(proven_entry(
                &holder.dir,
                &tiles,
                &holder.head,
                entry.index,
            ));
            let finding = Finding::new(Class::Fabricated, Blame::Node(holder.node.clone()), &holder.origin, detail);
            findings.push(finding.at(entry.index).numbered(seq).with_proof(proof));
        }
    }
}

/// Receipts that a node kept, in any of its logs, of any log of `of`'s; and which of its logs kept it.
fn receipts_of<'k>(
    keeper: &'k Checked,
    leaf: &Digest,
    of: &'k NodeUri,
    all: &'k [&'k Checked],
) -> impl Iterator<Item = (&'k Checked, &'k KeptReceipt)> {
    let leaf = *leaf;
    all.iter().copied().filter(|log| log.node == keeper.node).flat_map(move |log| {
        let kept = log.asides.kept.receipts(log.asides.kept.find(&leaf));
        kept.filter(|receipt| writes(of, log.asides.origin(receipt))).map(move |receipt| (log, receipt))
    })
}

/// `suspect` gave `keeper` a receipt for an entry that its presented log does not hold.
fn missing(
    class: Class,
    suspect: &Checked,
    all: &[&Checked],
    entry: &Numbered,
    (keeper, receipt): (&Checked, &KeptReceipt),
    seq: u64,
) -> Option<Finding> {
    let head = keeper.asides.head(receipt)?;
    // The log that gave the receipt, which may be one before the newest.
    let suspect = all.iter().copied().find(|log| log.origin == head.origin()).unwrap_or(suspect);
    if let Some(closed_at) = suspect.closed_at.filter(|closed_at| receipt.index >= *closed_at) {
        let detail = format!("{} at place {}; closed at {closed_at}", entry.kind.as_str_name(), receipt.index);
        let finding = Finding::new(Class::LostEntry, Blame::Unknown, &suspect.origin, detail);
        return Some(finding.at(receipt.index).numbered(seq));
    }
    let tiles = Cached::new(&suspect.dir);
    let mut proof = Proof::heads([head.clone(), suspect.head.clone()]);
    match relate(&suspect.head, head, &tiles) {
        // Then the entry does stand in it; whatever kept it from being counted is a finding of its own.
        Relation::Consistent => return None,
        Relation::Contradicts(prefix) => proof = proof.with_prefix(prefix),
        Relation::Split | Relation::Beyond | Relation::CouldNotTell(_) => {}
    }
    let bytes = keeper.dir.entry(entry.index, keeper.head.size().0);
    let text = keeper.asides.receipt_text(receipt);
    proof = proof.with_entry(bytes.zip(text).map(|(entry, receipt)| ProvenEntry { entry, receipt }));
    if class == Class::Equivocated {
        let own = suspect.tracks.values().flat_map(|t| t.tail.get(&seq)).find(|e| e.leaf != entry.leaf);
        proof = proof.with_entry(own.and_then(|e| proven_entry(&suspect.dir, &tiles, &suspect.head, e.index)));
    }
    let detail = format!(
        "{}; its receipt names place {} under a head of {} entries",
        entry.kind.as_str_name(),
        receipt.index,
        head.size()
    );
    let finding = Finding::new(class, Blame::Node(suspect.node.clone()), &suspect.origin, detail);
    Some(finding.at(receipt.index).numbered(seq).with_proof(proof))
}
