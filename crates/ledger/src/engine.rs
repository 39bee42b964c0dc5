//! One group at one node: a member, and a proposer if the charter names it as one.

use puente_audit_log::SignedCheckpoint;
use std::collections::BTreeMap;
use std::fmt;

use puente_model::{Digest, Millis, NodeUri, commit_hash};

use crate::api::{Effect, Fault, Input, Message, Record, Refusal, Tuning, WANT_ENTRIES};
use crate::chain::{Chain, Roster};
use crate::entry::{Body, Draft, Entry};
use crate::member::Member;
use crate::name::GroupId;
use crate::name::LedgerOrigin;
use crate::out::Out;
use crate::proposer::{Keys, Proposer};
use crate::rules::Rules;

/// What a node knows of a group when it joins it.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The group.
    pub group: GroupId,
    /// What the charter says, as of the group's first entry.
    pub rules: Rules,
    /// Its first epoch.
    pub epoch: u64,
    /// Its members then.
    pub roster: Roster,
}

/// The order of one group's commits, at one node. Sans-IO: see [`Input`] and [`Effect`].
pub struct Engine {
    member: Member,
    proposer: Option<Proposer>,
    out: Out,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = &self.member.chain;
        write!(f, "Engine({} at {} {}, {:?})", self.member.me, chain.ledger(), chain.size(), self.proposer)
    }
}

/// A ledger as far as its entries stand here: its name, the head over them that the quorum cosigned, and they.
pub type LedgerCopy = (LedgerOrigin, SignedCheckpoint, Vec<Vec<u8>>);

impl Engine {
    /// Starts from the group's beginning and every record that was made durable since, in order. `keys` makes this node a
    /// proposer; a charter that does not name it as one gives it nothing to propose.
    ///
    /// # Errors
    /// A record that does not follow from those before it: the store was torn, or is another group's.
    pub fn open(
        me: NodeUri,
        beginning: Beginning,
        charters: Vec<Rules>,
        records: Vec<Record>,
        keys: Option<Box<dyn Keys + Send>>,
        tuning: Tuning,
        now: Millis,
    ) -> Result<Self, Fault> {
        let Beginning { group, rules, epoch, roster } = beginning;
        let chain = Chain::new(group, &rules, epoch, roster);
        let mut member = Member::new(me, chain, rules, tuning, now);
        charters.into_iter().for_each(|rules| member.learn(rules));
        let mut staged = Vec::new();
        for record in records {
            if let Record::Staged { entry, head } = record {
                staged.push((entry, head));
            } else {
                member.replay(now, record)?;
            }
        }
        let mut out = Out::default();
        member.started(&mut out);
        let mut proposer = keys.map(|keys| Proposer::new(keys, &member, now));
        if let Some(proposer) = &mut proposer {
            for (entry, head) in staged {
                // One of an earlier ledger has heads that are not read any more.
                if Entry::parse(&entry).is_ok_and(|entry| entry.draft().ledger == *member.chain.ledger()) {
                    proposer.recover(&member, &entry, &head)?;
                }
            }
        }
        Ok(Self { member, proposer, out })
    }

    pub(crate) const fn member(&self) -> &Member {
        &self.member
    }

    /// Where the group stands.
    pub fn chain(&self) -> &Chain {
        &self.member.chain
    }

    /// The ledgers as far as their entries stand here: each with the head, cosigned by the quorum, over all of them. What an
    /// auditor needs to judge the order.
    pub fn ledgers(&self) -> Vec<LedgerCopy> {
        let mut out: Vec<LedgerCopy> = Vec::new();
        for segment in &self.member().history {
            let known = out.last().is_some_and(|(ledger, ..)| *ledger == segment.ledger);
            if !known {
                out.push((segment.ledger.clone(), segment.head.clone(), Vec::new()));
            }
            let Some((_, head, entries)) = out.last_mut() else { continue };
            // A page may begin with what was known already.
            entries.truncate(usize::try_from(segment.from).unwrap_or(usize::MAX));
            entries.extend(segment.entries.iter().cloned());
            *head = segment.head.clone();
        }
        out.retain(|(_, head, entries)| head.size().0 == entries.len() as u64);
        out
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Millis, input: Input) {
        let from = match &input {
            Input::Message { from, .. } => Some(from.clone()),
            _ => None,
        };
        if let Err(fault) = self.input(now, input) {
            self.out.push(Effect::Fault { from, fault });
        }
        self.settle_down(now);
    }

    /// What to do next, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    /// When to come back with [`Input::Tick`], if nothing arrives before.
    pub fn poll_deadline(&self) -> Option<Millis> {
        let proposer = self.proposer.as_ref().and_then(|proposer| proposer.deadline(&self.member));
        [proposer, self.member.deadline()].into_iter().flatten().min()
    }

    /// Messages of this node to itself, and what is due, until nothing more follows.
    fn settle_down(&mut self, now: Millis) {
        self.member.tick(now, &mut self.out);
        loop {
            if let Some(proposer) = &mut self.proposer {
                proposer.step(&self.member, now, &mut self.out);
            }
            let Some(message) = self.out.own.pop_front() else { return };
            let me = self.member.me.clone();
            if let Err(fault) = self.message(now, &me, message) {
                self.out.push(Effect::Fault { from: Some(me), fault });
            }
        }
    }

