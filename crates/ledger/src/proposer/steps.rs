//! What is due: from a commit to its receipt, and the convener's signs of life.

use super::*;

impl Proposer {
    /// Goes on as far as it can without anything arriving.
    pub(crate) fn step(&mut self, member: &Member, now: Millis, out: &mut Out) {
        self.follow(member);
        let place = (member.chain.ledger().number(), member.chain.size());
        if place != self.place {
            self.moved(member, place, now, out);
        }
        // Holding comes to its end soon anyway.
        let most = if matches!(self.stage, Stage::Holding(_)) { 0 } else { member.tuning.retry_max };
        let due = self.retry.due(now, most);
        self.refresh(member, now, out);
        match &mut self.stage {
            Stage::Idle => self.idle(member, now, out),
            Stage::Reading { .. } => self.reading(member, now, due, out),
            Stage::Holding(_) => self.holding(member, now, due, out),
            Stage::Keeping(_) => self.keeping(member, now, due, out),
            Stage::Asking(_) => self.asking(member, due, out),
            Stage::Storing { .. } | Stage::Wedged => {}
        }
    }

    /// The next place is another one: what was under way is over.
    pub(super) fn moved(&mut self, member: &Member, place: (u32, u64), now: Millis, out: &mut Out) {
        self.place = place;
        self.rivals.clear();
        self.refreshing = None;
        if self.mine.as_ref().is_some_and(|mine| mine.entry.draft().index < place.1) {
            self.mine = None;
            self.spent = true;
        }
        let epoch = member.chain.epoch();
        // Who submitted for an epoch that has ended learns it from the receipt.
        self.queue.retain(|waiting| waiting.epoch >= epoch);
        if let Stage::Holding(holding) = &self.stage
            && matches!(holding.draft.body, Body::Commit { epoch: e, .. } if e >= epoch)
            && Self::is_convener(member)
        {
            let (from, commit) = (member.me.clone(), Arc::clone(&holding.commit));
            self.queue.push_front(Waiting { from, epoch, commit });
        }
        if !matches!(self.stage, Stage::Storing { .. }) {
            self.stage = Stage::Idle;
        }
        self.retry = Retry::at(now, member);
        self.refresh_at = now;
        let _ = out;
    }

    pub(super) fn idle(&mut self, member: &Member, now: Millis, out: &mut Out) {
        if self.mine.is_some() {
            self.stage = Stage::Reading { since: now, seen: BTreeSet::new() };
            self.retry = Retry::at(now, member);
            return;
        }
        if Self::is_convener(member) {
            if self.spent || member.chain.unsettled().is_some() {
                return;
            }
            let epoch = member.chain.epoch();
            while let Some(waiting) = self.queue.pop_front() {
                if waiting.epoch == epoch && member.is_member(&waiting.from) {
                    self.hold(member, now, &waiting, out);
                    return;
                }
            }
            return;
        }
        let silent = now.since(member.heard);
        if member.must_be_silent(&member.me).is_some_and(|needed| silent >= needed)
            && !member.unseated.contains(&member.me)
        {
            self.stage = Stage::Reading { since: now, seen: BTreeSet::new() };
            self.retry = Retry::at(now, member);
        }
    }

    pub(super) fn hold(&mut self, member: &Member, now: Millis, waiting: &Waiting, out: &mut Out) {
        let hash = commit_hash(&waiting.commit);
        let body =
            Body::Commit { epoch: waiting.epoch, at: now.max(member.chain.at()), commit: hash, held: BTreeMap::new() };
        let (ledger, index) = (member.chain.ledger().clone(), member.chain.size());
        let draft = Draft { ledger, index, charter: member.newest.clone(), body };
        let (commit, until) = (Arc::clone(&waiting.commit), now.plus(member.tuning.hold));
        let holding = Holding { draft, hash, commit, held: BTreeMap::new(), until };
        for node in member.roster() {
            out.send(&member.me, &node, holding.message());
        }
        self.stage = Stage::Holding(holding);
        self.retry = Retry::at(now.plus(member.tuning.retry), member);
    }

