//! What must be true of the logs once everything has come to rest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use prost::Message as _;
use puente_audit_log::{ClaimedReceipt, Signer as _, leaf_hash, root_of};
use puente_evidence::open_seed;
use puente_evidence::veil::open_header;
use puente_model::{Digest, Secret32};
use puente_wire::{Entry, Event, Header, HoleWhy, Pair, PairBody, PairKind, SeedUse, proto};

use super::disk::Disk;
use super::world::{self, uri};
use super::{Ending, Sim};

/// The pair entry, if it stands in the clear.
pub fn pair_in_the_clear(entry: &[u8]) -> Option<Pair> {
    match Entry::decode(entry) {
        Ok(Entry::Pair(pair)) => Some(pair),
        _ => None,
    }
}

/// One entry as its own nation's auditors read it.
#[derive(Debug, Clone)]
pub enum Read {
    Pair(Box<Pair>),
    Event(Box<Event>),
    Group(Box<puente_wire::GroupEntry>),
    Seeds,
}

/// A log, with every veiled entry opened by an own auditor.
#[derive(Debug)]
pub struct ReadLog {
    pub entries: Vec<(Digest, Read)>,
}

pub fn read_log(node: usize, disk: &Disk) -> ReadLog {
    let nation = world::nation_of(node);
    let mut seeds: HashMap<Digest, Secret32> = HashMap::new();
    let mut sealed: HashMap<Digest, proto::SealedHeader> = HashMap::new();
    for bytes in &disk.asides {
        let aside = proto::Aside::decode(bytes.as_slice()).unwrap();
        if let Some(proto::aside::Body::SealedHeader(header)) = aside.body {
            sealed.insert(Digest::try_from(aside.leaf_hash.as_slice()).unwrap(), header);
        }
    }
    let mut entries = Vec::new();
    for bytes in &disk.entries {
        let leaf = leaf_hash(bytes);
        let read = match Entry::decode(bytes).unwrap() {
            Entry::Pair(pair) => Read::Pair(Box::new(pair)),
            Entry::Seeds(entry) => {
                if entry.purpose == SeedUse::Headers {
                    let own = entry.seeds.iter().find(|s| s.jurisdiction == nation).unwrap();
                    let key = world::auditor_key(&own.auditor, &own.quarter);
                    seeds.insert(leaf, open_seed(&key, own).unwrap());
                }
                Read::Seeds
            }
            Entry::Group(group) => Read::Group(Box::new(group)),
            Entry::Veiled(_) => {
                let header = sealed.get(&leaf).unwrap_or_else(|| panic!("node {node}: a veiled entry has no header"));
                let seed = seeds.get(&Digest::try_from(header.seeds.as_slice()).unwrap());
                let seed = seed.unwrap_or_else(|| panic!("node {node}: a header's seeds do not stand before it"));
                match open_header(seed, bytes, header).unwrap().header {
                    Header::Pair(pair) => Read::Pair(Box::new(pair)),
                    Header::Event(event) => Read::Event(Box::new(event)),
                }
            }
        };
        entries.push((leaf, read));
    }
    ReadLog { entries }
}

impl ReadLog {
    /// Entries of one numbering, in log order.
    pub fn numbering(&self, from: usize, to: usize) -> Vec<(Digest, &Pair)> {
        let (from, to) = (uri(from), uri(to));
        self.pairs().filter(|(_, p)| p.from == from && p.to == to).collect()
    }

    pub fn pairs(&self) -> impl Iterator<Item = (Digest, &Pair)> {
        self.entries.iter().filter_map(|(leaf, read)| match read {
            Read::Pair(pair) => Some((*leaf, pair.as_ref())),
            _ => None,
        })
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().filter_map(|(_, read)| match read {
            Read::Event(event) => Some(event.as_ref()),
            _ => None,
        })
    }
}

pub fn read_all(sim: &Sim) -> Vec<ReadLog> {
    (0..sim.nodes.len()).map(|n| read_log(n, &sim.nodes[n].disk.lock().unwrap())).collect()
}

