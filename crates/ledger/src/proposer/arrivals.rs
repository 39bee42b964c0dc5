//! What arrives: commits, acknowledgements, what witnesses answer and show.

use super::*;

impl Proposer {
    pub(crate) fn submitted(
        &mut self,
        member: &Member,
        now: Millis,
        (from, epoch, commit): (&NodeUri, u64, &Arc<[u8]>),
        out: &mut Out,
    ) {
        let hash = commit_hash(commit);
        let expected = member.chain.epoch();
        let reason = if !member.is_member(from) {
            Some(Reason::NotAMember(from.clone()))
        } else if !Self::is_convener(member) {
            Some(Reason::NotTheConvener(member.chain.convener().clone()))
        } else if self.spent {
            Some(Reason::Spent)
        } else if commit.len() > COMMIT_BYTES_MAX {
            Some(Reason::TooLarge { found: commit.len() })
        } else if epoch > expected {
            Some(Reason::Future { expected, found: epoch })
        } else if self.queue.len() >= INTENTS_MAX {
            Some(Reason::Busy)
        } else {
            None
        };
        if let Some(reason) = reason {
            // It may stand already, or still come to stand under a successor: then its receipt is the answer.
            if !matches!(reason, Reason::Spent | Reason::NotTheConvener(_)) {
                let answer = Answer::Rejected(reason);
                out.send(&member.me, from, Message::Answer { commit: hash, answer });
            }
            return;
        }
        if epoch < expected {
            if let Some(receipt) = Self::winner(member, epoch) {
                out.send(&member.me, from, receipt);
            }
            return;
        }
        let under_way = matches!(&self.stage, Stage::Holding(holding) if holding.hash == hash)
            || self
                .mine
                .as_ref()
                .is_some_and(|mine| matches!(&mine.entry.draft().body, Body::Commit { commit, .. } if *commit == hash))
            || self.queue.iter().any(|waiting| commit_hash(&waiting.commit) == hash);
        if !under_way {
            self.retry.soon(now, member);
            self.queue.push_back(Waiting { from: from.clone(), epoch, commit: Arc::clone(commit) });
        }
    }

    /// What ended an epoch, for somebody who does not know.
    pub(super) fn winner(member: &Member, epoch: u64) -> Option<Message> {
        let ended = |bytes: &Vec<u8>| {
            Entry::parse(bytes)
                .is_ok_and(|entry| matches!(entry.draft().body, Body::Commit { epoch: e, .. } if e == epoch))
        };
        let segment = member.history.iter().rev().find(|segment| segment.entries.iter().any(ended))?;
        member.segment(&segment.ledger, segment.from)
    }

    pub(crate) fn held(
        &mut self,
        member: &Member,
        from: &NodeUri,
        (ledger, index, commit, leaf): (&LedgerOrigin, u64, Digest, Digest),
    ) -> Result<(), Fault> {
        match &mut self.stage {
            Stage::Holding(holding)
                if holding.hash == commit && holding.draft.ledger == *ledger && holding.draft.index == index =>
            {
                if !member.is_member(from) {
                    return Err(Fault::NotAMember(from.clone()));
                }
                holding.held.insert(from.clone(), leaf);
                Ok(())
            }
            _ => Err(Fault::NotAwaited("HELD")),
        }
    }

    pub(crate) fn kept(&mut self, member: &Member, from: &NodeUri, leaf: Digest) -> Result<(), Fault> {
        match &mut self.stage {
            Stage::Keeping(Keeping { entry, kept, .. }) if entry.leaf() == leaf => {
                if !member.is_member(from) {
                    return Err(Fault::NotAMember(from.clone()));
                }
                kept.insert(from.clone());
                Ok(())
            }
            _ => Err(Fault::NotAwaited("KEPT")),
        }
    }

    /// A member that is elsewhere is shown what it lacks, or asked for what this node lacks.
    pub(crate) fn refused(&mut self, member: &Member, from: &NodeUri, why: &Refusal, out: &mut Out) {
        let Refusal::Elsewhere { ledger, size } = why else { return };
        let here = (member.chain.ledger().number(), member.chain.size());
        if (ledger.number(), *size) > here {
            out.send(&member.me, from, member.wants(WANT_ENTRIES));
        } else if let Some(entries) = member.shows(ledger, *size, WANT_ENTRIES) {
            out.send(&member.me, from, entries);
        }
    }

    pub(crate) fn stored(&mut self, member: &Member, now: Millis, ticket: u64) {
        let Stage::Storing { ticket: waiting, entry, sealed } = &mut self.stage else { return };
        if *waiting != ticket {
            return;
        }
        let (entry, Some(sealed)) = (entry.clone(), sealed.take()) else { return };
        let head = sealed.batch().head.clone();
        // The journal that has nothing left to do cannot fail.
        let Ok(persisted) = sealed.persist(&mut AlreadyDurable) else { return };
        let place = entry.draft().index == member.chain.size() && entry.draft().ledger == *member.chain.ledger();
        self.mine = Some(Mine { entry: entry.clone(), head: head.clone(), persisted: Some(persisted) });
        self.stage = if place { Stage::Keeping(Keeping::new(entry, head)) } else { Stage::Idle };
        self.retry = Retry::at(now, member);
    }

