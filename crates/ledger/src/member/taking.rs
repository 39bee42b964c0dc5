//! What stands is taken in, once, and compared with what stood.

use super::*;

impl Member {
    pub(crate) fn receipt(
        &mut self,
        now: Millis,
        from: &NodeUri,
        receipt: &LedgerReceipt,
        out: &mut Out,
    ) -> Result<(), Fault> {
        let entry = Entry::parse(&receipt.entry)?;
        let ledger = self.ledger_named(&entry.draft().ledger.to_string())?;
        let claimed = ClaimedReceipt::parse(&receipt.proof)?;
        let (index, place) = (claimed.index().0, entry.draft().index);
        if index != place {
            return Err(Fault::OtherIndex { receipt: index, entry: place });
        }
        let head = self.head(claimed.checkpoint().note_bytes())?;
        if head.origin() != ledger.to_string() {
            return Err(Fault::Chain(ChainError::OtherLedger { expected: ledger, found: head.origin().to_owned() }));
        }
        claimed.verify_under(&entry.leaf(), &head)?;
        if ledger != *self.chain.ledger() || index > self.chain.size() || head.size().0 > self.chain.size() + 1 {
            self.compare(&ledger, &head, out)?;
            self.want(from, &ledger, head.size().0, out);
            return Ok(());
        }
        self.take(now, vec![receipt.entry.clone()], index, head, out)
    }

    pub(crate) fn entries(
        &mut self,
        now: Millis,
        from: &NodeUri,
        (ledger, first, entries, note): (&LedgerOrigin, u64, Vec<Vec<u8>>, &[u8]),
        out: &mut Out,
    ) -> Result<(), Fault> {
        self.ledger_named(&ledger.to_string())?;
        if entries.is_empty() {
            // There is no more.
            return Ok(());
        }
        let head = self.head(note)?;
        if ledger != self.chain.ledger() || first > self.chain.size() {
            self.want(from, ledger, first, out);
            return Ok(());
        }
        let several = entries.len() > 1;
        match self.take(now, entries, first, head, out) {
            // The head may be of witnesses that the charter of the first did not name yet: one by one, then.
            Err(Fault::Chain(ChainError::NotCosigned(_))) if several => {
                out.send(&self.me, from, self.wants(1));
                return Ok(());
            }
            taken => taken?,
        }
        // There may be more.
        if self.chain.unsettled().is_none() {
            out.send(&self.me, from, self.wants(WANT_ENTRIES));
        } else {
            self.guide = Some(from.clone());
            self.ask_ahead(out);
        }
        Ok(())
    }

    /// Asks whoever showed what waits for the commits that it names, a few at a time, so that each is here when its turn comes.
    fn ask_ahead(&mut self, out: &mut Out) {
        let (Some(guide), Some((entries, _))) = (&self.guide, &self.rest) else {
            self.ahead.clear();
            return;
        };
        for entry in entries.iter().take(AHEAD_MAX).filter_map(|entry| Entry::parse(entry).ok()) {
            if let Body::Commit { commit, .. } = entry.draft().body
                && !self.commits.contains_key(&commit)
                && self.ahead.insert(commit)
            {
                out.send(&self.me, guide, Message::WantCommit(commit));
            }
        }
    }

    /// Asks for what stands after what is here, if something is said to.
    pub(super) fn want(&self, from: &NodeUri, ledger: &LedgerOrigin, size: u64, out: &mut Out) {
        let (here, have) = (self.chain.ledger(), self.chain.size());
        if ledger.number() > here.number() || (ledger == here && size > have) {
            out.send(&self.me, from, self.wants(WANT_ENTRIES));
        }
    }

    /// Compares a head with what stands here, and keeps the proof if they contradict each other.
    pub(super) fn compare(&self, ledger: &LedgerOrigin, head: &SignedCheckpoint, out: &mut Out) -> Result<(), Fault> {
        let mut leaves = Leaves::default();
        let mut mine = None;
        for segment in self.history.iter().filter(|segment| segment.ledger == *ledger) {
            for entry in segment.entries.iter().skip((leaves.size() - segment.from) as usize) {
                leaves.push(puente_audit_log::leaf_hash(entry));
            }
            mine = Some(&segment.head);
        }
        let Some(proof) = mine.and_then(|mine| DoubleSigned::of(head, mine, &leaves)) else { return Ok(()) };
        let size = head.size().0;
        let keys = self.rules().map(|rules| rules.quorum().keys().to_vec()).unwrap_or_default();
        if proof.by(&keys).is_empty() {
            // A proposer alone says so: no fork, a head that lost.
            return Ok(());
        }
        out.push(Effect::Convict(Evidence::DoubleSigned(proof)));
        Err(Fault::Fork { size })
    }