/// P2 and P3 over all logs; `closed`: all periods were closed after the last exchange.
pub fn check(sim: &Sim, closed: bool) {
    let logs = read_all(sim);
    for from in 0..logs.len() {
        check_unique(from, &logs[from]);
        for to in 0..logs.len() {
            if from != to {
                // Nobody closes a period with a node that has left.
                let stay = [from, to].iter().all(|node| sim.nodes[*node].left.is_none());
                check_pair(sim, &logs, from, to, closed && stay);
            }
        }
        check_endings(sim, &logs, from);
    }
}

/// The same over all logs but one, whose node lost its tail: auditors look at that.
pub fn check_without(sim: &Sim, one: usize) {
    let others: Vec<usize> = (0..sim.nodes.len()).filter(|node| *node != one).collect();
    let logs: Vec<ReadLog> = (0..sim.nodes.len())
        .map(|n| match n == one {
            true => ReadLog { entries: Vec::new() },
            false => read_log(n, &sim.nodes[n].disk.lock().unwrap()),
        })
        .collect();
    for from in &others {
        check_unique(*from, &logs[*from]);
        for to in others.iter().filter(|to| *to != from) {
            check_pair(sim, &logs, *from, *to, true);
        }
        check_endings(sim, &logs, *from);
    }
}

fn check_unique(node: usize, log: &ReadLog) {
    let mut seen = HashSet::new();
    for (leaf, _) in log.pairs() {
        assert!(seen.insert(leaf), "node {node} recorded one pair entry twice");
    }
}

/// The numbering of `from` towards `to`, as both logs hold it.
fn check_pair(sim: &Sim, logs: &[ReadLog], from: usize, to: usize, closed: bool) {
    let own = logs[from].numbering(from, to);
    let who = format!("{from} -> {to}");
    for (i, (_, pair)) in own.iter().enumerate() {
        assert_eq!(pair.seq.0, i as u64 + 1, "{who}: own numbers have no gaps and stand in order");
    }
    let own_by_seq: BTreeMap<u64, (Digest, &Pair)> = own.iter().map(|(l, p)| (p.seq.0, (*l, *p))).collect();
    let mut theirs: BTreeMap<u64, (Digest, &Pair)> = BTreeMap::new();
    for (leaf, pair) in logs[to].numbering(from, to) {
        assert!(theirs.insert(pair.seq.0, (leaf, pair)).is_none(), "{who}: {} recorded twice", pair.seq);
        let mine = own_by_seq.get(&pair.seq.0);
        assert_eq!(mine.map(|(l, _)| *l), Some(leaf), "{who}: entry {} differs between the logs", pair.seq);
    }
    check_answered(logs, from, to, &who);
    check_receipts(sim, from, to, &theirs, &who);
    let mut next = 1;
    for (_, pair) in &own {
        let PairBody::Period(period) = &pair.body else { continue };
        assert_eq!(period.first.0, next, "{who}: periods follow each other");
        assert!(period.last.0 < pair.seq.0, "{who}: a period excludes itself");
        next = period.last.0 + 1;
        let holes: BTreeSet<u64> = period.holes.iter().map(|h| h.seq.0).collect();
        for hole in &period.holes {
            let (leaf, pair) = own_by_seq[&hole.seq.0];
            assert_eq!((leaf, pair.kind()), (hole.leaf, PairKind::Query), "{who}: only a QUERY can be a hole");
            assert!(!theirs.contains_key(&hole.seq.0), "{who}: {} is a hole but recorded", hole.seq);
            if hole.why == HoleWhy::Void {
                let named = |p: &Pair| matches!(p.body, PairBody::Void { voided, .. } if voided == hole.seq);
                assert!(own.iter().any(|(_, p)| named(p)), "{who}: hole {} names no VOID", hole.seq);
            }
        }
        let range = || (period.first.0..=period.last.0).filter(|s| !holes.contains(s));
        let mine = root_of(range().map(|s| own_by_seq[&s].0));
        assert_eq!(mine, period.root, "{who}: the period's root is not over its author's entries");
        if let Some((_, recorded)) = theirs.get(&pair.seq.0) {
            assert_eq!(recorded, pair);
            let other: Vec<_> = range().map(|s| theirs.get(&s).map(|(l, _)| *l)).collect();
            assert!(other.iter().all(Option::is_some), "{who}: {} closes what {to} lacks", pair.seq);
            assert_eq!(root_of(other.into_iter().flatten()), period.root, "{who}: pair roots differ");
        }
    }
    if closed && !own.is_empty() {
        for (seq, (_, pair)) in own_by_seq.range(next..) {
            assert_eq!(pair.kind(), PairKind::Period, "{who}: {seq} is still open after all periods were closed");
        }
        let last = own.iter().rev().find(|(_, p)| p.kind() == PairKind::Period).expect("a period");
        assert!(theirs.contains_key(&last.1.seq.0), "{who}: the last period did not arrive");
    }
}