    pub(super) fn holding(&mut self, member: &Member, now: Millis, due: bool, out: &mut Out) {
        let Stage::Holding(holding) = &mut self.stage else { return };
        let enough = held_by_enough(&member.roster(), holding.held.keys());
        match enough {
            Ok(()) => {
                let mut draft = holding.draft.clone();
                if let Body::Commit { held, .. } = &mut draft.body {
                    *held = fewest(&member.roster(), &holding.held);
                }
                self.sign(member, draft, out);
            }
            Err(why) if now >= holding.until => {
                let answer = Answer::Rejected(Reason::NotHeld(why));
                let told = Message::Answer { commit: holding.hash, answer };
                for node in member.roster() {
                    out.send(&member.me, &node, told.clone());
                }
                self.stage = Stage::Idle;
            }
            Err(_) if due => {
                for node in member.roster().iter().filter(|node| !holding.held.contains_key(*node)) {
                    out.send(&member.me, node, holding.message());
                }
            }
            Err(_) => {}
        }
    }

    /// Signs an entry and the head that ends in it, and makes both durable before anybody sees either.
    pub(super) fn sign(&mut self, member: &Member, draft: Draft, out: &mut Out) {
        self.stage = Stage::Idle;
        let cannot = |why: String| Effect::Fault { from: None, fault: Fault::CannotSign(why) };
        let Some((ledger, log)) = &self.log else { return };
        if log.size().0 != draft.index {
            // Entries of a piece whose rest is still to come.
            return out.push(cannot("its own copy of the ledger is behind".to_owned()));
        }
        let Some(signer) = self.keys.signer(ledger) else {
            out.push(cannot("its key cannot be used".to_owned()));
            return;
        };
        let entry = match draft.sign(signer.as_ref()) {
            Ok(entry) => entry,
            Err(error) => return out.push(cannot(error.to_string())),
        };
        let sealed = match log.stage(&[entry.as_bytes()]).map(|staged| staged.sign(signer.as_ref())) {
            Ok(Ok(sealed)) => sealed,
            Ok(Err(error)) => {
                self.spent = true;
                return out.push(cannot(error.to_string()));
            }
            Err(error) => return out.push(cannot(error.to_string())),
        };
        let head = sealed.batch().head.note_bytes().to_vec();
        let ticket = out.store(Record::Staged { entry: entry.as_bytes().to_vec(), head }, Vec::new());
        self.stage = Stage::Storing { ticket, entry, sealed: Some(Box::new(sealed)) };
        let _ = member;
    }

    pub(super) fn keeping(&mut self, member: &Member, now: Millis, due: bool, out: &mut Out) {
        let Stage::Keeping(keeping) = &mut self.stage else { return };
        if held_by_enough(&member.roster(), keeping.kept.iter()).is_ok() {
            if matches!(keeping.entry.draft().body, Body::Commit { .. }) || self.may_still_close(member, now, due, out)
            {
                let Stage::Keeping(Keeping { entry, head, .. }) = std::mem::replace(&mut self.stage, Stage::Idle)
                else {
                    return;
                };
                self.ask(member, entry, head, now, out);
            }
        } else if due {
            for node in member.roster().iter().filter(|node| !keeping.kept.contains(*node)) {
                let (entry, head) = (keeping.entry.as_bytes().to_vec(), keeping.head.note_bytes().to_vec());
                out.send(&member.me, node, Message::Keep { entry, head });
            }
        }
    }

    pub(super) fn ask(&mut self, member: &Member, entry: Entry, head: SignedCheckpoint, now: Millis, out: &mut Out) {
        let asking = Asking { entry, head, olds: BTreeMap::new(), told: false };
        asking.submit_to_all(member, out);
        self.stage = Stage::Asking(Box::new(asking));
        self.retry = Retry::at(now.plus(member.tuning.retry), member);
    }

