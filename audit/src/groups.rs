//! What members' logs say of their groups: epochs one after the other in each log, and alike in all of them.

use std::collections::BTreeMap;

use puente_model::{Digest, NodeUri};
use puente_wire::{GroupEntry, GroupEvent, GroupName, LedgerPlace, Terms};

use crate::class::Class;
use crate::dir::Cached;
use crate::evidence::Proof;
use crate::finding::{Blame, Finding, Findings};
use crate::prove::proven_entry;
use crate::verify::Checked;

/// Group entries of one log that are compared with those of others.
const FACTS_MAX: usize = 1_000_000;
/// Sides of a fork that are shown with an entry each.
const SIDES_MAX: usize = 8;

/// A group entry, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) index: u64,
    pub(crate) leaf: Digest,
    pub(crate) entry: GroupEntry,
}

/// The last that a node recorded of an epoch.
#[derive(Debug, Clone, Copy)]
struct Last {
    epoch: u64,
    left: bool,
    /// Where in this log; none in the log before it.
    index: Option<u64>,
}

/// What one log says of groups, as it is replayed.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub(crate) facts: Vec<Fact>,
    last: BTreeMap<GroupName, Last>,
    /// There were more than are kept.
    pub(crate) cut: bool,
}

/// What the log that follows goes on with.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupsBefore(BTreeMap<GroupName, Last>);

/// An epoch that does not follow the one before it.
pub(crate) struct Stumble {
    pub(crate) class: Class,
    pub(crate) detail: String,
    /// The entry before, in this log.
    pub(crate) before: Option<u64>,
}

impl Groups {
    pub(crate) fn follow(&mut self, before: GroupsBefore) {
        self.last = before.0;
    }

    pub(crate) fn carry(&self) -> GroupsBefore {
        let forgotten = |(name, last): (&GroupName, &Last)| (name.clone(), Last { index: None, ..*last });
        GroupsBefore(self.last.iter().map(forgotten).collect())
    }

    /// Takes the next entry of the log; says if its epoch does not follow.
    pub(crate) fn take(&mut self, index: u64, leaf: Digest, entry: GroupEntry) -> Option<Stumble> {
        let known = self.last.get(&entry.group).copied();
        let (next, stumble) = match (&entry.what, known) {
            (GroupEvent::Held { .. }, _) => (None, None),
            (GroupEvent::Epoch { epoch, .. }, known) => {
                let next = Last { epoch: *epoch, left: false, index: Some(index) };
                (Some(next), known.and_then(|known| stumble(&entry.group, &known, *epoch)))
            }
            (GroupEvent::Left { epoch, .. }, known) => {
                let next = Last { epoch: *epoch, left: true, index: Some(index) };
                // It may leave an epoch that it never entered by a commit: the one that it made the group with.
                let other = known.filter(|known| known.epoch != *epoch || known.left);
                let back = other.map(|known| Stumble {
                    class: Class::GroupBack,
                    detail: format!("{}: epoch {} is left, after epoch {}", entry.group, epoch, known.epoch),
                    before: known.index,
                });
                (Some(next), back)
            }
        };
        if let Some(next) = next {
            self.last.insert(entry.group.clone(), next);
        }
        match self.facts.len() < FACTS_MAX {
            true => self.facts.push(Fact { index, leaf, entry }),
            false => self.cut = true,
        }
        stumble
    }

    /// What is wrong with an entry of this log's node in an epoch of a group: QUERY names the epoch that it is in, an answer one
    /// that it was in.
    pub(crate) fn misplaced(&self, terms: &Terms, asks: bool) -> Option<String> {
        if terms.group.is_empty() {
            return None;
        }
        let at = match self.last.get(terms.group.as_str()) {
            Some(last) if last.left && asks => format!("after it left epoch {}", last.epoch),
            // A node that lost its log's tail may have lost what it knew of the group, too.
            Some(last) if terms.epoch > last.epoch || asks && terms.epoch < last.epoch && last.index.is_some() => {
                format!("in epoch {}", last.epoch)
            }
            Some(_) => return None,
            None => "before it entered any".to_owned(),
        };
        Some(format!("epoch {} of {}, {at}", terms.epoch, terms.group))
    }
}

fn stumble(group: &GroupName, known: &Last, epoch: u64) -> Option<Stumble> {
    let class = match epoch {
        _ if epoch <= known.epoch => Class::GroupBack,
        _ if !known.left && epoch != known.epoch + 1 => Class::GroupGap,
        _ => return None,
    };
    let detail = format!("{group}: epoch {epoch} begins, after epoch {}", known.epoch);
    Some(Stumble { class, detail, before: known.index })
}

/// What one member says of an epoch.
type Said = (Digest, Digest, Option<LedgerPlace>);

/// Of each group the first epoch of which two members say different things.
pub(crate) fn compare(logs: &[&Checked], findings: &mut Findings) {
    type Sides<'l> = BTreeMap<Said, Vec<(&'l Checked, &'l Fact)>>;
    let mut groups: BTreeMap<&GroupName, BTreeMap<u64, Sides<'_>>> = BTreeMap::new();
    for (log, fact) in logs.iter().flat_map(|log| log.groups.iter().map(move |fact| (*log, fact))) {
        if let GroupEvent::Epoch { epoch, commit, hash, ordered } = fact.entry.what {
            let sides = groups.entry(&fact.entry.group).or_default().entry(epoch).or_default();
            sides.entry((commit, hash, ordered)).or_default().push((log, fact));
        }
    }
    for (group, epochs) in groups {
        let Some((epoch, sides)) = epochs.into_iter().find(|(_, sides)| sides.len() > 1) else { continue };
        let names = |side: &[(&Checked, &Fact)]| {
            let mut names: Vec<&str> = side.iter().map(|(log, _)| short(&log.node)).collect();
            names.sort_unstable();
            names.dedup();
            names.join(", ")
        };
        let side = |((commit, hash, place), who): (&Said, &Vec<(&Checked, &Fact)>)| {
            let place = place.map(|place| format!(" ({} {})", place.origin(group), place.index())).unwrap_or_default();
            format!("{}: {} {}{place}", names(who), begin(commit), begin(hash))
        };
        let all: Vec<String> = sides.iter().take(SIDES_MAX).map(side).collect();
        let detail = format!("epoch {epoch} of {group}, commit and epoch hash of each side: {}", all.join("; "));
        let firsts: Vec<&(&Checked, &Fact)> = sides.values().filter_map(|side| side.first()).collect();
        let Some((log, fact)) = firsts.first() else { continue };
        let mut proof = Proof::default();
        for (log, fact) in firsts.iter().take(SIDES_MAX) {
            proof = proof.with_entry(proven_entry(&log.dir, &Cached::new(&log.dir), &log.head, fact.index));
        }
        let finding = Finding::new(Class::GroupForked, Blame::Unknown, &log.origin, detail);
        findings.push(finding.at(fact.index).with_proof(proof));
    }
}

/// The beginning of a digest, for people.
fn begin(digest: &Digest) -> String {
    hex::encode(&digest.0[..8])
}

/// A node's name without its scheme.
pub(crate) fn short(node: &NodeUri) -> &str {
    node.as_str().strip_prefix("puente://").unwrap_or(node.as_str())
}