/// Every QUERY recorded at its holder has exactly one ANSWER or REFUSAL; a RELEASE only follows its ANSWER.
fn check_answered(logs: &[ReadLog], asker: usize, holder: usize, who: &str) {
    let said = logs[holder].numbering(holder, asker);
    let mut asked = HashSet::new();
    for (leaf, pair) in logs[holder].numbering(asker, holder) {
        if pair.kind() != PairKind::Query {
            continue;
        }
        asked.insert(leaf);
        let answers = said
            .iter()
            .filter(|(_, p)| matches!(p.kind(), PairKind::Answer | PairKind::Refusal) && p.quoted() == Some(leaf))
            .count();
        assert_eq!(answers, 1, "{who}: QUERY {} has {answers} answers", pair.seq);
    }
    let mut released = HashSet::new();
    for (_, pair) in &said {
        match pair.kind() {
            PairKind::Answer | PairKind::Refusal => {
                assert!(asked.contains(&pair.quoted().unwrap()), "{who}: an answer to nothing");
            }
            PairKind::Release => {
                let quoted = pair.quoted().unwrap();
                assert!(released.insert(quoted), "{who}: released twice");
                assert!(said.iter().any(|(l, _)| *l == quoted), "{who}: a release of nothing");
                assert!(logs[asker].pairs().any(|(l, _)| l == quoted), "{who}: released what was not logged");
            }
            _ => {}
        }
    }
}

/// Whoever recorded another's entry kept that log's receipt for it, under a head that log really has.
fn check_receipts(sim: &Sim, from: usize, to: usize, theirs: &BTreeMap<u64, (Digest, &Pair)>, who: &str) {
    let (author, keeper) = (sim.nodes[from].disk.lock().unwrap(), sim.nodes[to].disk.lock().unwrap());
    let key = world::log_signer(from);
    let mut kept: HashMap<Digest, Vec<Vec<u8>>> = HashMap::new();
    for bytes in &keeper.asides {
        let aside = proto::Aside::decode(bytes.as_slice()).unwrap();
        if let Some(proto::aside::Body::PeerReceipt(receipt)) = aside.body {
            kept.entry(Digest::try_from(aside.leaf_hash.as_slice()).unwrap()).or_default().push(receipt);
        }
    }
    for (seq, (leaf, _)) in theirs {
        let good = kept.get(leaf).into_iter().flatten().any(|receipt| {
            let claimed = ClaimedReceipt::parse(receipt).unwrap();
            let note = claimed.checkpoint().note_bytes().to_vec();
            let size = claimed.checkpoint().claimed().size().0;
            claimed.verify(leaf, key.verifier()).is_ok() && author.heads.get(&size) == Some(&note)
        });
        assert!(good, "{who}: no receipt was kept for {seq}");
    }
}

/// What officers were told is what both logs hold.
fn check_endings(sim: &Sim, logs: &[ReadLog], node: usize) {
    let leaves: HashSet<Digest> = logs[node].pairs().map(|(l, _)| l).collect();
    for (ticket, ending) in &sim.nodes[node].endings {
        if let Ending::Answered { answer_leaf, query_leaf, .. } = ending {
            assert!(leaves.contains(answer_leaf) && leaves.contains(query_leaf), "{ticket:?} was told and lost");
        }
    }
}