    pub(super) fn asking(&mut self, member: &Member, due: bool, out: &mut Out) {
        let Stage::Asking(asking) = &mut self.stage else { return };
        let Some(rules) = member.rules() else { return };
        if rules.quorum().may_be_met(&asking.head) {
            let receipt = member.receipt_of(asking.entry.draft().index, &[asking.entry.as_bytes()], &asking.head);
            if let (Some(receipt), true) = (receipt, due || !asking.told) {
                asking.told = true;
                for node in member.roster() {
                    out.send(&member.me, &node, Message::Receipt(receipt.clone()));
                }
            }
            return;
        }
        // Who showed another head for this place is lost to this one.
        let root = asking.head.root();
        let held_by = |root: &Digest| {
            let lost = self.rivals.iter().filter(|(other, _)| *other != root).flat_map(|(_, (_, by))| by);
            let lost: BTreeSet<&String> = lost.collect();
            let names = rules.quorum().keys().iter().map(|key| key.name());
            let left: Vec<&str> = names.filter(|name| !lost.iter().any(|lost| lost == name)).collect();
            rules.quorum().is_met_by(left)
        };
        if held_by(&root) {
            if due {
                asking.submit_to_all(member, out);
            }
            return;
        }
        let winner = self.rivals.iter().find(|(root, _)| held_by(root));
        let Some((_, (head, _))) = winner else {
            let (ledger, index) = (member.chain.ledger().clone(), member.chain.size());
            out.push(Effect::Wedged { ledger, index });
            self.stage = Stage::Wedged;
            return;
        };
        let known = member.kept.values().find(|kept| kept.head.checkpoint() == head.checkpoint());
        if let Some(kept) = known {
            let next = Asking { entry: kept.entry.clone(), head: head.clone(), olds: BTreeMap::new(), told: false };
            next.submit_to_all(member, out);
            self.stage = Stage::Asking(Box::new(next));
        } else if due {
            Self::want_kept(member, out);
        }
    }

    pub(super) fn want_kept(member: &Member, out: &mut Out) {
        let (ledger, index) = (member.chain.ledger().clone(), member.chain.size());
        for node in member.roster().iter().filter(|node| **node != member.me) {
            out.send(&member.me, node, Message::WantKept { ledger: ledger.clone(), index });
        }
    }

    /// The convener has its newest head cosigned again, so that everybody sees that it is there.
    pub(super) fn refresh(&mut self, member: &Member, now: Millis, out: &mut Out) {
        let quiet = matches!(self.stage, Stage::Idle | Stage::Holding(_));
        if now < self.refresh_at || !quiet || !Self::is_convener(member) || self.spent || self.mine.is_some() {
            return;
        }
        let Some(rules) = member.rules() else { return };
        self.refresh_at = now.plus(rules.silence() / member.tuning.signs_per_silence.max(1));
        let head = match member.history.last().filter(|last| last.ledger == *member.chain.ledger()) {
            Some(last) if last.head.size().0 == member.chain.size() => member.bare(&last.head).ok(),
            Some(_) => None,
            None => self.first_head(),
        };
        let Some(head) = head else { return };
        for key in rules.quorum().keys() {
            let old = head.size();
            out.push(Effect::Submit { witness: key.name().to_owned(), old, proof: Vec::new(), head: head.clone() });
        }
        self.refreshing = Some(head);
    }

    /// The head of a ledger that has no entries. It can say but one thing, so that nothing need be durable first.
    pub(super) fn first_head(&mut self) -> Option<SignedCheckpoint> {
        let (ledger, log) = self.log.as_mut()?;
        if log.head().is_none() {
            let signer = self.keys.signer(ledger)?;
            let sealed = log.stage::<&[u8]>(&[]).ok()?.sign(signer.as_ref()).ok()?;
            let persisted = sealed.persist(&mut AlreadyDurable).ok()?;
            log.commit(persisted).ok()?;
        }
        log.head().cloned()
    }
}