    /// Takes in entries from `first` on, which the head ends in.
    pub(super) fn take(
        &mut self,
        now: Millis,
        mut entries: Vec<Vec<u8>>,
        first: u64,
        head: SignedCheckpoint,
        out: &mut Out,
    ) -> Result<(), Fault> {
        let ledger = self.chain.ledger().clone();
        self.compare(&ledger, &head, out)?;
        let known = usize::try_from(self.chain.size() - first).unwrap_or(usize::MAX).min(entries.len());
        entries.drain(..known);
        if entries.is_empty() {
            return Ok(());
        }
        let record = Record::Accepted { entries: entries.clone(), head: head.note_bytes().to_vec() };
        let after = self.stand(now, entries, head, out)?;
        out.store(record, after);
        Ok(())
    }

    /// Entries come to stand. Returns what follows once they are durable.
    pub(super) fn stand(
        &mut self,
        now: Millis,
        entries: Vec<Vec<u8>>,
        head: SignedCheckpoint,
        out: &mut Out,
    ) -> Result<Vec<Effect>, ChainError> {
        let (ledger, from, convener) = (self.chain.ledger().clone(), self.chain.size(), self.chain.convener().clone());
        let after = self.extend(now, &entries, &head, out)?;
        self.history.push(Segment { ledger, from, entries, head, convener });
        Ok(after)
    }

    /// Extends the chain, as far as it can be judged now. Returns what follows.
    fn extend(
        &mut self,
        now: Millis,
        entries: &[Vec<u8>],
        head: &SignedCheckpoint,
        out: &mut Out,
    ) -> Result<Vec<Effect>, ChainError> {
        let (ledger, from, convener) = (self.chain.ledger().clone(), self.chain.size(), self.chain.convener().clone());
        let before = self.rules().cloned();
        let verdicts = self.chain.extend(entries, head, &self.charters)?;
        let taken = verdicts.len();
        self.rest = (taken < entries.len() && *self.chain.ledger() == ledger)
            .then(|| (entries[taken..].to_vec(), head.clone()));
        let mut after = Vec::new();
        for (at, verdict) in verdicts.into_iter().enumerate() {
            let index = from + at as u64;
            match verdict {
                Verdict::Commit { epoch, at: moment, commit } => {
                    // Nothing after a commit is taken in before it is settled: the chain is at its charter.
                    let charter = self.chain.vector().clone();
                    let ordered =
                        Ordered { ledger: ledger.clone(), index, epoch, commit_hash: commit, charter, at: moment };
                    after.extend(self.conclude(&ordered, &entries[at..], head));
                    match self.commits.get(&commit) {
                        Some(bytes) => after.push(Effect::Ordered { ordered, commit: Arc::clone(bytes) }),
                        None => self.wanted = Some(ordered),
                    }
                }
                Verdict::Close { .. } => {
                    self.check_silence(before.as_deref(), &convener, &entries[at], head, out);
                }
                Verdict::Skip(_) => {}
            }
        }
        self.kept.clear();
        self.heard = now;
        self.retry_at = now;
        self.alive_at = None;
        self.alive = (*self.chain.ledger() == ledger).then(|| head.clone());
        Ok(after)
    }

    pub(super) fn check_silence(
        &mut self,
        rules: Option<&Rules>,
        convener: &NodeUri,
        close: &[u8],
        head: &SignedCheckpoint,
        out: &mut Out,
    ) {
        let (Some(rules), Some(before), Ok(close)) = (rules, self.alive.clone(), Entry::parse(close)) else { return };
        let premature = Premature { close, head: head.clone(), before, convener: convener.clone() };
        self.unseat(premature, rules, out);
    }

    /// A successor that did not wait loses its place here, and everybody is shown why.
    pub(super) fn unseat(&mut self, premature: Premature, rules: &Rules, out: &mut Out) {
        let Some(by) = premature.by(rules).filter(|by| !self.unseated.contains(by)) else { return };
        let shown = Message::Premature {
            close: premature.close.as_bytes().to_vec(),
            head: premature.head.note_bytes().to_vec(),
            before: premature.before.note_bytes().to_vec(),
        };
        out.push(Effect::Convict(Evidence::Premature(premature)));
        let others = self.roster().into_iter().filter(|node| *node != self.me);
        let told = others.map(|to| Effect::Send { to, message: shown.clone() }).collect();
        self.unseated.insert(by.clone());
        out.store(Record::Unseated(by), told);
    }

    /// What somebody else shows of a successor that did not wait. The close must stand here, too.
    pub(crate) fn shown(&mut self, close: &[u8], head: &[u8], before: &[u8], out: &mut Out) -> Result<(), Fault> {
        let close = Entry::parse(close)?;
        let (head, before) = (self.head(head)?, self.head(before)?);
        let draft = close.draft();
        let stands = self.history.iter().rev().find(|segment| {
            let at = draft.index.checked_sub(segment.from).and_then(|at| usize::try_from(at).ok());
            let entry = at.and_then(|at| segment.entries.get(at));
            segment.ledger == draft.ledger && entry.is_some_and(|entry| entry == close.as_bytes())
        });
        let (Some(segment), Some(rules)) = (stands, self.rules().cloned()) else {
            return Err(Fault::NotAwaited("a CLOSE"));
        };
        let convener = segment.convener.clone();
        self.unseat(Premature { close, head, before, convener }, &rules, out);
        Ok(())
    }

