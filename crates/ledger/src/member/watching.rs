//! Signs of life, what witnesses show, this node's own commits, and what others ask for.

use super::*;
use crate::wire::{ENTRIES_BYTES_MAX, ENTRIES_MAX};

/// The charter that a commit names; none of what is no commit.
fn charter_of(entry: &[u8]) -> Option<CharterVector> {
    let draft = Entry::parse(entry).ok()?.draft().clone();
    matches!(draft.body, Body::Commit { .. }).then_some(draft.charter)
}

impl Member {
    pub(crate) fn fresh(&mut self, now: Millis, from: &NodeUri, note: &[u8], out: &mut Out) -> Result<(), Fault> {
        let head = self.head(note)?;
        let ledger = self.ledger_named(head.origin())?;
        if ledger != *self.chain.ledger() || head.size().0 > self.chain.size() {
            self.want(from, &ledger, head.size().0, out);
            return Ok(());
        }
        let rules = self.charters.get(self.chain.vector())?;
        let met = rules.quorum().check(&head).map_err(ChainError::from)?.at.into_values().max();
        self.compare(&ledger, &head, out)?;
        if head.size().0 < self.chain.size() || head.root() != self.chain.root() {
            return Err(Fault::NotAwaited("a head"));
        }
        // Nobody holds commits for a convener that lost its place: that it is there keeps nobody from closing.
        if self.unseated.contains(self.chain.convener()) {
            return Err(Fault::Refused(Refusal::Unseated(self.chain.convener().clone())));
        }
        if self.alive_at < met {
            self.alive_at = met;
            self.alive = Some(head);
            self.heard = now;
        }
        Ok(())
    }

    /// What a witness shows: cosignatures for an entry that is kept here are gathered, until they are enough.
    pub(crate) fn witness_head(
        &mut self,
        now: Millis,
        witness: &str,
        head: &SignedCheckpoint,
        out: &mut Out,
    ) -> Result<(), Fault> {
        if head.origin() != self.chain.ledger().to_string() {
            return Ok(());
        }
        let ledger = self.chain.ledger().clone();
        self.compare(&ledger, head, out)?;
        let rules = self.charters.get(self.chain.vector())?.clone();
        let key = rules.quorum().key(witness).ok_or_else(|| Fault::UnknownWitness(witness.to_owned()))?;
        let same = self.kept.values_mut().find(|kept| kept.head.checkpoint() == head.checkpoint());
        let Some(kept) = same else { return Ok(()) };
        kept.head = gathered(&kept.head, head, key)?;
        if rules.quorum().may_be_met(&kept.head) && self.chain.unsettled().is_none() {
            let (entry, head) = (kept.entry.as_bytes().to_vec(), kept.head.clone());
            let from = self.chain.size();
            self.take(now, vec![entry], from, head, out)?;
        }
        Ok(())
    }

    pub(crate) fn submit(&mut self, now: Millis, epoch: u64, commit: &Arc<[u8]>, out: &mut Out) {
        let hash = commit_hash(commit);
        let reason = if commit.len() > COMMIT_BYTES_MAX {
            Some(Reason::TooLarge { found: commit.len() })
        } else if self.intents.len() >= INTENTS_MAX {
            Some(Reason::Busy)
        } else if epoch > self.chain.epoch() {
            Some(Reason::Future { expected: self.chain.epoch(), found: epoch })
        } else {
            None
        };
        if let Some(reason) = reason {
            out.push(Effect::Conclude { commit: hash, answer: Answer::Rejected(reason) });
            return;
        }
        let intent = Intent { epoch, commit: Arc::clone(commit), since: now, told: false };
        self.intents.insert(hash, intent);
        self.retry_at = now;
    }

    pub(crate) fn answered(&mut self, commit: Digest, answer: &Answer, out: &mut Out) {
        // Accepted and Stale are believed by their receipts, which come as such.
        if let (Answer::Rejected(_), Some(_)) = (answer, self.intents.remove(&commit)) {
            out.push(Effect::Conclude { commit, answer: answer.clone() });
        }
    }

