//! From the records of an earlier life.

use super::*;

impl Member {
    /// Takes a record back in. What followed it is done again: it may not have been done.
    pub(crate) fn replay(&mut self, now: Millis, record: Record) -> Result<(), Fault> {
        match record {
            Record::Commit(commit) => {
                self.commits.insert(commit_hash(&commit), commit);
            }
            Record::Held { statement, leaf } => {
                self.held.insert(statement, leaf);
            }
            Record::Kept { entry, head } => {
                let (entry, head) = (Entry::parse(&entry)?, self.bare(&self.head(&head)?)?);
                let draft = entry.draft();
                if draft.ledger == *self.chain.ledger() && draft.index == self.chain.size() {
                    self.kept.insert(entry.leaf(), Kept { entry, head, since: now });
                }
            }
            Record::Accepted { entries, head } => {
                let head = self.head(&head)?;
                self.stood(now, entries, head)?;
            }
            Record::Settled { index, roster } => {
                if !self.chain.settle(index, roster) {
                    return Err(Fault::NotOrdered(index));
                }
                // What cannot be taken in now could not be then, or came again.
                let _ = self.resume(now, &mut Out::default());
            }
            Record::Unseated(node) => {
                self.unseated.insert(node);
            }
            Record::Rebooted(reboot) => self.reboot(now, &reboot)?,
            Record::Staged { .. } => {}
            Record::Verified { ledger, from, convener, entries, head } => {
                let head = self.charters.head(&ledger, &head)?;
                self.chain.pass(&ledger, &entries, &head)?;
                self.history.push(Segment { ledger, from, entries, head, convener });
            }
            Record::Joined { ledger, size, convener, charter, epoch, at, roster } => {
                let standing = Standing { ledger, convener, vector: charter, epoch, at, roster: Some(roster) };
                if !self.chain.stand(standing, size) {
                    return Err(Fault::NotOrdered(size));
                }
                let newest = self.history.last().map(|segment| &segment.head);
                self.alive = newest.filter(|head| head.size().0 == size).cloned();
            }
        }
        Ok(())
    }

    /// Entries that stood. Those that stand here already, as the rest of a piece that began before, are passed over.
    fn stood(&mut self, now: Millis, entries: Vec<Vec<u8>>, head: SignedCheckpoint) -> Result<(), Fault> {
        if !self.stands(&entries, &head) {
            self.stand(now, entries, head, &mut Out::default())?;
        }
        Ok(())
    }

    fn stands(&self, entries: &[Vec<u8>], head: &SignedCheckpoint) -> bool {
        let here = head.origin() == self.chain.ledger().to_string();
        let first = head.size().0.checked_sub(entries.len() as u64);
        let Some(last) = self.history.last() else { return false };
        let same = |segment: &&Segment| segment.head.checkpoint() == last.head.checkpoint();
        let began = self.history.iter().rev().take_while(same).last().map(|piece| piece.from);
        let (true, Some(first)) = (here, first.filter(|first| Some(*first) > began)) else { return false };
        let known = usize::try_from(self.chain.size().saturating_sub(first)).unwrap_or(usize::MAX);
        let (known, waits) = entries.split_at(known.min(entries.len()));
        let leaf = |entry: &Vec<u8>| Some(puente_audit_log::leaf_hash(entry));
        let rest = self.rest.as_ref().is_some_and(|(rest, _)| rest.starts_with(waits));
        !known.is_empty()
            && (waits.is_empty() || rest)
            && known.iter().zip(first..).all(|(entry, index)| leaf(entry) == self.chain.leaves().get(index))
    }

    /// After all records: orders again what is not settled.
    pub(crate) fn started(&mut self, out: &mut Out) {
        // A record may have brought since what was wanted when another was taken in.
        self.wanted = None;
        let Some(index) = self.chain.unsettled() else { return };
        let ledger = self.chain.ledger().clone();
        let entry = self.history.iter().find_map(|segment| {
            let at = usize::try_from(index.checked_sub(segment.from)?).ok()?;
            segment.entries.get(at).filter(|_| segment.ledger == ledger)
        });
        let Some(Ok(entry)) = entry.map(|entry| Entry::parse(entry)) else { return };
        if let Body::Commit { epoch, at, commit, .. } = entry.draft().body {
            let charter = entry.draft().charter.clone();
            let ordered = Ordered { ledger, index, epoch, commit_hash: commit, charter, at };
            match self.commits.get(&commit) {
                Some(bytes) => out.push(Effect::Ordered { ordered, commit: Arc::clone(bytes) }),
                None => self.wanted = Some(ordered),
            }
        }
    }
}
