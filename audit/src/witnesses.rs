//! Witnesses that signed what one honest witness cannot sign, among all heads in the files.

use std::collections::{BTreeMap, HashSet};

use puente_audit_log::{SignedCheckpoint, TileReader};
use puente_model::{Digest, Millis};

use crate::class::Class;
use crate::evidence::Proof;
use crate::finding::{Blame, Finding, Findings};
use crate::heads::{Relation, relate};
use crate::roster::Roster;

/// Cosigned heads that are compared.
const HEADS_MAX: usize = 20_000;

/// Heads of one log, and its files where they lie there.
#[derive(Default)]
pub(crate) struct Heads<'l> {
    heads: Vec<&'l SignedCheckpoint>,
    /// Several, where several copies lie there.
    presented: Vec<(&'l SignedCheckpoint, &'l dyn TileReader)>,
}

/// Every verified head in the files, by log.
#[derive(Default)]
pub(crate) struct AllHeads<'l>(BTreeMap<&'l str, Heads<'l>>);

impl<'l> AllHeads<'l> {
    pub(crate) fn add(&mut self, heads: impl IntoIterator<Item = &'l SignedCheckpoint>) {
        heads.into_iter().for_each(|head| self.0.entry(head.origin()).or_default().heads.push(head));
    }

    /// The head under which a log's files lie.
    pub(crate) fn present(&mut self, head: &'l SignedCheckpoint, tiles: &'l dyn TileReader) {
        self.add([head]);
        self.0.entry(head.origin()).or_default().presented.push((head, tiles));
    }
}

/// A head, and when one witness says that it was the largest.
#[derive(Clone, Copy)]
struct Signed<'l> {
    head: &'l SignedCheckpoint,
    at: Millis,
}

/// Looks for witnesses that contradict themselves. One finding a witness and log.
pub(crate) fn judge(roster: &Roster<'_>, all: &AllHeads<'_>, findings: &mut Findings) {
    let mut left = HEADS_MAX;
    for (origin, Heads { heads, presented }) in &all.0 {
        let mut seen = HashSet::new();
        let mut by_witness: BTreeMap<String, Vec<Signed<'_>>> = BTreeMap::new();
        for head in heads.iter().filter(|head| head.signatures().len() > 1) {
            if !seen.insert(Digest::of(head.note_bytes())) {
                continue;
            }
            if left == 0 {
                let why = format!("more than {HEADS_MAX} cosigned heads: not all of them were compared");
                return findings.push(Finding::new(Class::Unavailable, Blame::Unknown, origin, why));
            }
            left -= 1;
            for signature in roster.cosigners(head) {
                let at = signature.at.unwrap_or_default();
                by_witness.entry(signature.name).or_default().push(Signed { head, at });
            }
        }
        for (witness, signed) in by_witness {
            findings.extend(
                two_histories(origin, &witness, &signed, presented).or_else(|| went_back(origin, &witness, signed)),
            );
        }
    }
}

fn two_histories(
    origin: &str,
    witness: &str,
    signed: &[Signed<'_>],
    presented: &[(&SignedCheckpoint, &dyn TileReader)],
) -> Option<Finding> {
    let mut roots: BTreeMap<u64, &SignedCheckpoint> = BTreeMap::new();
    let finding = |detail: String, proof| {
        Finding::new(Class::WitnessForked, Blame::Witness(witness.to_owned()), origin, detail).with_proof(proof)
    };
    for Signed { head, .. } in signed {
        let known = *roots.entry(head.size().0).or_insert(head);
        if known.root() != head.root() {
            let proof = Proof::heads([known.clone(), (*head).clone()]);
            return Some(finding(format!("two roots at {} entries", head.size()), proof));
        }
    }
    // Heads of different sizes contradict each other if the files show what the later one begins with.
    presented.iter().find_map(|(head, tiles)| {
        let (mut with, mut against) = (Vec::new(), Vec::new());
        for (_, one) in roots.iter().filter(|(size, _)| **size <= head.size().0) {
            match relate(head, one, *tiles) {
                Relation::Consistent => with.push(*one),
                Relation::Contradicts(_) | Relation::Split => against.push(*one),
                Relation::Beyond | Relation::CouldNotTell(_) => {}
            }
        }
        let pairs = against.iter().flat_map(|early| with.iter().map(move |late| (early, late)));
        pairs.filter(|(early, late)| late.size() > early.size()).find_map(|(early, late)| {
            let Relation::Contradicts(prefix) = relate(late, early, *tiles) else { return None };
            let proof = Proof::heads([(*early).clone(), (*late).clone()]).with_prefix(prefix);
            Some(finding(format!("heads of {} and {} entries", early.size(), late.size()), proof))
        })
    })
}

/// A cosignature says that its witness had seen no larger tree then: by its own clock, so that no two clocks are compared.
fn went_back(origin: &str, witness: &str, mut signed: Vec<Signed<'_>>) -> Option<Finding> {
    // Of one second nothing is said about which came first.
    signed.sort_by_key(|one| (one.at, one.head.size()));
    let mut largest: Option<Signed<'_>> = None;
    let mut of_second: Option<Signed<'_>> = None;
    for one in signed {
        if of_second.is_some_and(|known| known.at < one.at) {
            largest = [largest, of_second].into_iter().flatten().max_by_key(|known| known.head.size());
            of_second = None;
        }
        if let Some(before) = largest.filter(|before| before.head.size() > one.head.size()) {
            let detail =
                format!("{} entries at {}, {} entries at {}", before.head.size(), before.at, one.head.size(), one.at);
            let proof = Proof::heads([before.head.clone(), one.head.clone()]);
            let blame = Blame::Witness(witness.to_owned());
            return Some(Finding::new(Class::WitnessBack, blame, origin, detail).with_proof(proof));
        }
        of_second = Some(of_second.filter(|known| known.head.size() >= one.head.size()).unwrap_or(one));
    }
    None
}
