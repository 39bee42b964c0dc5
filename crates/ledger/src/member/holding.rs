//! Commits that are held, entries that are kept: before anything stands.

use super::*;

/// How far a commit's date may lie from a holder's clock, in milliseconds (a day). It decides which certificates have ended,
/// which is a matter of days; a narrower bound would let a wrong clock stop a group.
const DATE_MILLIS_MAX: u64 = 86_400_000;

impl Member {
    pub(crate) fn hold(
        &mut self,
        now: Millis,
        from: &NodeUri,
        draft: &Draft,
        commit: &Arc<[u8]>,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let Body::Commit { epoch, at, commit: hash, .. } = &draft.body else { return Err(Refusal::Head) };
        self.next_place(&draft.ledger, draft.index)?;
        if from != self.chain.convener() {
            return Err(Refusal::NotTheConvener(from.clone()));
        }
        if self.unseated.contains(from) {
            return Err(Refusal::Unseated(from.clone()));
        }
        if *epoch != self.chain.epoch() {
            let expected = self.chain.epoch();
            return Err(Refusal::Skip(crate::Skip::Epoch { expected, found: *epoch }));
        }
        if *at < self.chain.at() {
            return Err(Refusal::Skip(crate::Skip::TimeGoesBack));
        }
        let off = at.0.abs_diff(now.0);
        if off > DATE_MILLIS_MAX {
            return Err(Refusal::Clock { off });
        }
        if !draft.charter.covers(self.chain.vector()) || self.charters.get(&draft.charter).is_err() {
            return Err(Refusal::Charter(draft.charter.clone()));
        }
        if commit.len() > COMMIT_BYTES_MAX {
            return Err(Refusal::TooLarge { found: commit.len() });
        }
        let Some(statement) = held_statement(draft) else { return Err(Refusal::Head) };
        self.holding.insert(statement, (from.clone(), draft.ledger.clone(), draft.index, *hash));
        if let Some(leaf) = self.held.get(&statement).copied() {
            self.say_held(statement, leaf, out);
            return Ok(());
        }
        let record = Effect::RecordHeld { ledger: draft.ledger.clone(), index: draft.index, statement };
        if self.commits.contains_key(hash) {
            out.push(record);
        } else {
            self.commits.insert(*hash, Arc::clone(commit));
            out.store(Record::Commit(Arc::clone(commit)), vec![record]);
        }
        Ok(())
    }

    pub(crate) fn held(&mut self, statement: Digest, leaf: Digest, out: &mut Out) {
        if self.held.insert(statement, leaf).is_none() {
            let told = self.told_held(statement, leaf);
            out.store(Record::Held { statement, leaf }, told);
        }
    }

    pub(super) fn told_held(&self, statement: Digest, leaf: Digest) -> Vec<Effect> {
        let Some((to, ledger, index, commit)) = self.holding.get(&statement).cloned() else { return Vec::new() };
        vec![Effect::Send { to, message: Message::Held { ledger, index, commit, leaf } }]
    }

    pub(super) fn say_held(&self, statement: Digest, leaf: Digest, out: &mut Out) {
        for effect in self.told_held(statement, leaf) {
            if let Effect::Send { to, message } = effect {
                out.send(&self.me, &to, message);
            }
        }
    }

    pub(super) fn next_place(&self, ledger: &LedgerOrigin, index: u64) -> Result<(), Refusal> {
        if ledger != self.chain.ledger() || index != self.chain.size() {
            return Err(Refusal::Elsewhere { ledger: self.chain.ledger().clone(), size: self.chain.size() });
        }
        if self.chain.unsettled().is_some() { Err(Refusal::Unsettled) } else { Ok(()) }
    }

    /// Keeps an entry that a proposer is about to show to the witnesses.
    pub(crate) fn keep(
        &mut self,
        now: Millis,
        from: &NodeUri,
        entry: &Entry,
        note: &[u8],
        out: &mut Out,
    ) -> Result<(), Fault> {
        let draft = entry.draft();
        let kept = vec![Effect::Send { to: from.clone(), message: Message::Kept { leaf: entry.leaf() } }];
        if self.kept.contains_key(&entry.leaf()) {
            out.send(&self.me, from, Message::Kept { leaf: entry.leaf() });
            return Ok(());
        }
        self.next_place(&draft.ledger, draft.index)?;
        let head = self.bare(&self.head(note)?)?;
        let ends = head.size().0 == draft.index + 1 && head.root() == self.chain.leaves().root_with(&[entry.leaf()]);
        if !ends {
            return Err(Fault::Refused(Refusal::Head));
        }
        let rules = self.rules().cloned();
        let rules = rules.ok_or_else(|| Refusal::Charter(self.chain.vector().clone()))?;
        if self.charters.get(&draft.charter).is_err() {
            return Err(Fault::Refused(Refusal::Charter(draft.charter.clone())));
        }
        match self.chain.judge(entry.as_bytes(), &rules) {
            Verdict::Skip(skip) => return Err(Fault::Refused(Refusal::Skip(skip))),
            Verdict::Close { by } => self.may_close(now, &by)?,
            Verdict::Commit { .. } => self.may_quote_me(draft)?,
        }
        if self.kept.len() >= KEPT_MAX {
            return Err(Fault::NotAwaited("another entry for one place"));
        }
        self.kept.insert(entry.leaf(), Kept { entry: entry.clone(), head, since: now });
        out.store(Record::Kept { entry: entry.as_bytes().to_vec(), head: note.to_vec() }, kept);
        Ok(())
    }

    /// An entry quotes this member's HELD, if any, as it was made.
    pub(super) fn may_quote_me(&self, draft: &Draft) -> Result<(), Refusal> {
        let Body::Commit { held, .. } = &draft.body else { return Ok(()) };
        let made = held_statement(draft).and_then(|statement| self.held.get(&statement));
        match held.get(&self.me) {
            Some(quoted) if made != Some(quoted) => Err(Refusal::NeverHeld),
            _ => Ok(()),
        }
    }

    pub(super) fn may_close(&self, now: Millis, by: &NodeUri) -> Result<(), Refusal> {
        if self.unseated.contains(by) {
            return Err(Refusal::Unseated(by.clone()));
        }
        let silent = now.since(self.heard);
        match self.must_be_silent(by) {
            // What this member heard last may have reached the successor a little earlier.
            Some(needed) if silent >= needed.saturating_sub(needed / 4) => Ok(()),
            _ => Err(Refusal::NotSilent(silent)),
        }
    }
}