    pub(crate) fn witness(
        &mut self,
        member: &Member,
        now: Millis,
        (witness, head, reply): (&str, &SignedCheckpoint, WitnessReply),
        out: &mut Out,
    ) -> Result<(), Fault> {
        let Some(rules) = member.rules().cloned() else { return Ok(()) };
        let Some(key) = rules.quorum().key(witness) else { return Err(Fault::UnknownWitness(witness.to_owned())) };
        let asking = match &mut self.stage {
            Stage::Asking(asking) if asking.head.checkpoint() == head.checkpoint() => Some(asking),
            _ => None,
        };
        let refreshing = self.refreshing.as_mut().filter(|fresh| fresh.checkpoint() == head.checkpoint());
        let helps = matches!(reply, WitnessReply::Cosigned(_));
        match (reply, asking, refreshing) {
            (WitnessReply::Cosigned(lines), Some(asking), _) => {
                let own: Vec<_> = lines.into_iter().filter(|line| line.names(key)).collect();
                asking.head = gathered(&asking.head, &head.with_signatures(&own)?, key)?;
            }
            (WitnessReply::Cosigned(lines), None, Some(fresh)) => {
                let own: Vec<_> = lines.into_iter().filter(|line| line.names(key)).collect();
                *fresh = gathered(fresh, &head.with_signatures(&own)?, key)?;
                if rules.quorum().may_be_met(fresh) {
                    let note = fresh.note_bytes().to_vec();
                    self.refreshing = None;
                    for node in member.roster() {
                        out.send(&member.me, &node, Message::Fresh { head: note.clone() });
                    }
                }
            }
            (WitnessReply::Conflict(size), Some(asking), _) if size.0 < asking.head.size().0 => {
                asking.olds.insert(witness.to_owned(), size.0);
                let effect = asking.submit(member, witness);
                out.push(effect);
            }
            (WitnessReply::Conflict(_) | WitnessReply::Refused, Some(_), _) => {
                let ledger = member.chain.ledger().clone();
                out.push(Effect::Read { witness: witness.to_owned(), ledger });
            }
            (WitnessReply::Conflict(_) | WitnessReply::Refused, None, Some(_)) => {
                // The witness is ahead, or behind and to be shown everything once there is something to show.
                let ledger = member.chain.ledger().clone();
                out.push(Effect::Read { witness: witness.to_owned(), ledger });
            }
            (_, None, None) => return Err(Fault::NotAwaited("a witness's answer")),
        }
        if helps {
            self.retry.soon(now, member);
        }
        Ok(())
    }

    /// What a witness shows. Nothing means that it knows no such ledger, which is to be at size 0.
    pub(crate) fn witness_head(
        &mut self,
        member: &mut Member,
        now: Millis,
        witness: &str,
        head: Option<&SignedCheckpoint>,
        out: &mut Out,
    ) -> Result<(), Fault> {
        let Some(rules) = member.rules().cloned() else { return Ok(()) };
        let key = rules.quorum().key(witness).ok_or_else(|| Fault::UnknownWitness(witness.to_owned()))?;
        let news = match &mut self.stage {
            Stage::Reading { seen, .. } | Stage::Keeping(Keeping { read: Some((_, seen)), .. }) => {
                seen.insert(witness.to_owned())
            }
            _ => false,
        };
        if news {
            self.retry.soon(now, member);
        }
        let Some(head) = head.filter(|head| head.origin() == member.chain.ledger().to_string()) else { return Ok(()) };
        let size = member.chain.size();
        if head.size().0 > size + 1 {
            for node in member.roster().iter().filter(|node| **node != member.me) {
                out.send(&member.me, node, member.wants(WANT_ENTRIES));
            }
        } else if head.size().0 == size + 1 {
            let bare = member.bare(head)?;
            let (rival, by) = self.rivals.entry(head.root()).or_insert_with(|| (bare, BTreeSet::new()));
            *rival = gathered(rival, head, key)?;
            if by.insert(witness.to_owned()) {
                self.retry.soon(now, member);
            }
            if let Stage::Asking(asking) = &mut self.stage
                && asking.head.root() == head.root()
            {
                asking.head = gathered(&asking.head, head, key)?;
            }
        } else if head.size().0 == size && head.root() == member.chain.root() {
            // A sign of life that was not heard.
            if member.unseated.contains(member.chain.convener()) {
                return Ok(());
            }
            let newest = |head: &SignedCheckpoint| {
                head.cosignatures(&[key]).ok().and_then(|lines| lines.iter().filter_map(|l| l.at).max())
            };
            let known = member.alive.as_ref().and_then(newest);
            if newest(head) > known && member.alive.is_some() {
                let merged = member.alive.as_ref().and_then(|alive| gathered(alive, head, key).ok());
                member.alive = merged.or_else(|| Some(head.clone()));
                member.heard = now;
            } else if member.alive.is_none() {
                member.alive = Some(head.clone());
                member.heard = now;
            }
        }
        Ok(())
    }
}
