//! The rules of the entry grammar, applied to one log in one pass.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use puente_audit_log::SignedCheckpoint;
use puente_evidence::escrow::{EscrowedEntry, Share, share_for, share_hash};
use puente_evidence::veil::open_header;
use puente_evidence::{HpkeKeyPair, SeedError, open_seed};
use puente_model::{CharterVector, Digest, ExchangeId, Millis, Minute, Mode, NodeUri, Origin, Secret32, limits};
use puente_wire::{
    ENTRY_VERSION, Entry, EntryReader, Event, GroupEntry, Header, Pair, PairBody, PairKind, SeedUse, Seeds, Terms,
    Veiled, WireError,
};

use crate::aside::Asides;
use crate::class::Class;
use crate::exchange::{End, Exchanges, First, Said, Unended};
use crate::figures::{Figures, Overdue};
use crate::finding::{Blame, Counts, Finding, Findings};
use crate::groups::{Groups, GroupsBefore};
use crate::kept::{KeptReceipt, Place};
use crate::last;
use crate::law::{Law, nation_of};
use crate::numbering::{Numbered, Numbering, PeriodFault, Track};
use crate::roster::Roster;

/// How far back an entry may be dated before it is noted, in minutes.
const BACK_DATED_MINUTES: u64 = 15;

/// What the rules are applied with.
pub(crate) struct Setting<'a> {
    pub(crate) roster: &'a Roster<'a>,
    pub(crate) keys: &'a [HpkeKeyPair],
    pub(crate) now: Millis,
    pub(crate) grace_minutes: u64,
    /// Sealed headers that cannot be opened are passed over by the auditor's own choice.
    pub(crate) without_headers: bool,
    /// What each log shows is counted, for a report.
    pub(crate) figures: bool,
}

/// Seeds that stand in the log.
#[derive(Clone)]
struct SeedsSeen {
    purpose: SeedUse,
    nations: [String; 2],
    /// Header seeds that one of the auditor's keys opened.
    opened: Option<Secret32>,
    /// Escrow seeds that one of the auditor's keys opened, by share.
    shares: [Option<Secret32>; 2],
}

/// An entry without its author's receipt.
pub(crate) struct Unreceipted {
    pub(crate) leaf: Digest,
    pub(crate) index: u64,
    pub(crate) author: NodeUri,
}

/// A numbering, and what is asked of the charter about it once.
struct Lane {
    from: Arc<NodeUri>,
    to: Arc<NodeUri>,
    log: u32,
    own: bool,
    /// Own entries of an earlier log, taken over by this one.
    rerecorded: bool,
    /// Origin of the author's log, if author and receiver are members.
    author: Option<String>,
    track: Track,
}

/// Lanes that are looked through one by one before they are looked up.
const LANES_SCANNED: usize = 8;

/// An entry on its way through the rules.
struct At {
    index: u64,
    leaf: Digest,
    /// Where its records in the sidecar are.
    kept: Option<Place>,
}

/// What the log that follows goes on with.
#[derive(Clone)]
pub(crate) struct Carry {
    tracks: BTreeMap<Numbering, Track>,
    exchanges: Exchanges,
    seeds: HashMap<Digest, SeedsSeen>,
    vector: Arc<CharterVector>,
    groups: GroupsBefore,
}