    /// What becomes of this node's own commits of the epoch that ends with the first of these entries.
    pub(super) fn conclude(&mut self, ordered: &Ordered, entries: &[Vec<u8>], head: &SignedCheckpoint) -> Vec<Effect> {
        let ended: Vec<Digest> =
            self.intents.iter().filter(|(_, intent)| intent.epoch <= ordered.epoch).map(|(hash, _)| *hash).collect();
        if ended.is_empty() {
            return Vec::new();
        }
        let Some(receipt) = self.receipt_of(ordered.index, entries, head) else { return Vec::new() };
        let mut after = Vec::new();
        for commit in ended {
            self.intents.remove(&commit);
            let accepted = commit == ordered.commit_hash;
            let answer = if accepted { Answer::Accepted(receipt.clone()) } else { Answer::Stale(receipt.clone()) };
            after.push(Effect::Conclude { commit, answer });
        }
        after
    }

    /// The receipt of the first of these entries of the current ledger, which stands at `index`, under the head that ends in
    /// the last.
    pub(crate) fn receipt_of<E: AsRef<[u8]>>(
        &self,
        index: u64,
        entries: &[E],
        head: &SignedCheckpoint,
    ) -> Option<LedgerReceipt> {
        let mut leaves = self.chain.leaves().clone();
        leaves.truncate(index);
        entries.iter().for_each(|entry| leaves.push(puente_audit_log::leaf_hash(entry.as_ref())));
        let (entry, path) = (entries.first()?.as_ref(), leaves.inclusion(index));
        let leaf = puente_audit_log::leaf_hash(entry);
        let proof = puente_audit_log::Receipt::new(leaf, puente_model::LeafIndex(index), path, head.clone()).ok()?;
        Some(LedgerReceipt { entry: entry.to_vec(), proof: proof.encode() })
    }

    pub(crate) fn commit(&mut self, commit: &Arc<[u8]>, out: &mut Out) -> Result<(), Fault> {
        let hash = commit_hash(commit);
        let early = self.ahead.remove(&hash);
        let after = match self.wanted.take() {
            Some(ordered) if ordered.commit_hash == hash => {
                vec![Effect::Ordered { ordered, commit: Arc::clone(commit) }]
            }
            other => {
                self.wanted = other;
                // Several were asked for it, and one was first.
                if self.commits.contains_key(&hash) {
                    return Ok(());
                }
                if !early {
                    return Err(Fault::UnwantedCommit);
                }
                Vec::new()
            }
        };
        self.commits.insert(hash, Arc::clone(commit));
        out.store(Record::Commit(Arc::clone(commit)), after);
        Ok(())
    }

    pub(crate) fn settle(
        &mut self,
        now: Millis,
        index: u64,
        roster: Option<Roster>,
        out: &mut Out,
    ) -> Result<(), Fault> {
        if !self.chain.settle(index, roster.clone()) {
            return Err(Fault::NotOrdered(index));
        }
        let resumed = self.resume(now, out);
        let most = if resumed.is_ok() { WANT_ENTRIES } else { 1 };
        let (after, fault) = match resumed {
            Ok(after) => (after, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        out.store(Record::Settled { index, roster }, after);
        self.ask_ahead(out);
        if self.chain.unsettled().is_none()
            && let Some(guide) = self.guide.take()
        {
            out.send(&self.me, &guide, self.wants(most));
        }
        fault.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Takes in what waited for a commit to be settled. It stands and is durable already.
    pub(super) fn resume(&mut self, now: Millis, out: &mut Out) -> Result<Vec<Effect>, ChainError> {
        let Some((entries, head)) = self.rest.take() else { return Ok(Vec::new()) };
        let (ledger, from, convener) = (self.chain.ledger().clone(), self.chain.size(), self.chain.convener().clone());
        let after = self.extend(now, &entries, &head, out)?;
        // A charter of the commit before may have named the convener anew.
        if self.history.last().is_some_and(|last| last.convener != convener) {
            self.history.push(Segment { ledger, from, entries, head, convener });
        }
        Ok(after)
    }

    pub(crate) fn reboot(&mut self, now: Millis, reboot: &Reboot) -> Result<(), Fault> {
        let terms = reboot.terms();
        let here = terms.ledger == *self.chain.ledger()
            && terms.size == self.chain.size()
            && terms.root == self.chain.root()
            && self.chain.unsettled().is_none();
        if !here {
            let (ledger, size, root) = (terms.ledger.clone(), terms.size, terms.root);
            return Err(Fault::Chain(ChainError::RebootElsewhere { ledger, size, root }));
        }
        self.chain.move_to(terms.next.clone(), terms.convener.clone());
        self.kept.clear();
        self.alive = None;
        self.alive_at = None;
        self.heard = now;
        Ok(())
    }
}
