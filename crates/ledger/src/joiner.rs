//! A node that comes in later verifies a group's order from its genesis, without having been there.
//!
//! It knows no earlier members and holds no earlier commits. Places, signatures, quorums, charters and takeovers it checks like a
//! member; what it cannot check is whether enough members held a commit, and whether the commit passed the group's own
//! checks. Members know, and the entries after it show: the next commit ends the next epoch, or the same one again. So the
//! joiner follows every standing that members may be in (a [`Path`]) until entries decide between them:
//!
//! ```text
//! a commit of epoch e    members took it in:        epoch e+1, its charter, its date
//!                        it failed their checks:    epoch e,   its charter, its date
//!                        too few of them held it:   epoch e,   as before            (only where it changes no charter)
//! ```
//!
//! The one true path is among them, however a convener or a successor misbehaves; of those that are left the one with the
//! least that is out of the ordinary is believed, and paths under another charter than that one's are given up: nobody
//! leads a joiner along under witnesses that a charter has dismissed.

use std::collections::BTreeMap;

use puente_audit_log::SignedCheckpoint;
use puente_model::{Digest, NodeUri};

use crate::api::{Fault, Message, Ordered, Record, Refusal, Tuning, WANT_ENTRIES};
use crate::chain::{ChainError, Charters, Roster, Standing};
use crate::engine::{Beginning, Engine};
use crate::evidence::{DoubleSigned, Evidence};
use crate::name::LedgerOrigin;
use crate::proposer::Keys;
use crate::reboot::Reboot;
use crate::rules::Rules;
use crate::tree::Leaves;

mod paths;

pub use paths::JOINER_PATHS_MAX;
use paths::{Judging, Path};

/// Where a joiner comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// With the commit that stands there, which added it.
    Place(LedgerOrigin, u64),
    /// Once the group is in this epoch, in which another member showed it.
    Epoch(u64),
}

/// Entries that were verified.
#[derive(Debug)]
struct Page {
    ledger: LedgerOrigin,
    from: u64,
    convener: NodeUri,
    entries: Vec<Vec<u8>>,
    head: SignedCheckpoint,
}

/// Verifies the order up to where its node comes in.
#[derive(Debug)]
pub struct Joiner {
    me: NodeUri,
    beginning: Beginning,
    target: Target,
    charters: Charters,
    known: Vec<Rules>,
    reboots: Vec<Reboot>,
    /// Heads that this node made durable in an earlier life.
    heads: Vec<(LedgerOrigin, SignedCheckpoint)>,
    /// The ledger that entries were verified of last, its tree, and its newest head.
    ledger: LedgerOrigin,
    leaves: Leaves,
    tip: Option<SignedCheckpoint>,
    /// The believed one first.
    paths: Vec<Path>,
    pages: Vec<Page>,
    /// How many entries are asked for at once.
    most: u32,
    evidence: Vec<Evidence>,
}

impl Joiner {
    /// From the group's genesis, which the caller compared with the charter, to `target`. `charters` are all versions that
    /// are known here.
    pub fn new(me: NodeUri, beginning: Beginning, charters: Vec<Rules>, target: Target) -> Self {
        let Beginning { group, rules, epoch, roster } = beginning.clone();
        let standing = Standing::new(group, &rules, epoch, roster);
        let mut all = Charters::default();
        all.learn(rules);
        charters.iter().cloned().for_each(|rules| all.learn(rules));
        let ledger = standing.ledger.clone();
        let path = Path { standing, cost: 0, premature: BTreeMap::new(), reached: None, arrival: None, missed: None };
        Self {
            me,
            beginning,
            target,
            charters: all,
            known: charters,
            reboots: Vec::new(),
            heads: Vec::new(),
            ledger,
            leaves: Leaves::default(),
            tip: None,
            paths: vec![path],
            pages: Vec::new(),
            most: WANT_ENTRIES,
            evidence: Vec::new(),
        }
    }

    /// With the reboots of the group, which the caller verified: where one says so the order goes on in another ledger.
    #[must_use]
    pub fn with_reboots(mut self, reboots: Vec<Reboot>) -> Self {
        self.reboots = reboots;
        self.follow_reboots();
        self
    }

    /// With cosigned heads of the group that this node made durable when it was a member before: what it is shown must extend
    /// them.
    ///
    /// # Errors
    /// One is no head of a ledger of this group.
    pub fn with_heads(mut self, notes: &[Vec<u8>]) -> Result<Self, Fault> {
        for note in notes {
            let origin = puente_audit_log::ClaimedCheckpoint::parse(note)?.claimed().origin().to_owned();
            let expected = self.ledger.group().clone();
            let of_group = origin.parse::<LedgerOrigin>().ok().filter(|ledger| *ledger.group() == expected);
            let ledger = of_group.ok_or_else(|| ChainError::OtherLedger {
                expected: LedgerOrigin::first(expected),
                found: origin.chars().take(120).collect(),
            })?;
            let head = self.charters.head(&ledger, note)?;
            self.heads.push((ledger, head));
        }
        Ok(self)
    }