    fn input(&mut self, now: Millis, input: Input) -> Result<(), Fault> {
        match input {
            Input::Message { from, message } => self.message(now, &from, message),
            Input::Stored { ticket } => {
                let me = self.member.me.clone();
                self.out.stored(&me, ticket);
                if let Some(proposer) = &mut self.proposer {
                    proposer.stored(&self.member, now, ticket);
                }
                Ok(())
            }
            Input::HeldRecorded { statement, leaf } => {
                self.member.held(statement, leaf, &mut self.out);
                Ok(())
            }
            Input::Witness { witness, head, reply } => match &mut self.proposer {
                Some(proposer) => proposer.witness(&self.member, now, (&witness, &head, reply), &mut self.out),
                None => Err(Fault::NotAwaited("a witness's answer")),
            },
            Input::WitnessHead { witness, ledger, head } => {
                if ledger != *self.member.chain.ledger() {
                    return Ok(());
                }
                let head = head.map(|note| self.member.head(&note)).transpose()?;
                if let Some(proposer) = &mut self.proposer {
                    proposer.witness_head(&mut self.member, now, &witness, head.as_ref(), &mut self.out)?;
                }
                match head {
                    Some(head) => self.member.witness_head(now, &witness, &head, &mut self.out),
                    None => Ok(()),
                }
            }
            Input::Settled { index, roster } => self.member.settle(now, index, roster, &mut self.out),
            Input::Submit { epoch, commit } => {
                self.member.submit(now, epoch, &commit, &mut self.out);
                Ok(())
            }
            Input::Charter(rules) => {
                self.member.learn(rules);
                Ok(())
            }
            Input::Reboot(reboot) => {
                self.member.reboot(now, &reboot)?;
                self.out.store(Record::Rebooted(reboot), Vec::new());
                Ok(())
            }
            Input::Reached(node) => {
                let (ledger, from) = (self.member.chain.ledger().clone(), self.member.chain.size());
                self.out.send(&self.member.me, &node, Message::Want { ledger, from, most: WANT_ENTRIES });
                if let Some(proposer) = &mut self.proposer {
                    proposer.reached(&self.member, now);
                }
                Ok(())
            }
            Input::Tick => Ok(()),
        }
    }

    fn message(&mut self, now: Millis, from: &NodeUri, message: Message) -> Result<(), Fault> {
        let Self { member, proposer, out } = self;
        match message {
            Message::Submit { epoch, commit } => {
                if !member.is_member(from) {
                    out.push(Effect::Fault { from: Some(from.clone()), fault: Fault::NotAMember(from.clone()) });
                }
                if let Some(proposer) = proposer {
                    proposer.submitted(member, now, (from, epoch, &commit), out);
                }
                Ok(())
            }
            Message::Answer { commit, answer } => {
                // Only whoever convenes can turn a commit down.
                if from == member.chain.convener() {
                    member.answered(commit, &answer, out);
                }
                Ok(())
            }
            Message::Hold { ledger, index, charter, epoch, at, commit } => {
                let hash = commit_hash(&commit);
                let body = Body::Commit { epoch, at, commit: hash, held: BTreeMap::new() };
                let draft = Draft { ledger, index, charter, body };
                let held = member.hold(now, from, &draft, &commit, out);
                Self::refuse(member, from, hash, held.map_err(Fault::Refused), out)
            }
            Message::Held { ledger, index, commit, leaf } => match proposer {
                Some(proposer) => proposer.held(member, from, (&ledger, index, commit, leaf)),
                None => Err(Fault::NotAwaited("HELD")),
            },
            Message::Keep { entry, head } => {
                let entry = Entry::parse(&entry)?;
                let kept = member.keep(now, from, &entry, &head, out);
                Self::refuse(member, from, entry.leaf(), kept, out)
            }
            Message::Kept { leaf } => match proposer {
                Some(proposer) => proposer.kept(member, from, leaf),
                None => Err(Fault::NotAwaited("KEPT")),
            },
            Message::Refused { why, .. } => {
                if let Some(proposer) = proposer {
                    proposer.refused(member, from, &why, out);
                }
                Ok(())
            }
            Message::Receipt(receipt) => member.receipt(now, from, &receipt, out),
            Message::Want { ledger, from: index, most } => {
                if let Some(entries) = member.shows(&ledger, index, most) {
                    out.send(&member.me, from, entries);
                }
                Ok(())
            }
            Message::Entries { ledger, from: first, entries, head } => {
                member.entries(now, from, (&ledger, first, entries, &head), out)
            }
            Message::WantKept { ledger, index } => {
                for message in member.kept_for(&ledger, index) {
                    out.send(&member.me, from, message);
                }
                if let Some(entries) = member.segment(&ledger, index) {
                    out.send(&member.me, from, entries);
                }
                Ok(())
            }
            Message::WantCommit(hash) => {
                if let Some(commit) = member.commit_of(&hash) {
                    out.send(&member.me, from, commit);
                }
                Ok(())
            }
            Message::Commit(commit) => member.commit(&commit, out),
            Message::Premature { close, head, before } => member.shown(&close, &head, &before, out),
            Message::Fresh { head } => member.fresh(now, from, &head, out),
        }
    }

    /// Tells a proposer why not, and keeps the fault.
    fn refuse(
        member: &Member,
        from: &NodeUri,
        what: Digest,
        outcome: Result<(), Fault>,
        out: &mut Out,
    ) -> Result<(), Fault> {
        if let Err(Fault::Refused(why)) = &outcome {
            out.send(&member.me, from, Message::Refused { what, why: why.clone() });
            if let Refusal::Elsewhere { ledger, size } = why
                && from != &member.me
            {
                // Whoever is ahead shows what is missing here.
                let wanted = Message::Want { ledger: ledger.clone(), from: *size, most: WANT_ENTRIES };
                out.send(&member.me, from, wanted);
            }
        }
        outcome
    }
}