    pub(crate) fn tick(&mut self, now: Millis, out: &mut Out) {
        if now < self.retry_at {
            return;
        }
        self.retry_at = now.plus(self.tuning.retry);
        let convener = self.chain.convener().clone();
        if let Some(ordered) = &self.wanted {
            for node in self.roster().iter().filter(|node| **node != self.me) {
                out.send(&self.me, node, Message::WantCommit(ordered.commit_hash));
            }
        }
        if self.chain.unsettled().is_none() {
            let epoch = self.chain.epoch();
            for (hash, intent) in self.intents.iter_mut().filter(|(_, intent)| intent.epoch <= epoch) {
                let message = Message::Submit { epoch: intent.epoch, commit: Arc::clone(&intent.commit) };
                out.send(&self.me, &convener, message);
                if now.since(intent.since) > self.tuning.patience && !intent.told {
                    intent.told = true;
                    out.push(Effect::Withheld { commit: *hash, convener: convener.clone() });
                }
            }
        }
        let stuck = |kept: &Kept| now.since(kept.since) > self.tuning.patience;
        if now >= self.read_at && self.kept.values().any(stuck) {
            self.read_at = now.plus(self.tuning.patience);
            for key in self.rules().map(|rules| rules.quorum().keys()).unwrap_or_default() {
                let ledger = self.chain.ledger().clone();
                out.push(Effect::Read { witness: key.name().to_owned(), ledger });
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        let waits = !self.intents.is_empty() || self.wanted.is_some() || !self.kept.is_empty();
        waits.then_some(self.retry_at)
    }

    /// What stands from a place on; where this member knows of no more, it says so.
    pub(crate) fn shows(&self, ledger: &LedgerOrigin, from: u64, most: u32) -> Option<Message> {
        let end = *ledger == *self.chain.ledger() && from == self.chain.size();
        let nothing = || Message::Entries { ledger: ledger.clone(), from, entries: Vec::new(), head: Vec::new() };
        if end { Some(nothing()) } else { self.piece(ledger, from, most) }
    }

    /// Entries from a place on, in one piece: up to the newest head that proves them all, as long as they name one charter,
    /// so that its witnesses cosigned for each of them. CLOSE stands alone, since whether it came too early is told by the
    /// head before.
    fn piece(&self, ledger: &LedgerOrigin, from: u64, most: u32) -> Option<Message> {
        let most = usize::try_from(most).unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX);
        let mut piece: Option<(Vec<Vec<u8>>, &SignedCheckpoint)> = None;
        // What the entry before names governs the first; from then on all of them are to name that.
        let (mut before, mut charter): (Option<&Vec<u8>>, _) = (None, None);
        let (mut next, mut bytes) = (from, 0);
        for segment in self.history.iter().filter(|segment| segment.ledger == *ledger) {
            let Some(known) = next.checked_sub(segment.from).and_then(|known| usize::try_from(known).ok()) else {
                break;
            };
            let Some((known, more)) = segment.entries.split_at_checked(known) else { continue };
            before = known.last().or(before);
            if more.is_empty() {
                continue;
            }
            bytes += more.iter().map(Vec::len).sum::<usize>();
            match &mut piece {
                None => {
                    charter = before.and_then(|entry| charter_of(entry));
                    piece = Some((more.to_vec(), &segment.head));
                }
                Some((entries, head)) => {
                    let fits = entries.len() + more.len() <= most && bytes <= ENTRIES_BYTES_MAX;
                    if !fits || more.iter().any(|entry| charter_of(entry).is_none()) {
                        break;
                    }
                    entries.extend_from_slice(more);
                    *head = &segment.head;
                }
            }
            if charter.is_none() || more.iter().any(|entry| charter_of(entry) != charter) {
                break;
            }
            next += more.len() as u64;
        }
        let (entries, head) = piece?;
        Some(Message::Entries { ledger: ledger.clone(), from, entries, head: head.note_bytes().to_vec() })
    }

    pub(crate) fn segment(&self, ledger: &LedgerOrigin, from: u64) -> Option<Message> {
        let holds = |s: &&Segment| s.ledger == *ledger && s.from <= from && from < s.from + s.entries.len() as u64;
        let segment = self.history.iter().find(holds)?;
        Some(Message::Entries {
            ledger: ledger.clone(),
            from: segment.from,
            entries: segment.entries.clone(),
            head: segment.head.note_bytes().to_vec(),
        })
    }

    pub(crate) fn kept_for(&self, ledger: &LedgerOrigin, index: u64) -> Vec<Message> {
        let here = *ledger == *self.chain.ledger() && index == self.chain.size();
        let keeps = self
            .kept
            .values()
            .filter(|_| here)
            .map(|kept| Message::Keep { entry: kept.entry.as_bytes().to_vec(), head: kept.head.note_bytes().to_vec() });
        keeps.collect()
    }

    pub(crate) fn commit_of(&self, hash: &Digest) -> Option<Message> {
        self.commits.get(hash).map(|commit| Message::Commit(Arc::clone(commit)))
    }
}