    /// What to ask a member for.
    pub fn next_want(&self) -> Message {
        // Where the believed path goes on in another ledger, that one is next.
        let ahead = self.paths.first().map(|path| &path.standing.ledger).filter(|ledger| **ledger != self.ledger);
        match ahead {
            Some(ledger) => Message::Want { ledger: ledger.clone(), from: 0, most: self.most },
            None => Message::Want { ledger: self.ledger.clone(), from: self.leaves.size(), most: self.most },
        }
    }

    /// The commit with which this node comes in, once the order is verified up to it.
    pub fn arrived(&self) -> Option<&Ordered> {
        Some(&self.paths.first()?.arrival.as_ref()?.ordered)
    }

    /// Who holds that commit, as its entry says. The joiner cannot know the members of the epoch before; whoever reads the
    /// commit can count them, and compare ([`crate::held_by_enough_before`]). Those members stood where the commits before it
    /// led, or they would not have held it: what is true of this one is true of the others.
    pub fn holders(&self) -> Option<&BTreeMap<NodeUri, Digest>> {
        Some(&self.paths.first()?.arrival.as_ref()?.holders)
    }

    /// Misbehaviour that is proven by what was shown.
    pub fn evidence(&self) -> Vec<Evidence> {
        let premature = self.paths.first().map(|path| path.premature.values().cloned()).into_iter().flatten();
        self.evidence.iter().cloned().chain(premature.map(Evidence::Premature)).collect()
    }

    /// Takes a page of entries in; what is there already is passed over. An empty one says that there is no more. Of several
    /// entries the head may be of witnesses that the charter of the first did not name yet: they are asked for one by one.
    ///
    /// # Errors
    /// It does not follow, or does not hold; nothing of it is taken in. Ask another member.
    pub fn handle(&mut self, message: Message) -> Result<(), Fault> {
        let several = self.most > 1 && matches!(&message, Message::Entries { entries, .. } if entries.len() > 1);
        let taken = self.page(message);
        if several && matches!(taken, Err(Fault::Chain(ChainError::NotCosigned(_)))) {
            self.most = 1;
            return Ok(());
        }
        if taken.is_ok() {
            self.most = WANT_ENTRIES;
        }
        taken
    }

    fn page(&mut self, message: Message) -> Result<(), Fault> {
        let Message::Entries { ledger, from, mut entries, head } = message else {
            return Err(Fault::NotAwaited("a message to members"));
        };
        let begins = ledger != self.ledger && self.paths.iter().any(|path| path.standing.ledger == ledger);
        let (mut leaves, before) =
            if begins { (Leaves::default(), None) } else { (self.leaves.clone(), self.tip.clone()) };
        if self.arrived().is_some() {
            return Ok(());
        }
        if (ledger != self.ledger && !begins) || from > leaves.size() {
            return Err(Fault::NotAwaited("a page of entries"));
        }
        if entries.is_empty() {
            return self.ended();
        }
        let known = usize::try_from(leaves.size() - from).unwrap_or(usize::MAX).min(entries.len());
        entries.drain(..known);
        if entries.is_empty() {
            return Ok(());
        }
        let (head, from) = (self.charters.head(&ledger, &head)?, leaves.size());
        let added = leaves.ends_in(&ledger, &entries, &head)?;
        added.into_iter().for_each(|leaf| leaves.push(leaf));
        self.compare(&ledger, &head, &leaves)?;

        let mut judging = Judging {
            charters: &self.charters,
            head: &head,
            before: before.as_ref(),
            target: &self.target,
            met: BTreeMap::new(),
        };
        let mut paths = self.paths.clone();
        // Whoever is not there yet does not come any more.
        paths.retain(|path| !begins || path.standing.ledger == ledger);
        for (at, entry) in entries.iter().enumerate() {
            paths = judging.entry(paths, &ledger, from + at as u64, entry)?;
        }
        self.arrive(&mut paths, (ledger.number(), leaves.size()))?;
        let convener = self.paths.iter().find(|path| path.standing.ledger == ledger);
        let convener = convener.map_or_else(|| self.me.clone(), |path| path.standing.convener.clone());
        self.paths = paths;
        self.pages.push(Page { ledger: ledger.clone(), from, convener, entries, head: head.clone() });
        (self.ledger, self.leaves, self.tip) = (ledger, leaves, Some(head));
        self.follow_reboots();
        Ok(())
    }

