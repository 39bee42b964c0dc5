//! What need not be kept of what is settled.

use std::collections::{BTreeMap, HashSet};

use puente_model::{Digest, Millis, commit_hash};

use crate::api::Record;
use crate::engine::Engine;
use crate::entry::{Body, Entry};

/// Commits that no entry names yet, and HELD records, that are kept: the newest.
const PENDING_MAX: usize = 64;

impl Engine {
    /// The records that are still needed, of all that were made durable, in order: a driver may put them in the place of
    /// those, in one transaction. [`Engine::open`] gives the same again.
    ///
    /// Entries stay, since whoever comes in later verifies them all. Commits that an entry dated before `since` names go: a
    /// member that is further behind enters the group anew. None while a commit waits to be settled, and if the records are
    /// not this engine's.
    pub fn prune(&self, records: Vec<Record>, since: Millis) -> Option<Vec<Record>> {
        let member = self.member();
        let chain = &member.chain;
        let roster = chain.roster().cloned().filter(|_| member.is_at_rest())?;
        let (mut kept, mut named, mut at) = (Vec::new(), BTreeMap::new(), (None, 0_u64));
        for segment in &member.history {
            if at.0.as_ref() != Some(&segment.ledger) {
                at = (Some(segment.ledger.clone()), 0);
            }
            let known = usize::try_from(at.1.checked_sub(segment.from)?).ok()?;
            for entry in segment.entries.iter().filter_map(|entry| Entry::parse(entry).ok()) {
                if let Body::Commit { at, commit, .. } = entry.draft().body {
                    named.insert(commit, at);
                }
            }
            // The rest of a page is a page of its own, too, once it was taken in.
            let Some(entries) = segment.entries.get(known..).filter(|entries| !entries.is_empty()) else { continue };
            let (ledger, from, convener) = (segment.ledger.clone(), at.1, segment.convener().clone());
            at.1 += entries.len() as u64;
            let (entries, head) = (entries.to_vec(), segment.head.note_bytes().to_vec());
            kept.push(Record::Verified { ledger, from, convener, entries, head });
        }
        kept.push(Record::Joined {
            ledger: chain.ledger().clone(),
            size: chain.size(),
            convener: chain.convener().clone(),
            charter: chain.vector().clone(),
            epoch: chain.epoch(),
            at: chain.at(),
            roster,
        });
        kept.extend(member.unseated.iter().cloned().map(Record::Unseated));
        let needed = |commit: &Digest| named.get(commit).is_some_and(|at| *at >= since);
        let (mut commits, mut held, mut own) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        // The newest first.
        for record in records.into_iter().rev() {
            match &record {
                Record::Commit(bytes) => {
                    let hash = commit_hash(bytes);
                    let pending = !named.contains_key(&hash) && seen.len() < PENDING_MAX;
                    if needed(&hash) || (pending && seen.insert(hash)) {
                        commits.push(record);
                    }
                }
                Record::Held { .. } if held.len() < PENDING_MAX => held.push(record),
                // What this node keeps for the next place, and what it signed for that, or for one that something else took:
                // it cannot sign there again.
                Record::Staged { entry, .. } | Record::Kept { entry, .. } => {
                    let entry = Entry::parse(entry).ok()?;
                    let draft = entry.draft();
                    let lost = matches!(record, Record::Staged { .. })
                        && chain.leaves().get(draft.index) != Some(entry.leaf());
                    if draft.ledger == *chain.ledger() && (draft.index >= chain.size() || lost) {
                        own.push(record);
                    }
                }
                _ => {}
            }
        }
        for records in [commits, held, own] {
            kept.extend(records.into_iter().rev());
        }
        Some(kept)
    }
}