/// The state of one pass.
pub(crate) struct Rules<'a> {
    set: &'a Setting<'a>,
    law: Law<'a>,
    origin: String,
    owner: NodeUri,
    log: u32,
    pub(crate) asides: Asides,
    pub(crate) findings: Findings,
    pub(crate) counts: Counts,
    pub(crate) figures: Option<Box<Figures>>,
    /// Entries under a head that the quorum cosigned.
    pub(crate) vouched: u64,
    /// The oldest time that an entry of the node's own beyond them states.
    pub(crate) unvouched: Option<Minute>,
    lanes: Vec<Lane>,
    lane_of: HashMap<Numbering, usize>,
    lane: usize,
    /// Heads that other nodes recorded of this log.
    pub(crate) own_heads: Vec<SignedCheckpoint>,
    /// Heads of other logs that stand in this log's entries.
    pub(crate) peer_heads: Vec<SignedCheckpoint>,
    /// Entries whose author's receipt is not kept.
    pub(crate) unreceipted: Vec<Unreceipted>,
    /// The numbering whose closed entries are kept, for a comparison.
    pub(crate) keep: Option<Numbering>,
    exchanges: Exchanges,
    pub(crate) groups: Groups,
    entries: EntryReader,
    /// The sidecar's record that was read last for the second time.
    record: Vec<u8>,
    /// The first entry of a newer version, and its version; nothing from there on is judged.
    pub(crate) newer: Option<(u64, u32)>,
    seeds: HashMap<Digest, SeedsSeen>,
    newest: Minute,
    vector: Arc<CharterVector>,
    /// The vector of the entry before, own or not.
    recent: Arc<CharterVector>,
    headers_missing: u64,
    headers_unread: u64,
    /// Where the node left, as far as its headers could be opened.
    left: Option<u64>,
    /// It goes on where another log ended.
    follows: bool,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(set: &'a Setting<'a>, origin: &str, owner: NodeUri, log: u32, asides: Asides) -> Self {
        let counts = Counts { receipts: asides.receipts, ..Counts::default() };
        Self {
            set,
            law: Law::new(set.roster.charter),
            origin: origin.to_owned(),
            owner,
            log,
            asides,
            findings: Findings::default(),
            counts,
            figures: set.figures.then(Box::default),
            vouched: 0,
            unvouched: None,
            lanes: Vec::new(),
            lane_of: HashMap::new(),
            lane: 0,
            own_heads: Vec::new(),
            peer_heads: Vec::new(),
            unreceipted: Vec::new(),
            keep: None,
            exchanges: Exchanges::default(),
            groups: Groups::default(),
            entries: EntryReader::new(),
            record: Vec::new(),
            newer: None,
            seeds: HashMap::new(),
            newest: Minute(0),
            vector: Arc::default(),
            recent: Arc::default(),
            headers_missing: 0,
            headers_unread: 0,
            left: None,
            follows: false,
        }
    }

    /// Goes on from the log that this one follows.
    pub(crate) fn follow(&mut self, before: Carry) {
        let Carry { tracks, exchanges, seeds, vector, groups } = before;
        self.groups.follow(groups);
        (self.exchanges, self.seeds, self.vector) = (exchanges, seeds, vector);
        for (name, track) in tracks {
            let own = name.from == self.owner;
            let rerecorded = own && name.log < self.log;
            let peer = if own { &name.to } else { &name.from };
            let member = self.set.roster.charter.member(peer).is_some();
            self.lanes.push(Lane {
                from: Arc::new(name.from.clone()),
                to: Arc::new(name.to.clone()),
                log: name.log,
                own,
                rerecorded,
                author: self.law.author_log(&name.from, name.log).filter(|_| member),
                track: track.taken_over(rerecorded),
            });
            self.lane_of.insert(name, self.lanes.len() - 1);
        }
        self.follows = true;
    }

    /// What the log that follows this one goes on with.
    pub(crate) fn carry(&mut self) -> Carry {
        Carry {
            tracks: self.take_tracks(),
            exchanges: std::mem::take(&mut self.exchanges),
            seeds: std::mem::take(&mut self.seeds),
            vector: Arc::clone(&self.vector),
            groups: self.groups.carry(),
        }
    }

    /// Where the node left; `opened` is where the file beside the log says so. An entry after that is a finding.
    pub(crate) fn closed(&mut self, opened: Option<u64>, size: u64) -> Option<u64> {
        let last = [self.left, opened].into_iter().flatten().min()?;
        if last + 1 < size && self.findings.wants(Class::AfterFinal, Class::AfterFinal.severity()) {
            let (blame, detail) = (Blame::Node(self.owner.clone()), format!("entry {last} is the final one"));
            self.blame(Class::AfterFinal, blame, last + 1, None, detail);
        }
        Some(last)
    }

    /// Applies the rules to the next entry.
    pub(crate) fn entry(&mut self, index: u64, leaf: &Digest, bytes: &[u8]) {
        if self.newer.is_some() {
            return;
        }
        let entry = self.entries.read(bytes);
        let kept = if entry.is_ok() { self.asides.seen(leaf) } else { None };
        let at = At { index, leaf: *leaf, kept };
        match entry {
            Ok(Entry::Pair(pair)) => self.pair(&at, pair),
            Ok(Entry::Veiled(veiled)) => self.veiled(&at, &veiled, bytes),
            Ok(Entry::Seeds(seeds)) => self.seeds(&at, &seeds),
            Ok(Entry::Group(group)) => self.group(&at, group),
            Err(WireError::Field("domestic pair entry in the clear")) => {
                self.fault(Class::DomesticInClear, &at, None, "a pair entry of one nation's two nodes");
            }
            // Not to be judged by the rules of another version, nor is what follows: numbers, answers and receipts hang together.
            Err(WireError::Version(v)) if v > ENTRY_VERSION => self.newer = Some((index, v)),
            Err(error) => self.fault(Class::Grammar, &at, None, error.to_string()),
        }
    }

    fn fault(&mut self, class: Class, at: &At, seq: Option<u64>, detail: impl Into<String>) {
        if !self.findings.wants(class, class.severity()) {
            return;
        }
        let blame = Blame::Node(self.owner.clone());
        self.blame(class, blame, at.index, seq, detail.into());
    }

    fn blame(&mut self, class: Class, blame: Blame, index: u64, seq: Option<u64>, detail: String) {
        let finding = Finding::new(class, blame, &self.origin, detail).at(index);
        self.findings.push(match seq {
            Some(seq) => finding.numbered(seq),
            None => finding,
        });
    }

    fn time(&mut self, at: &At, minute: Minute, own: bool, blame: &NodeUri) {
        if let Some(figures) = &mut self.figures {
            figures.dated(minute);
        }
        let future = minute.start() > self.set.now.plus(limits::CLOCK_SKEW_MILLIS_MAX);
        if future {
            let blame = Blame::Node(blame.clone());
            self.blame(Class::FutureDated, blame, at.index, None, format!("dated {minute}"));
        } else if own {
            if at.index >= self.vouched {
                self.unvouched = Some(self.unvouched.map_or(minute, |oldest| oldest.min(minute)));
            }
            if minute.0.saturating_add(BACK_DATED_MINUTES) < self.newest.0 {
                self.fault(Class::BackDated, at, None, format!("dated {minute}, after {}", self.newest));
            }
            self.newest = self.newest.max(minute);
        }
    }

    fn group(&mut self, at: &At, entry: GroupEntry) {
        self.counts.groups += 1;
        let owner = self.owner.clone();
        self.time(at, entry.minute, true, &owner);
        let Some(stumble) = self.groups.take(at.index, at.leaf, entry) else { return };
        let finding = Finding::new(stumble.class, Blame::Node(owner), &self.origin, stumble.detail).at(at.index);
        // What stood at the end of a log that lost its tail is not known.
        let lost = stumble.before.is_none() && stumble.class == Class::GroupGap;
        self.findings.push(if lost { finding.soften() } else { finding.related(stumble.before) });
    }

    fn seeds(&mut self, at: &At, seeds: &Seeds) {
        self.counts.seeds += 1;
        let owner = self.owner.clone();
        self.time(at, seeds.minute, true, &owner);
        if let Some(detail) = self.law.wrong_auditors(seeds, &owner.jurisdiction()) {
            self.fault(Class::SeedsWrongAuditor, at, None, detail);
        }
        let (mut opened, mut shares) = (None, [None, None]);
        for (nth, sealed) in seeds.seeds.iter().enumerate() {
            for key in self.set.keys {
                match (open_seed(key, sealed), seeds.purpose) {
                    (Ok(seed), SeedUse::Headers) => opened = Some(seed),
                    (Ok(seed), SeedUse::Escrow) => {
                        if let Some(share) = shares.get_mut(nth) {
                            *share = Some(seed);
                        }
                    }
                    (Err(SeedError::Commitment), purpose) => {
                        let class = match purpose {
                            SeedUse::Headers => Class::HeaderMismatch,
                            SeedUse::Escrow => Class::ShareMismatch,
                        };
                        self.fault(class, at, None, "a sealed seed is not the committed one");
                    }
                    (Err(_), _) => {}
                }
            }
        }
        let nation = |i: usize| seeds.seeds.get(i).map(|s| s.jurisdiction.to_string()).unwrap_or_default();
        let mut nations = [nation(0), nation(1)];
        nations.sort();
        self.seeds.insert(at.leaf, SeedsSeen { purpose: seeds.purpose, nations, opened, shares });
    }

    fn veiled(&mut self, at: &At, veiled: &Veiled, bytes: &[u8]) {
        self.counts.veiled += 1;
        let sealed = at.kept.and_then(|place| self.asides.sealed_header(place));
        let opened = sealed.map(|sealed| {
            let quoted = Digest::try_from(sealed.seeds.as_slice()).ok();
            let seeds = quoted.and_then(|leaf| self.seeds.get(&leaf)).filter(|s| s.purpose == SeedUse::Headers);
            match seeds.map(|s| &s.opened) {
                None => Err("its seeds do not stand earlier in the log".to_owned()),
                Some(None) => Ok(None),
                Some(Some(seed)) => open_header(seed, bytes, &sealed).map(Some).map_err(|e| e.to_string()),
            }
        });
        let header = match opened {
            None => {
                self.headers_missing += 1;
                None
            }
            Some(Ok(None)) => {
                self.headers_unread += 1;
                None
            }
            Some(Ok(Some(opened))) => Some(opened.header),
            Some(Err(detail)) => {
                self.fault(Class::HeaderMismatch, at, None, detail);
                None
            }
        };
        self.counts.opened += u64::from(header.is_some());
        let owner = self.owner.clone();
        match header {
            Some(Header::Pair(pair)) => {
                if (pair.stage(), pair.minute) != (veiled.stage, veiled.minute) || !pair.is_domestic() {
                    self.fault(Class::HeaderMismatch, at, Some(pair.seq.0), "stage, minute or nations differ");
                }
                self.pair(at, pair);
            }
            Some(Header::Event(event)) => {
                self.time(at, veiled.minute, true, &owner);
                self.event(at, &event);
            }
            // Another node's domestic entry has its author's time, so nothing follows from its order.
            None => self.time(at, veiled.minute, false, &owner),
        }
    }

    fn event(&mut self, at: &At, event: &Event) {
        let vector = self.vector(event.charter.clone());
        self.vector_goes_on(at, None, &vector);
        if last::leaves(event, &self.owner) {
            self.left.get_or_insert(at.index);
        }
        if event.kind == puente_model::EventKind::Dispute {
            let blame = Blame::Unknown;
            self.blame(Class::Disputed, blame, at.index, None, "a DISPUTE is recorded".to_owned());
        }
    }

    /// The vector as it is remembered, so that equal ones are compared once.
    fn vector(&mut self, vector: CharterVector) -> Arc<CharterVector> {
        if *self.recent != vector {
            self.recent = if *self.vector == vector { Arc::clone(&self.vector) } else { Arc::new(vector) };
        }
        Arc::clone(&self.recent)
    }

    fn vector_goes_on(&mut self, at: &At, seq: Option<u64>, vector: &Arc<CharterVector>) {
        if Arc::ptr_eq(vector, &self.vector) || **vector == *self.vector {
            return;
        }
        if vector.covers(&self.vector) {
            self.vector = Arc::clone(vector);
            if let Some(figures) = &mut self.figures {
                figures.under(at.index, self.newest, vector);
            }
        } else {
            self.fault(Class::CharterBack, at, seq, format!("{vector} after {}", self.vector));
        }
        if !self.law.knows(vector) {
            self.fault(Class::CharterUnknown, at, seq, format!("charter {vector}"));
        }
    }

    fn pair(&mut self, at: &At, pair: Pair) {
        self.count(&pair);
        let seq = pair.seq.0;
        let own = pair.from == self.owner;
        if !own && pair.to != self.owner {
            return self.fault(Class::NotAParty, at, Some(seq), format!("from {} to {}", pair.from, pair.to));
        }
        if own && pair.log > self.log {
            return self.fault(Class::WrongLog, at, Some(seq), format!("numbered by log{}", pair.log));
        }
        let lane = self.find_lane(&pair, own);
        let Some(Lane { from, to, rerecorded, author: Some(author), .. }) = self.lanes.get(lane) else {
            return self.fault(Class::NotAMember, at, Some(seq), format!("from {}, log{}", pair.from, pair.log));
        };
        let (from, to, rerecorded) = (Arc::clone(from), Arc::clone(to), *rerecorded);
        let (received, stranger) = self.receipts(at, author, if own { &to } else { &from });
        if let Some(detail) = stranger {
            self.fault(Class::ReceiptInvalid, at, Some(seq), detail);
        }
        let proven = own || received;
        if !proven && self.asides.present && !matches!(pair.kind(), PairKind::Void | PairKind::Period) {
            self.unreceipted.push(Unreceipted { leaf: at.leaf, index: at.index, author: pair.from.clone() });
            let detail = format!("{} by {}", pair.kind().as_str_name(), pair.from);
            self.fault(Class::ReceiptMissing, at, Some(seq), detail);
        }
        let owner = self.owner.clone();
        let answerable: &NodeUri = if proven { &from } else { &owner };
        self.time(at, pair.minute, own && !rerecorded, answerable);
        let blame = Blame::Node(answerable.clone());
        // What a lost tail held beside its entries is lost: seeds, and the receipts that a RELEASE names.
        self.escrow(at, &pair, own && !rerecorded);
        self.number(at, &pair, lane, proven);
        if own && !rerecorded {
            self.epoch(at, seq, &pair.body);
        }
        let Pair { minute, charter, body, .. } = pair;
        let charter = self.vector(charter);
        if own && !rerecorded {
            self.vector_goes_on(at, Some(seq), &charter);
        } else if !Arc::ptr_eq(&charter, &self.vector) && !self.law.knows(&charter) {
            self.fault(Class::CharterUnknown, at, Some(seq), format!("charter {charter}"));
        }
        let said = Said {
            leaf: at.leaf,
            index: at.index,
            kept: at.kept,
            seq,
            proven,
            from: &from,
            to: &to,
            minute,
            charter: &charter,
        };
        self.body(at, body, &said, lane, &blame);
    }

    /// An exchange belongs to an epoch that its author was in. A refusal only repeats what it refuses.
    fn epoch(&mut self, at: &At, seq: u64, body: &PairBody) {
        let misplaced = match body {
            PairBody::Query { terms, .. } => self.groups.misplaced(terms, true),
            PairBody::Answer { terms, .. } => self.groups.misplaced(terms, false),
            _ => None,
        };
        // Where the log before it is not known, nor is what it entered there.
        if let Some(detail) = misplaced.filter(|_| self.log == 1 || self.follows) {
            self.fault(Class::GroupUnentered, at, Some(seq), detail);
        }
    }

    /// The numbering's place, made when it is first seen.
    fn find_lane(&mut self, pair: &Pair, own: bool) -> usize {
        let fits = |l: &Lane| l.log == pair.log && *l.from == pair.from && *l.to == pair.to;
        if self.lanes.get(self.lane).is_some_and(fits) {
            return self.lane;
        }
        let name = || Numbering { from: pair.from.clone(), log: pair.log, to: pair.to.clone() };
        let known = match self.lanes.len() <= LANES_SCANNED {
            true => self.lanes.iter().position(fits),
            false => self.lane_of.get(&name()).copied(),
        };
        self.lane = known.unwrap_or_else(|| {
            let name = name();
            let peer = if own { &pair.to } else { &pair.from };
            let member = self.set.roster.charter.member(peer).is_some();
            let rerecorded = own && pair.log < self.log;
            let mut track = Track::new(own && !rerecorded);
            track.keep = self.keep.as_ref() == Some(&name);
            self.lanes.push(Lane {
                from: Arc::new(pair.from.clone()),
                to: Arc::new(pair.to.clone()),
                log: pair.log,
                own,
                rerecorded,
                author: self.law.author_log(&pair.from, pair.log).filter(|_| member),
                track,
            });
            self.lane_of.insert(name, self.lanes.len() - 1);
            self.lanes.len() - 1
        });
        self.lane
    }

    /// What was gathered of each numbering.
    pub(crate) fn take_tracks(&mut self) -> BTreeMap<Numbering, Track> {
        let lanes = std::mem::take(&mut self.lanes).into_iter().filter(|lane| lane.author.is_some());
        lanes.map(|l| (Numbering { from: (*l.from).clone(), log: l.log, to: (*l.to).clone() }, l.track)).collect()
    }

    fn count(&mut self, pair: &Pair) {
        let training = match &pair.body {
            PairBody::Void { exchange, .. } => self.exchanges.mode(exchange) == Some(Mode::Training),
            _ => pair.terms().is_some_and(|terms| terms.mode == Mode::Training),
        };
        let trained = &mut self.counts.training;
        let counter = match pair.kind() {
            PairKind::Query if training => &mut trained.queries,
            PairKind::Answer if training => &mut trained.answers,
            PairKind::Refusal if training => &mut trained.refusals,
            PairKind::Release if training => &mut trained.releases,
            PairKind::Void if training => &mut trained.voids,
            PairKind::Query => &mut self.counts.queries,
            PairKind::Answer => &mut self.counts.answers,
            PairKind::Refusal => &mut self.counts.refusals,
            PairKind::Release => &mut self.counts.releases,
            PairKind::Void => &mut self.counts.voids,
            PairKind::Period => &mut self.counts.periods,
            PairKind::Unspecified => return,
        };
        *counter += 1;
    }

    /// Whether the author's receipt is kept, and whether any is of another log than the other party's.
    fn receipts(&self, at: &At, author: &str, peer: &NodeUri) -> (bool, Option<String>) {
        let origins = || self.asides.kept.receipts(at.kept).map(|receipt| self.asides.origin(receipt));
        let stranger = origins().find(|o| *o != author && !writes(peer, o));
        let found = origins().any(|o| o == author);
        (found, stranger.map(|origin| format!("a receipt of {origin}")))
    }

    fn escrow(&mut self, at: &At, pair: &Pair, own: bool) {
        let Some(hash) = pair.escrow() else { return };
        let seq = Some(pair.seq.0);
        let Some((_, quoted)) = self.asides.escrows(at.kept).next() else {
            let hold = self.set.roster.charter.audit_hold_millis();
            if self.asides.present && pair.minute.start().plus(hold) > self.set.now {
                self.fault(Class::EscrowMissing, at, seq, "no escrow is kept for it");
            }
            return;
        };
        if self.asides.escrows(at.kept).any(|(found, _)| found != hash) {
            return self.fault(Class::EscrowMismatch, at, seq, "the kept escrow has another hash");
        }
        if !own {
            return;
        }
        let seeds = quoted.and_then(|leaf| self.seeds.get(leaf)).filter(|s| s.purpose == SeedUse::Escrow);
        let Some(seeds) = seeds else {
            return self.fault(Class::SeedsMissing, at, seq, "the quoted seeds do not stand earlier in this log");
        };
        let mut nations = [nation_of(&pair.from), nation_of(&pair.to)];
        nations.sort_unstable();
        if seeds.nations != nations {
            let detail =
                format!("escrow seeds of {} for an exchange of {}", seeds.nations.join(", "), nations.join(", "));
            return self.fault(Class::SeedsWrongAuditor, at, seq, detail);
        }
        if let Some(which) = self.wrong_share(at, pair, seeds) {
            self.fault(Class::ShareMismatch, at, seq, format!("share {which}"));
        }
    }

    /// The share of an own entry's escrow that is not the one which an own auditor's seed gives. Each auditor finds its own: what
    /// two shares open, only two auditors can look at.
    fn wrong_share(&self, at: &At, pair: &Pair, seeds: &SeedsSeen) -> Option<Share> {
        if seeds.shares.iter().all(Option::is_none) {
            return None;
        }
        let origin: Origin = self.origin.parse().ok()?;
        let (exchange, commitment) = (pair.exchange()?, pair.commitment()?);
        let entry = EscrowedEntry { origin: &origin, exchange, kind: pair.kind(), commitment };
        let committed = self.asides.share_hashes(at.kept, &mut Vec::new())?;
        let wrong = |(seed, committed): (&Option<Secret32>, &Digest)| {
            seed.as_ref().is_some_and(|seed| share_hash(&share_for(seed, &entry)) != *committed)
        };
        let which = [Share::First, Share::Second].into_iter();
        let mut both = which.zip(seeds.shares.iter().zip(&committed));
        both.find(|(_, pair)| wrong(*pair)).map(|(which, _)| which)
    }

    fn number(&mut self, at: &At, pair: &Pair, lane: usize, proven: bool) {
        let (kind, exchange) = (pair.kind(), pair.exchange());
        let entry = Numbered { leaf: at.leaf, index: at.index, kind, exchange, proven };
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let Some(clash) = lane.track.push(pair.seq.0, entry, lane.rerecorded) else { return };
        let blame = match (clash.class, clash.with) {
            // Only an author who is proven to have written both said two things.
            (Class::Equivocated, Some(with)) if with.proven && proven => Blame::Node(pair.from.clone()),
            (Class::Equivocated, _) => Blame::Unknown,
            _ => Blame::Node(self.owner.clone()),
        };
        let finding = Finding::new(clash.class, blame, &self.origin, clash.detail);
        let related = clash.with.map(|with| with.index);
        self.findings.push(finding.at(at.index).numbered(pair.seq.0).related(related));
    }

    fn body(&mut self, at: &At, body: PairBody, said: &Said<'_>, lane: usize, blame: &Blame) {
        let Said { seq, proven, from, to, .. } = *said;
        let own = self.lanes.get(lane).is_some_and(|lane| lane.own);
        let (mut wrong, mut before): (Vec<Class>, Option<First>) = (Vec::new(), None);
        match body {
            PairBody::Query { terms, due, .. } => {
                self.lawful(at, said, &terms, from, blame);
                if let Some(figures) = &mut self.figures {
                    figures.asked(from, to, &terms);
                }
                wrong.extend(self.exchanges.query(said, terms, due));
            }
            PairBody::Answer { terms, outcome, field_class, quoted, .. } => {
                self.lawful(at, said, &terms, to, blame);
                self.figure_end(said, &terms, Ok(outcome.as_str()));
                (wrong, before) =
                    self.exchanges.end(said, &terms, quoted, End::Answer(outcome, field_class), self.set.grace_minutes);
            }
            PairBody::Refusal { terms, reason, quoted, .. } => {
                self.figure_end(said, &terms, Err(reason.as_str()));
                (wrong, before) = self.exchanges.end(said, &terms, quoted, End::Refusal, self.set.grace_minutes);
            }
            PairBody::Release { terms, quoted, receipt, .. } => {
                if let Some(figures) = &mut self.figures {
                    figures.released(to, from, &terms);
                }
                let (class, kept) = self.exchanges.release(said, &terms, quoted);
                wrong.extend(class);
                if own && !self.lanes.get(lane).is_some_and(|lane| lane.rerecorded) {
                    self.release_proven(at, seq, (&quoted, kept), &receipt, to);
                }
            }
            PairBody::Void { exchange, voided, quoted } => {
                if voided.0 >= seq {
                    wrong.push(Class::VoidMismatch);
                } else if let Some(lane) = self.lanes.get_mut(lane)
                    && let Some(class) = lane.track.void(voided.0, quoted)
                {
                    wrong.push(class);
                }
                self.close(&exchange, &quoted);
            }
            PairBody::Period(period) => {
                self.period_head(at, said, &period.peer_head, blame);
                let mut faults = Vec::new();
                let holes = match self.lanes.get_mut(lane) {
                    Some(lane) => lane.track.period(at.leaf, at.index, seq, period, &mut faults),
                    None => Vec::new(),
                };
                for hole in holes {
                    if let Some(exchange) = hole.exchange {
                        self.close(&exchange, &hole.leaf);
                    }
                }
                self.period_faults(faults, blame);
            }
        }
        for class in wrong {
            let blame = match class {
                // What stands before an entry is the owner's doing, what it quotes the author's.
                Class::AnswerWithoutQuery | Class::ReleaseWithoutAnswer if !own => Blame::Unknown,
                Class::Equivocated if !(proven && before.is_some_and(|first| first.proven)) => Blame::Unknown,
                _ => blame.clone(),
            };
            let finding = Finding::new(class, blame, &self.origin, "");
            self.findings.push(finding.at(at.index).numbered(seq).related(before.map(|first| first.index)));
        }
    }

    /// The question of a number that is voided or named as a hole needs no end.
    fn close(&mut self, exchange: &ExchangeId, query_leaf: &Digest) {
        if let Some(closed) = self.exchanges.close(exchange, query_leaf)
            && let Some(figures) = &mut self.figures
        {
            figures.voided(&closed.asker, &closed.holder, &closed.terms);
        }
    }

    fn figure_end(&mut self, said: &Said<'_>, terms: &Terms, end: Result<&str, &str>) {
        if let Some(figures) = &mut self.figures {
            let waited = self.exchanges.asked(&terms.exchange).map(|asked| said.minute.0.saturating_sub(asked.0));
            figures.ended(said.to, said.from, terms, end, waited);
        }
    }

    fn period_faults(&mut self, faults: Vec<PeriodFault>, blame: &Blame) {
        for PeriodFault { class, index, seq, detail } in faults {
            self.blame(class, blame.clone(), index, Some(seq), detail);
        }
    }

    fn lawful(&mut self, at: &At, said: &Said<'_>, terms: &Terms, asker: &NodeUri, blame: &Blame) {
        let Some((class, detail)) = self.law.wrong_basis(terms, said.minute, asker) else { return };
        let finding = Finding::new(class, blame.clone(), &self.origin, detail).at(at.index).numbered(said.seq);
        // What an older common part said is not known here.
        let older = said.charter.common < self.set.roster.charter.vector().common;
        self.findings.push(if older { finding.soften() } else { finding });
    }

    /// The receipt that a RELEASE names is kept, and is the asker's. `kept`: where the answer's records were found.
    fn release_proven(
        &mut self,
        at: &At,
        seq: u64,
        (answer, kept): (&Digest, Option<Place>),
        receipt: &Digest,
        asker: &NodeUri,
    ) {
        if !self.asides.present {
            return;
        }
        let place = self.asides.kept.find_at(kept, answer);
        let of_asker = |r: &&KeptReceipt| writes(asker, self.asides.origin(r));
        let buffer = &mut self.record;
        let is_named = |r: &KeptReceipt| self.asides.receipt_digest(r, buffer) == Some(*receipt);
        let named = self.asides.kept.receipts(place).filter(of_asker).any(is_named);
        if !named {
            let none = self.asides.kept.receipts(place).next().is_none();
            let detail = if none { "no receipt is kept" } else { "the kept receipts are others" };
            self.fault(Class::ReleaseUnproven, at, Some(seq), detail);
        }
    }

    fn period_head(&mut self, at: &At, said: &Said<'_>, note: &[u8], blame: &Blame) {
        if note.is_empty() {
            return;
        }
        let (seq, of) = (said.seq, said.to);
        match self.set.roster.head(note) {
            Ok(head) if writes(of, head.origin()) => {
                if let Some(figures) = &mut self.figures {
                    figures.head(head.origin(), said.minute, head.size().0);
                }
                // Of a log before this one nothing can be said here: others keep that head too.
                if **of != self.owner {
                    self.peer_heads.push(head);
                } else if head.origin() == self.origin {
                    self.own_heads.push(head);
                }
            }
            Ok(head) => {
                let detail = format!("it is a head of {}", head.origin());
                self.blame(Class::PeerHeadInvalid, blame.clone(), at.index, Some(seq), detail);
            }
            Err(error) => self.blame(Class::PeerHeadInvalid, blame.clone(), at.index, Some(seq), error.to_string()),
        }
    }

    /// What can only be said at the end of the log.
    pub(crate) fn finish(&mut self) {
        let faults: Vec<PeriodFault> = self.lanes.iter_mut().flat_map(|lane| lane.track.settle()).collect();
        // From one log alone nobody can tell whose list is wrong.
        self.period_faults(faults, &Blame::Unknown);
        let now = self.set.now.minute().0;
        for open in self.exchanges.unended() {
            self.counts.open += 1;
            let over = open.due.0.saturating_add(self.set.grace_minutes) < now;
            let (class, blame) = match (over, *open.holder == self.owner) {
                (false, _) => (Class::Pending, Blame::Unknown),
                (true, true) => (Class::Unanswered, Blame::Node(self.owner.clone())),
                (true, false) => (Class::NoEnd, Blame::Unknown),
            };
            if let Some(figures) = &mut self.figures {
                let Unended { asker, holder, due, index, .. } = &open;
                let (asked, holds) = ((**asker).clone(), (**holder).clone());
                let late = over.then_some(Overdue { due: *due, asker: asked, holder: holds, index: *index });
                figures.open(asker, holder, &open.terms, late);
            }
            let detail = format!("asked by {}, due {}", open.asker, open.due);
            self.blame(class, blame, open.index, Some(open.seq), detail);
        }
        for fault in self.asides.strays() {
            let blame = Blame::Node(self.owner.clone());
            let finding = Finding::new(fault.class, blame, &self.origin, fault.detail);
            // A receipt may come for an entry of the log before.
            self.findings.push(if self.follows { finding.soften() } else { finding });
        }
        self.headers();
    }

    fn headers(&mut self) {
        let note = |class, count: u64, advice: &str| {
            Finding::new(class, Blame::Unknown, &self.origin, format!("{count} of them; {advice}"))
        };
        let mut found = Vec::new();
        if self.headers_unread > 0 {
            let finding = note(
                Class::HeaderUnread,
                self.headers_unread,
                "give an own auditor's key with --key, or pass them over with --without-headers",
            );
            found.push(if self.set.without_headers { finding.soften() } else { finding });
        }
        // Only an own auditor can expect headers: others are not given any.
        if self.headers_missing > 0 && self.counts.opened > 0 {
            let finding = note(Class::HeaderMissing, self.headers_missing, "export the log again with its headers");
            found.push(if self.set.without_headers { finding.soften() } else { finding });
        }
        self.findings.extend(found);
    }
}

/// The log of this name is one of the node's.
pub(crate) fn writes(node: &NodeUri, origin: &str) -> bool {
    let name = node.as_str().strip_prefix("puente://").unwrap_or_default();
    origin.strip_prefix(name).is_some_and(|rest| rest.starts_with("/log"))
}