    /// Comes to the place on the path that is believed most of those that lead there.
    fn arrive(&self, paths: &mut Vec<Path>, verified: (u32, u64)) -> Result<(), Fault> {
        if paths.iter().any(|path| path.arrival.is_some()) {
            paths.retain(|path| path.arrival.is_some());
            let first = paths.first().and_then(|path| path.arrival.as_ref());
            return first.map_or(Ok(()), |arrival| self.not_behind(&arrival.ordered, verified));
        }
        let (Some(believed), Target::Place(ledger, _)) = (paths.first(), &self.target) else { return Ok(()) };
        if let Some(skip) = &believed.missed {
            return Err(Fault::Refused(Refusal::Skip(skip.clone())));
        }
        if believed.standing.ledger.number() > ledger.number() {
            let ledger = believed.standing.ledger.clone();
            return Err(Fault::Refused(Refusal::Elsewhere { ledger, size: 0 }));
        }
        Ok(())
    }

    /// A member says that there is no more: the group still is in the epoch in which it was shown.
    fn ended(&mut self) -> Result<(), Fault> {
        let Target::Epoch(epoch) = self.target else { return Ok(()) };
        let mut paths = self.paths.clone();
        for path in paths.iter_mut().filter(|path| path.standing.epoch == epoch) {
            path.arrival = path.reached.clone();
        }
        self.arrive(&mut paths, (self.ledger.number(), self.leaves.size()))?;
        self.paths = paths;
        Ok(())
    }

    /// What is shown must extend what this node knew.
    fn compare(&mut self, ledger: &LedgerOrigin, head: &SignedCheckpoint, leaves: &Leaves) -> Result<(), Fault> {
        for (_, mine) in self.heads.iter().filter(|(of, _)| of == ledger) {
            let Some(root) = leaves.root_at(mine.size().0) else { continue };
            if root == mine.root() {
                continue;
            }
            let keys: Vec<_> = self.charters.all().flat_map(|rules| rules.quorum().keys()).cloned().collect();
            if let Some(proof) = DoubleSigned::of(mine, head, leaves).filter(|proof| !proof.by(&keys).is_empty()) {
                self.evidence.push(Evidence::DoubleSigned(proof));
            }
            return Err(Fault::Fork { size: mine.size().0 });
        }
        Ok(())
    }

    /// A Welcome from before what this node knew brings it nowhere, and neither does an order that ends before.
    fn not_behind(&self, ordered: &Ordered, verified: (u32, u64)) -> Result<(), Fault> {
        let place = match self.target {
            Target::Place(..) => (ordered.ledger.number(), ordered.index + 1),
            Target::Epoch(_) => verified,
        };
        let ahead = self.heads.iter().find(|(ledger, head)| (ledger.number(), head.size().0) > place);
        match ahead {
            Some((ledger, head)) => Err(Fault::Behind { ledger: ledger.clone(), size: head.size().0 }),
            None => Ok(()),
        }
    }

    fn follow_reboots(&mut self) {
        let (size, root) = (self.leaves.size(), self.leaves.root());
        for reboot in &self.reboots {
            let terms = reboot.terms();
            if terms.ledger != self.ledger || terms.size != size || terms.root != root {
                continue;
            }
            for path in self.paths.iter_mut().filter(|path| path.standing.ledger == terms.ledger) {
                path.standing.ledger = terms.next.clone();
                path.standing.convener = terms.convener.clone();
            }
        }
    }

    /// Comes in: a member that stands after the commit with which it came, in a group with these members; and the records
    /// from which [`Engine::open`] gives the same again.
    ///
    /// # Errors
    /// It has not arrived, or is not among the members.
    pub fn enter(
        self,
        roster: Roster,
        keys: Option<Box<dyn Keys + Send>>,
        tuning: Tuning,
        now: puente_model::Millis,
    ) -> Result<(Engine, Vec<Record>), Fault> {
        if !roster.contains(&self.me) {
            return Err(Fault::NotAMember(self.me));
        }
        let Self { me, beginning, known, paths, pages, .. } = self;
        let Some((premature, arrival)) =
            paths.into_iter().next().and_then(|path| Some((path.premature, path.arrival?)))
        else {
            return Err(Fault::NotAwaited("a Welcome"));
        };
        let Standing { ledger, convener, vector: charter, epoch, at, .. } = arrival.standing;
        let size = arrival.ordered.index + 1;
        // What stands after is the engine's to take in.
        let before = |page: &Page| (page.ledger.number(), page.from) < (ledger.number(), size);
        let mut records: Vec<Record> = pages.into_iter().filter(before).map(Page::record).collect();
        records.push(Record::Joined { ledger, size, convener, charter, epoch, at, roster });
        records.extend(premature.into_keys().map(Record::Unseated));
        let engine = Engine::open(me, beginning, known, records.clone(), keys, tuning, now)?;
        Ok((engine, records))
    }
}

impl Page {
    fn record(self) -> Record {
        let Self { ledger, from, convener, entries, head } = self;
        Record::Verified { ledger, from, convener, entries, head: head.note_bytes().to_vec() }
    }
}
